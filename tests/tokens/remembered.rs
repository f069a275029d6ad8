//! A token that was checked once is not checked again, but its times are looked at and its keys must be today's.

use super::clerk::FakeClerk;
use super::make::{KEY, NOW_MS, good, pem_verifier, token, v2, verify_at, with};
use serde_json::json;

const LEEWAY_MS: i64 = 5_000;

#[tokio::test]
async fn a_remembered_token_ends_when_it_says() {
    let verifier = pem_verifier();
    let token = good();
    let expires_ms = NOW_MS + 57_000;
    assert!(verifier.recall(&token, NOW_MS).is_none(), "nobody knows it yet");
    assert_eq!(verify_at(&verifier, &token, NOW_MS).await, "accepted");
    let last_ms = expires_ms + LEEWAY_MS - 1;
    assert!(verifier.recall(&token, NOW_MS).is_some() && verifier.recall(&token, last_ms).is_some());
    assert_eq!(verify_at(&verifier, &token, last_ms).await, "accepted");
    assert!(verifier.recall(&token, last_ms + 1).is_none());
    assert_eq!(verify_at(&verifier, &token, last_ms + 1).await, "expired");
    // A clock that was set back far makes it too young.
    assert!(verifier.recall(&token, NOW_MS - 60_000).is_none());
    assert_eq!(verify_at(&verifier, &token, NOW_MS - 60_000).await, "not active yet");
}

#[tokio::test]
async fn what_was_refused_is_not_remembered() {
    let verifier = pem_verifier();
    let young = token(&super::make::header(), &with(v2(), "nbf", json!((NOW_MS + 60_000) / 1000)));
    assert_eq!(verify_at(&verifier, &young, NOW_MS).await, "not active yet");
    assert!(verifier.recall(&young, NOW_MS + 57_000).is_none());
    assert_eq!(verify_at(&verifier, &young, NOW_MS + 57_000).await, "accepted");
    let mut changed = good();
    assert_eq!(verify_at(&verifier, &changed, NOW_MS).await, "accepted");
    // One character of the signature: what is remembered is the whole token.
    let at = changed.len() - 2;
    let other = if changed.ends_with("AA") { "BA" } else { "AA" };
    changed.replace_range(at.., other);
    assert!(verifier.recall(&changed, NOW_MS).is_none());
    assert_eq!(verify_at(&verifier, &changed, NOW_MS).await, "the signature does not match");
}

#[tokio::test]
async fn a_set_that_was_fetched_anew_begins_a_new_memory() {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    let token = token(&super::make::header(), &with(v2(), "exp", json!(9_999_999_999_i64)));
    assert_eq!(verify_at(&verifier, &token, NOW_MS).await, "accepted");
    let due_ms = NOW_MS + 5 * 60_000;
    assert!(verifier.recall(&token, due_ms - 1).is_some());
    // The set is to be fetched now, and a remembered token is no way around that.
    assert!(verifier.recall(&token, due_ms).is_none());
    clerk.serves(&[]);
    assert_eq!(verify_at(&verifier, &token, due_ms).await, "no keys");
    assert!(verifier.recall(&token, due_ms).is_none());
}
