//! The key set while Clerk is away, wrong, or not configured.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

use roster::clerk::jwks::KeySet;
use roster::config::KeySource;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::clerk::FakeClerk;
use super::make::{
    KEY, NOW_MS, OTHER, good, header, pem_verifier, token, token_by, v2, verifier, verify_at, with, without,
};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const UNKNOWN: &str = "`kid` names no known key";

fn long_lived() -> String {
    token(&header(), &with(v2(), "exp", json!(9_999_999_999_i64)))
}

#[tokio::test]
async fn an_old_set_serves_for_a_day_while_clerk_is_away() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    assert_eq!(verify_at(&verifier, &long_lived(), NOW_MS).await, "accepted");
    clerk.is_away();
    for (at_ms, requests) in [
        (5 * MINUTE_MS, 2),
        // A failed fetch is not tried again at once: nobody waits for it in the meantime.
        (5 * MINUTE_MS + 1, 2),
        (5 * MINUTE_MS + 29_999, 2),
        (5 * MINUTE_MS + 30_000, 3),
        (DAY_MS - 1, 4),
    ] {
        assert_eq!(verify_at(&verifier, &long_lived(), NOW_MS + at_ms).await, "accepted");
        assert_eq!(clerk.requests(), requests, "after {at_ms} ms");
        assert!(verifier.keys().is_available_at(NOW_MS + at_ms).await);
        assert_eq!(clerk.requests(), requests, "a known key needs no fetch to be available");
    }
    assert_eq!(verify_at(&verifier, &long_lived(), NOW_MS + DAY_MS).await, "no keys");
    assert!(!verifier.keys().is_available_at(NOW_MS + DAY_MS).await);
    clerk.serves(&[&KEY]);
    assert_eq!(verify_at(&verifier, &long_lived(), NOW_MS + DAY_MS + MINUTE_MS).await, "accepted");
}

#[tokio::test]
async fn an_unknown_key_cannot_be_judged_while_clerk_is_away() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    let stranger = OTHER.sign(&with(header(), "kid", json!("ins_2")), &v2()).unwrap();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    clerk.is_away();
    assert_eq!(verify_at(&verifier, &stranger, NOW_MS).await, "no keys");
    assert_eq!(verify_at(&verifier, &stranger, NOW_MS + 1).await, "no keys", "also within the cool-down");
    assert_eq!(clerk.requests(), 2);
    assert_eq!(verify_at(&verifier, &good(), NOW_MS + 1).await, "accepted", "the known key is still fresh");
    let forged = OTHER.sign(&header(), &v2()).unwrap();
    assert_eq!(verify_at(&verifier, &forged, NOW_MS + 1).await, "the signature does not match");
    clerk.serves(&[&KEY]);
    assert_eq!(verify_at(&verifier, &stranger, NOW_MS + 30_000).await, UNKNOWN);
    assert_eq!(clerk.requests(), 3);
}

#[tokio::test]
async fn a_failed_first_fetch_is_tried_again_after_the_cool_down() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    clerk.is_away();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "no keys");
    clerk.serves(&[&KEY]);
    for at_ms in [1, 29_999] {
        assert_eq!(verify_at(&verifier, &good(), NOW_MS + at_ms).await, "no keys");
        assert!(!verifier.keys().is_available_at(NOW_MS + at_ms).await);
    }
    assert_eq!(verify_at(&verifier, "garbage", NOW_MS).await, "not three parts", "garbage stays garbage");
    assert_eq!(clerk.requests(), 1);
    assert!(verifier.keys().is_available_at(NOW_MS + 30_000).await);
    assert_eq!(verify_at(&verifier, &good(), NOW_MS + 30_000).await, "accepted");
    assert_eq!(clerk.requests(), 2);
}

#[tokio::test]
async fn availability_fetches_the_set_once() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let keys = KeySet::new(clerk.source(None)).unwrap();
    assert!(keys.is_available().await);
    assert!(keys.is_available().await);
    assert_eq!(clerk.requests(), 1);
    clerk.serves(&[]);
    let keys = KeySet::new(clerk.source(None)).unwrap();
    for (at_ms, requests) in [(0, 2), (1, 2), (29_999, 2), (30_000, 3)] {
        assert!(!keys.is_available_at(NOW_MS + at_ms).await);
        assert_eq!(clerk.requests(), requests, "an empty set is not asked for again within the cool-down");
    }
}

#[tokio::test]
async fn what_is_not_a_key_set_is_a_failed_fetch() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let whole = json!({"keys": [KEY.jwk()]}).to_string();
    let padded = format!("{}{whole}", " ".repeat(1024 * 1024));
    for (status, body) in [
        (200, ""),
        (200, "<html>"),
        (200, "null"),
        (200, "[]"),
        (200, "{}"),
        (200, r#"{"keys":{}}"#),
        (200, r#"{"keys":null}"#),
        (200, &whole[..whole.len() - 1]),
        (200, &padded),
        (201, &whole),
        (302, &whole),
        (401, &whole),
        (429, &whole),
        (500, &whole),
    ] {
        let verifier = clerk.verifier();
        clerk.answers(status, body);
        let before = clerk.requests();
        let shown = &body[..body.len().min(40)];
        assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "no keys", "{status} {shown}");
        assert_eq!(clerk.requests(), before + 1, "{status} {shown}: no redirect, no second try");
        clerk.answers(200, whole.as_str());
        assert_eq!(verify_at(&verifier, &good(), NOW_MS + 30_000).await, "accepted", "{status} {shown}");
    }
}

#[tokio::test]
async fn a_set_that_stops_being_one_leaves_the_known_keys_alone() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    assert_eq!(verify_at(&verifier, &long_lived(), NOW_MS).await, "accepted");
    clerk.answers(200, "<html>");
    assert_eq!(verify_at(&verifier, &long_lived(), NOW_MS + 5 * MINUTE_MS).await, "accepted");
    assert_eq!(clerk.requests(), 2);
}

#[tokio::test]
async fn a_set_without_a_usable_key_is_no_key() {
    let clerk = FakeClerk::start(&[]).await;
    for entries in
        [json!([]), json!([{"kty": "EC", "kid": "ins_1"}]), json!([with(KEY.jwk(), "use", json!("enc"))])]
    {
        let verifier = clerk.verifier();
        clerk.answers(200, json!({ "keys": entries }).to_string());
        let before = clerk.requests();
        assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "no keys", "{entries}");
        assert_eq!(verify_at(&verifier, &good(), NOW_MS + 1).await, "no keys", "{entries}");
        assert!(!verifier.keys().is_available_at(NOW_MS + 1).await);
        assert_eq!(clerk.requests(), before + 1, "{entries}");
        clerk.serves(&[&KEY]);
        assert_eq!(verify_at(&verifier, &good(), NOW_MS + 30_000).await, "accepted", "{entries}");
    }
}

#[tokio::test]
async fn unusable_entries_do_not_spoil_the_set() {
    let clerk = FakeClerk::start(&[]).await;
    let entries = json!([
        null, 7, "key", [], {}, {"kty": "oct", "kid": "ins_1", "k": "c2VjcmV0"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ins_1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "RSA", "kid": "ins_1", "n": "AQAB", "e": "AQAB"}, without(KEY.jwk(), "kid"), KEY.jwk(),
    ]);
    clerk.answers(200, json!({"keys": entries, "more": true}).to_string());
    let verifier = clerk.verifier();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_failed_fetch() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let verifier = verifier(KeySource::Jwks { url: format!("http://{free}/"), bearer: None });
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "no keys");
}

/// Takes the three seconds that a caller waits at most.
#[tokio::test]
async fn a_clerk_that_never_answers_is_given_up() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    clerk.hold();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "no keys");
    assert_eq!(clerk.requests(), 1);
}

#[tokio::test]
async fn without_keys_only_garbage_can_be_judged() {
    let verifier = verifier(KeySource::None);
    assert!(!verifier.keys().is_available().await);
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "no keys");
    assert_eq!(verify_at(&verifier, "garbage", NOW_MS).await, "not three parts");
    let template = token(&with(header(), "cat", json!("cl_B7d4PD222AAA")), &v2());
    assert_eq!(verify_at(&verifier, &template, NOW_MS).await, "a JWT-template token");
}

#[tokio::test]
async fn a_configured_key_is_always_available() {
    assert!(pem_verifier().keys().is_available().await);
}

#[test]
fn an_address_that_is_none_is_refused_at_the_start() {
    let error = KeySet::new(KeySource::Jwks { url: "clerk".to_owned(), bearer: None }).unwrap_err();
    assert!(error.to_string().contains("CLERK_JWKS_URL"), "{error}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_says_why_once_and_never_shows_a_token() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    // A line that another test came by first, and that nobody heard, is remembered as one for nobody.
    tracing::callsite::rebuild_interest_cache();
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = verifier(clerk.source(Some("sk_test_secret")));
    clerk.is_away();
    let tokens = [good(), token_by(&OTHER), token(&header(), &without(v2(), "sid"))];
    for at_ms in [0, 1, 2] {
        verify_at(&verifier, &good(), NOW_MS + at_ms).await;
    }
    clerk.serves(&[&KEY]);
    for token in &tokens {
        verify_at(&verifier, token, NOW_MS + 30_000).await;
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let ours: Vec<_> = log.lines().filter(|line| line.contains(" roster::")).collect();
    let count = |words: &str| ours.iter().filter(|line| line.contains(words)).count();
    assert_eq!(count("WARN"), 1, "{ours:#?}");
    assert_eq!(count("answered with status 503"), 1, "{ours:#?}");
    assert_eq!(count("no key to check it with"), 3, "{ours:#?}");
    assert_eq!(count("refused: `kid` names no known key"), 1, "{ours:#?}");
    assert_eq!(count("refused: `sid` is missing"), 1, "{ours:#?}");
    for part in tokens.iter().flat_map(|token| token.split('.')).chain(["sk_test_secret", "user_1"]) {
        assert!(!ours.iter().any(|line| line.contains(part)), "{part}");
    }
}
