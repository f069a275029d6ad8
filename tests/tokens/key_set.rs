//! The key set while Clerk answers: freshness, rotation, the cool-down, one flight for all.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::clerk::FakeClerk;
use super::make::{
    KEY, NOW_MS, OTHER, ROTATED, good, header, token, token_by, v2, verifier, verify_at, with,
};

const MINUTE_MS: i64 = 60_000;
const UNKNOWN: &str = "`kid` names no known key";
const SIGNATURE: &str = "the signature does not match";

/// A token that stays good while a test moves the time.
fn long_lived(key: &roster::sim::keys::SigningKey) -> String {
    let header = with(header(), "kid", json!(key.kid()));
    key.sign(&header, &with(v2(), "exp", json!(9_999_999_999_i64))).unwrap()
}

#[tokio::test]
async fn a_set_is_fetched_at_the_first_token_and_again_after_five_minutes() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    assert_eq!(clerk.requests(), 0, "nothing is fetched before there is a token");
    let token = long_lived(&KEY);
    for (at_ms, requests) in [(0, 1), (1, 1), (5 * MINUTE_MS - 1, 1), (5 * MINUTE_MS, 2), (9 * MINUTE_MS, 2)]
    {
        assert_eq!(verify_at(&verifier, &token, NOW_MS + at_ms).await, "accepted");
        assert_eq!(clerk.requests(), requests, "after {at_ms} ms");
    }
    // A clock that was set back far makes the set old, not fresh for longer.
    assert_eq!(verify_at(&verifier, &token, NOW_MS - MINUTE_MS).await, "not active yet");
    assert_eq!(clerk.requests(), 3);
}

#[tokio::test]
async fn garbage_costs_no_fetch() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    for garbage in ["", "x", "a.b.c", "ak_1", &token(&with(header(), "alg", json!("none")), &v2())] {
        assert_ne!(verify_at(&verifier, garbage, NOW_MS).await, "no keys", "{garbage}");
    }
    assert_eq!(clerk.requests(), 0);
}

#[tokio::test]
async fn the_secret_key_goes_along_where_it_is_needed() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    assert_eq!(verify_at(&clerk.verifier(), &good(), NOW_MS).await, "accepted");
    assert_eq!(clerk.last_authorization(), None);
    let verifier = verifier(clerk.source(Some("sk_test_1")));
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    assert_eq!(clerk.last_authorization().as_deref(), Some("Bearer sk_test_1"));
    assert!(!format!("{verifier:?}").contains("sk_test_1"));
}

#[tokio::test]
async fn a_key_rotated_under_a_new_kid_is_found_at_once() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    clerk.serves(&[&OTHER]);
    assert_eq!(verify_at(&verifier, &token_by(&OTHER), NOW_MS + 1).await, "accepted");
    assert_eq!(clerk.requests(), 2);
    assert_eq!(verify_at(&verifier, &good(), NOW_MS + 2).await, UNKNOWN, "the old key is gone");
    assert_eq!(clerk.requests(), 2);
}

#[tokio::test]
async fn a_key_rotated_under_the_same_kid_is_found_at_once() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    clerk.serves(&[&ROTATED]);
    assert_eq!(verify_at(&verifier, &token_by(&ROTATED), NOW_MS + 1).await, "accepted");
    assert_eq!(clerk.requests(), 2);
    assert_eq!(verify_at(&verifier, &good(), NOW_MS + 2).await, SIGNATURE);
    assert_eq!(clerk.requests(), 2);
}

#[tokio::test]
async fn two_keys_may_share_a_kid_during_a_rotation() {
    let clerk = FakeClerk::start(&[&KEY, &ROTATED]).await;
    let verifier = clerk.verifier();
    for key in [&KEY, &ROTATED] {
        assert_eq!(verify_at(&verifier, &token_by(key), NOW_MS).await, "accepted");
    }
    assert_eq!(verify_at(&verifier, &OTHER.sign(&header(), &v2()).unwrap(), NOW_MS).await, SIGNATURE);
}

#[tokio::test]
async fn ten_thousand_made_up_kids_are_one_fetch() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    let (_, rest) = good().split_once('.').map(|(head, rest)| (head.to_owned(), rest.to_owned())).unwrap();
    for nth in 0..10_000 {
        let head = super::make::encode(with(header(), "kid", json!(format!("ins_x{nth}"))).to_string());
        let at_ms = NOW_MS + i64::from(nth) % 30_000;
        assert_eq!(verify_at(&verifier, &format!("{head}.{rest}"), at_ms).await, UNKNOWN);
    }
    assert_eq!(clerk.requests(), 2, "the first one for the good token, one for all others");
}

#[tokio::test]
async fn made_up_kids_before_any_good_token_are_one_fetch_too() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    for _ in 0..100 {
        assert_eq!(verify_at(&verifier, &token_by(&OTHER), NOW_MS).await, UNKNOWN);
    }
    assert_eq!(clerk.requests(), 1);
}

#[tokio::test]
async fn unknown_kids_and_bad_signatures_share_one_cool_down() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    for (at_ms, requests) in [(0, 2), (29_999, 2), (30_000, 3), (59_999, 3), (60_000, 4)] {
        assert_eq!(verify_at(&verifier, &token_by(&OTHER), NOW_MS + at_ms).await, UNKNOWN);
        assert_eq!(clerk.requests(), requests, "after {at_ms} ms");
        let forged = ROTATED.sign(&header(), &with(v2(), "exp", json!(9_999_999_999_i64))).unwrap();
        assert_eq!(verify_at(&verifier, &forged, NOW_MS + at_ms).await, SIGNATURE);
        assert_eq!(clerk.requests(), requests, "after {at_ms} ms");
    }
    assert_eq!(verify_at(&verifier, &long_lived(&KEY), NOW_MS + 60_000).await, "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_callers_share_one_flight() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = Arc::new(clerk.verifier());
    for (requests, key, at_ms) in [(1, &KEY, 0), (2, &OTHER, 1), (3, &OTHER, 6 * MINUTE_MS)] {
        clerk.hold();
        clerk.serves(&[key]);
        let token = long_lived(key);
        let mut callers = JoinSet::new();
        for _ in 0..50 {
            let (verifier, token) = (Arc::clone(&verifier), token.clone());
            callers.spawn(async move { verify_at(&verifier, &token, NOW_MS + at_ms).await });
        }
        clerk.has_seen(requests).await;
        clerk.release();
        assert_eq!(callers.join_all().await, ["accepted"; 50]);
        assert_eq!(clerk.requests(), requests);
    }
}

#[tokio::test]
async fn a_known_key_does_not_wait_for_anyones_fetch() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = Arc::new(clerk.verifier());
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    clerk.hold();
    clerk.serves(&[&KEY, &OTHER]);
    let waiting = tokio::spawn({
        let verifier = Arc::clone(&verifier);
        async move { verify_at(&verifier, &token_by(&OTHER), NOW_MS).await }
    });
    clerk.has_seen(2).await;
    for _ in 0..10 {
        assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    }
    assert!(!waiting.is_finished());
    clerk.release();
    assert_eq!(waiting.await.unwrap(), "accepted");
}

#[tokio::test]
async fn a_fetch_outlives_the_caller_who_started_it() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = Arc::new(clerk.verifier());
    clerk.hold();
    let impatient = tokio::spawn({
        let verifier = Arc::clone(&verifier);
        async move { verify_at(&verifier, &good(), NOW_MS).await }
    });
    clerk.has_seen(1).await;
    impatient.abort();
    assert!(impatient.await.unwrap_err().is_cancelled());
    clerk.release();
    assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted");
    assert_eq!(clerk.requests(), 1);
}
