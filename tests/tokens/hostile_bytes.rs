//! Tokens and key sets, damaged at random: see `tests/hostile`.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::clerk::FakeClerk;
use super::make::{KEY, NOW_MS, encode, good, header, pem_verifier, token, token_of, v1, v2, verify_at};
use crate::hostile::damage::{self, Damage};
use crate::hostile::{run_async, runner};

/// What is damaged.
#[derive(Debug, Clone)]
enum Spoilt {
    /// The token as it stands.
    Whole(Vec<Damage>),
    /// The texts in it, which are then signed by the right key: it is the rules that are tried.
    Signed(Vec<Damage>, Vec<Damage>),
    /// The texts, under the signature of the good token.
    Unsigned(Vec<Damage>, Vec<Damage>),
}

fn spoilt() -> impl Strategy<Value = (Spoilt, bool)> {
    let damages = || prop_oneof![Just(Vec::new()), damage::some()];
    let how = prop_oneof![
        damage::some().prop_map(Spoilt::Whole),
        (damages(), damages()).prop_map(|(header, claims)| Spoilt::Signed(header, claims)),
        (damages(), damages()).prop_map(|(header, claims)| Spoilt::Unsigned(header, claims)),
    ];
    (how, any::<bool>())
}

fn made(spoilt: &Spoilt, claims: &Value) -> String {
    let good = token(&header(), claims);
    let texts = |head: &[Damage], body: &[Damage]| {
        let head = damage::done_to(header().to_string().into_bytes(), head);
        (head, damage::done_to(claims.to_string().into_bytes(), body))
    };
    match spoilt {
        Spoilt::Whole(damages) => damage::done_to_text(&good, damages),
        Spoilt::Signed(head, body) => {
            let (head, body) = texts(head, body);
            token_of(head, body)
        }
        Spoilt::Unsigned(head, body) => {
            let (head, body) = texts(head, body);
            format!("{}.{}.{}", encode(head), encode(body), good.rsplit_once('.').unwrap().1)
        }
    }
}

/// Whether the right key made the signature, asked of another library than the one that checks it.
fn is_signed(token: &str) -> bool {
    let Some((message, signature)) = token.rsplit_once('.') else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    let pem = KEY.public_pem().unwrap();
    assert!(DecodingKey::from_rsa_pem(pem.as_bytes()).is_ok());
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).verify(message.as_bytes(), &signature).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_token_is_refused_unless_it_was_signed_so() {
    let verifier = pem_verifier();
    let cases = runner(600, "tests/hostile/found/tokens.txt");
    run_async(cases, &spoilt(), async |(spoilt, is_old)| {
        let token = made(&spoilt, &if is_old { v1() } else { v2() });
        let Ok(claims) = verifier.verify(&token, NOW_MS).await else { return Ok(()) };
        prop_assert!(is_signed(&token), "{token}");
        // Another reader takes it for the same person and organization.
        let text = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let said: Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(claims.user_id.as_str(), said["sub"].as_str().unwrap());
        let organization = if said.get("v") == Some(&json!(2)) { &said["o"]["id"] } else { &said["org_id"] };
        prop_assert_eq!(claims.organization.as_ref().map(|one| one.id.as_str()), organization.as_str());
        prop_assert!(claims.expires_at_ms > NOW_MS - 5_000);
        Ok(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_key_set_lets_nobody_in_whom_it_does_not_name() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let sets = vec![json!({"keys": [KEY.jwk()]}), json!({"keys": [super::make::OTHER.jwk(), KEY.jwk()]})];
    let cases = runner(60, "tests/hostile/found/key_sets.txt");
    run_async(cases, &(select(sets), damage::some()), async |(set, damages)| {
        let body = damage::done_to(set.to_string().into_bytes(), &damages);
        let names_the_key = String::from_utf8_lossy(&body).contains(KEY.jwk()["n"].as_str().unwrap());
        clerk.answers(200, body);
        let verdict = verify_at(&clerk.verifier(), &good(), NOW_MS).await;
        prop_assert!(verdict != "accepted" || names_the_key, "{verdict}");
        Ok(())
    });
}
