//! Tokens that must not be accepted although their signature is good.

use serde_json::{Value, json};

use super::hostile::{Case, assert_all_refused};
use super::make::{NOW, NOW_MS, header, pem_verifier, token, token_of, v1, v2, verify_at, with, without};

fn changed(name: &str, value: Value) -> String {
    token(&header(), &with(v2(), name, value))
}

fn missing(name: &str) -> String {
    token(&header(), &without(v2(), name))
}

/// A number that JSON can say and `Value` cannot.
fn with_text(name: &str, text: &str) -> String {
    let claims = with(v2(), name, json!("HERE")).to_string().replace("\"HERE\"", text);
    token_of(header().to_string(), claims)
}

#[tokio::test]
async fn tokens_for_nobody_or_somebody_else_are_refused() {
    const SUB: &str = "`sub` is not a user id";
    const SID: &str = "`sid` is missing";
    const AZP: &str = "`azp` is not an authorized party: add the origin to CLERK_AUTHORIZED_PARTIES";
    const ISS: &str = "`iss` is not the configured issuer";
    assert_all_refused(vec![
        ("sub missing", SUB, missing("sub")),
        ("sub null", SUB, changed("sub", json!(null))),
        ("sub a number", SUB, changed("sub", json!(1))),
        ("sub an array", SUB, changed("sub", json!(["user_1"]))),
        ("sub empty", SUB, changed("sub", json!(""))),
        ("sub too long", SUB, changed("sub", json!("u".repeat(256)))),
        ("sub with a line break", SUB, changed("sub", json!("user_1\n"))),
        ("sub with a NUL", SUB, changed("sub", json!("user_1\0"))),
        ("sub with half a character", SUB, with_text("sub", "\"user_\\ud800\"")),
        ("a machine", "a machine token", changed("sub", json!("mch_1"))),
        ("an old template token, without cat", SID, {
            token(&without(header(), "cat"), &without(v2(), "sid"))
        }),
        ("sid null", SID, changed("sid", json!(null))),
        ("sid empty", SID, changed("sid", json!(""))),
        ("sid a number", SID, changed("sid", json!(1))),
        ("azp missing", AZP, missing("azp")),
        ("azp null", AZP, changed("azp", json!(null))),
        ("azp empty", AZP, changed("azp", json!(""))),
        ("azp elsewhere", AZP, changed("azp", json!("https://evil.example.com"))),
        ("azp that begins alike", AZP, changed("azp", json!("https://app.example.com.evil.net"))),
        ("azp with a slash", AZP, changed("azp", json!("https://app.example.com/"))),
        ("azp in capitals", AZP, changed("azp", json!("HTTPS://APP.EXAMPLE.COM"))),
        ("azp in an array", AZP, changed("azp", json!(["https://app.example.com"]))),
        ("iss missing", ISS, missing("iss")),
        ("iss null", ISS, changed("iss", json!(null))),
        ("iss elsewhere", ISS, changed("iss", json!("https://clerk.example.net"))),
        ("iss with a slash", ISS, changed("iss", json!("https://clerk.example.com/"))),
        ("iss in an array", ISS, changed("iss", json!(["https://clerk.example.com"]))),
        ("signed in, but with tasks left", "the session is pending", changed("sts", json!("pending"))),
        ("sts an array", "`sts` is not a string", changed("sts", json!(["pending"]))),
    ])
    .await;
}

#[tokio::test]
async fn tokens_at_the_wrong_time_are_refused() {
    const EXP: &str = "`exp` is not a number";
    const NBF: &str = "`nbf` is not a number";
    const IAT: &str = "`iat` is not a number";
    const EARLY: &str = "not active yet";
    const FUTURE: &str = "issued in the future";
    assert_all_refused(vec![
        ("exp missing", EXP, missing("exp")),
        ("exp null", EXP, changed("exp", json!(null))),
        ("exp a string", EXP, changed("exp", json!("9999999999"))),
        ("exp true", EXP, changed("exp", json!(true))),
        ("exp an array", EXP, changed("exp", json!([9_999_999_999_i64]))),
        ("exp beyond all numbers", EXP, with_text("exp", "1e999")),
        ("exp not quite a number", EXP, changed("exp", json!("NaN"))),
        ("expired five seconds ago", "expired", changed("exp", json!(NOW - 5))),
        ("expired long ago", "expired", changed("exp", json!(0))),
        ("expired before all times", "expired", changed("exp", json!(-1e308))),
        ("nbf null", NBF, changed("nbf", json!(null))),
        ("nbf a string", NBF, changed("nbf", json!("0"))),
        ("nbf beyond all numbers", NBF, with_text("nbf", "-1e999")),
        ("nbf in six seconds", EARLY, changed("nbf", json!(NOW + 6))),
        ("nbf in five seconds and a bit", EARLY, with_text("nbf", &format!("{}.25", NOW + 5))),
        ("nbf after all times", EARLY, changed("nbf", json!(1e308))),
        ("nbf in milliseconds", EARLY, changed("nbf", json!(NOW_MS))),
        ("iat null", IAT, changed("iat", json!(null))),
        ("iat a string", IAT, changed("iat", json!("0"))),
        ("iat an object", IAT, changed("iat", json!({}))),
        ("iat in six seconds", FUTURE, changed("iat", json!(NOW + 6))),
        ("iat after all times", FUTURE, with_text("iat", "99999999999999999999999999")),
    ])
    .await;
}

#[tokio::test]
async fn tokens_with_a_wrong_organization_are_refused() {
    const VERSION: &str = "`v` is not a known version";
    const O: &str = "`o` is not an object with single members";
    const TYPE: &str = "the organization's id is not a string";
    const ID: &str = "the organization's id is not an id";
    const ROLE: &str = "the organization role is not a string";
    let old = |name: &str, value: Value| token(&header(), &with(v1(), name, value));
    let cases: Vec<Case> = vec![
        ("version 0", VERSION, changed("v", json!(0))),
        ("version 3", VERSION, changed("v", json!(3))),
        ("version -2", VERSION, changed("v", json!(-2))),
        ("version a string", VERSION, changed("v", json!("2"))),
        ("version null", VERSION, changed("v", json!(null))),
        ("version true", VERSION, changed("v", json!(true))),
        ("version between", VERSION, changed("v", json!(1.5))),
        ("o a string", O, changed("o", json!("org_1"))),
        ("o an array", O, changed("o", json!(["org_1", "one", "admin"]))),
        ("o false", O, changed("o", json!(false))),
        ("two ids in o", O, with_text("o", r#"{"id":"org_1","id":"org_2"}"#)),
        ("two roles in o", O, with_text("o", r#"{"id":"org_1","rol":"member","rol":"admin"}"#)),
        ("id a number", TYPE, changed("o", json!({"id": 1}))),
        ("id an array", TYPE, changed("o", json!({"id": ["org_1"]}))),
        ("id too long", ID, changed("o", json!({"id": "o".repeat(256)}))),
        ("id with a NUL", ID, changed("o", json!({"id": "org_1\0"}))),
        ("id that is not ASCII", ID, changed("o", json!({"id": "örg_1"}))),
        ("role a number", ROLE, changed("o", json!({"id": "org_1", "rol": 1}))),
        ("role an array", ROLE, changed("o", json!({"id": "org_1", "rol": ["admin"]}))),
        ("old: id a number", TYPE, old("org_id", json!(1))),
        ("old: id an object", TYPE, old("org_id", json!({"id": "org_1"}))),
        ("old: id with a line break", ID, old("org_id", json!("org_1\n"))),
        ("old: role an array", ROLE, old("org_role", json!(["org:admin"]))),
        ("old: role false", ROLE, old("org_role", json!(false))),
    ];
    let old_good = token(&header(), &v1());
    assert_eq!(
        verify_at(&pem_verifier(), &old_good, NOW_MS).await,
        "accepted",
        "the old ones differ from this"
    );
    assert_all_refused(cases).await;
}
