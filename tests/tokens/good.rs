//! Tokens that must be accepted, and what they say.

use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roster::clerk::jwks::KeySet;
use roster::clerk::session_token::{Claims, Verifier};
use roster::config::KeySource;
use serde_json::{Value, json};

use super::clerk::FakeClerk;
use super::make::{
    KEY, NOW, NOW_MS, good, header, pem_verifier, token, token_with, v1, v2, verify_at, with, without,
};

async fn claims(token: &str) -> Claims {
    pem_verifier().verify(token, NOW_MS).await.unwrap()
}

/// The organization and the role in it.
async fn organization(claims_json: &Value) -> String {
    let Some(organization) = claims(&token(&header(), claims_json)).await.organization else {
        return "none".to_owned();
    };
    let role = organization.role.as_ref().map_or("no role", |role| role.as_str());
    format!("{}, {role}", organization.id)
}

#[tokio::test]
async fn both_versions_say_who_where_and_when() {
    for good in [v1(), v2()] {
        let claims = claims(&token(&header(), &good)).await;
        assert_eq!(claims.user_id.as_str(), "user_1");
        assert_eq!(claims.issued_at_ms, NOW_MS - 3_000);
        assert_eq!(claims.expires_at_ms, NOW_MS + 57_000);
        assert_eq!(organization(&good).await, "org_1, org:admin");
    }
}

#[tokio::test]
async fn each_version_ignores_the_others_organization() {
    let both = with(with(v2(), "org_id", json!("org_evil")), "org_role", json!(["x"]));
    assert_eq!(organization(&both).await, "org_1, org:admin");
    let both = with(v1(), "o", json!("whatever"));
    assert_eq!(organization(&both).await, "org_1, org:admin");
    assert_eq!(organization(&with(v1(), "v", json!(1))).await, "org_1, org:admin");
    let none = with(without(v2(), "o"), "org_id", json!("org_evil"));
    assert_eq!(organization(&none).await, "none");
    let none = with(without(v1(), "org_id"), "o", json!({"id": "org_evil"}));
    assert_eq!(organization(&none).await, "none");
}

#[tokio::test]
async fn no_active_organization_is_no_error() {
    for none in [
        without(v2(), "o"),
        with(v2(), "o", json!(null)),
        with(v2(), "o", json!({})),
        with(v2(), "o", json!({"id": null, "rol": null})),
        // As Clerk's own libraries have it.
        with(v2(), "o", json!({"id": ""})),
        with(v1(), "org_id", json!("")),
        without(v1(), "org_id"),
        with(v1(), "org_id", json!(null)),
    ] {
        assert_eq!(organization(&none).await, "none", "{none}");
    }
}

#[tokio::test]
async fn roles_come_with_their_prefix_or_not_at_all() {
    for (rol, expected) in [
        (json!("admin"), "org_1, org:admin"),
        (json!("org:admin"), "org_1, org:admin"),
        (json!("billing:viewer"), "org_1, org:billing:viewer"),
        (json!(null), "org_1, no role"),
    ] {
        let claims = with(v2(), "o", json!({"id": "org_1", "rol": rol}));
        assert_eq!(organization(&claims).await, expected);
    }
    assert_eq!(organization(&with(v1(), "org_role", json!("member"))).await, "org_1, org:member");
    assert_eq!(organization(&without(v1(), "org_role")).await, "org_1, no role");
}

#[tokio::test]
async fn harmless_differences_are_accepted() {
    let verifier = pem_verifier();
    for (name, token) in [
        ("no cat", token(&without(header(), "cat"), &v2())),
        ("the instance-wide cat", token(&with(header(), "cat", json!("cl_I7d4PD111III")), &v2())),
        ("no typ", token(&without(header(), "typ"), &v2())),
        ("header parameters of the future", token(&with(header(), "x", json!({"y": 1})), &v2())),
        ("a configured key needs no kid", token(&without(header(), "kid"), &v2())),
        ("nor the right one", token(&with(header(), "kid", json!("ins_9")), &v2())),
        ("nor a string", token(&with(header(), "kid", json!(9)), &v2())),
        ("an audience", token(&header(), &with(v2(), "aud", json!(["https://elsewhere.example.com"])))),
        ("an impersonated user", token(&header(), &with(v2(), "act", json!({"sub": "user_2"})))),
        ("no sts", token(&header(), &without(v2(), "sts"))),
        ("a null sts", token(&header(), &with(v2(), "sts", json!(null)))),
        ("the other party", token(&header(), &with(v2(), "azp", json!("https://admin.example.com")))),
        ("no nbf", token(&header(), &without(v2(), "nbf"))),
        ("exp with a fraction", token(&header(), &with(v2(), "exp", json!(1_795_000_000.5)))),
        ("exp beyond all times", token(&header(), &with(v2(), "exp", json!(1e308)))),
        ("nbf before all times", token(&header(), &with(v2(), "nbf", json!(-1e308)))),
    ] {
        assert_eq!(verify_at(&verifier, &token, NOW_MS).await, "accepted", "{name}");
    }
}

#[tokio::test]
async fn a_token_that_does_not_say_when_it_was_issued_is_the_oldest() {
    assert_eq!(claims(&token(&header(), &without(v2(), "iat"))).await.issued_at_ms, i64::MIN);
    let forever = claims(&token(&header(), &with(v2(), "exp", json!(1e308)))).await;
    assert_eq!(forever.expires_at_ms, i64::MAX);
}

#[tokio::test]
async fn clocks_may_be_five_seconds_apart() {
    let verifier = pem_verifier();
    let times = |exp: i64, nbf: i64, iat: i64| {
        let claims = with(with(v2(), "exp", json!(exp)), "nbf", json!(nbf));
        token(&header(), &with(claims, "iat", json!(iat)))
    };
    let expiring = times(NOW, NOW - 60, NOW - 60);
    assert_eq!(verify_at(&verifier, &expiring, NOW_MS + 4_999).await, "accepted");
    assert_eq!(verify_at(&verifier, &expiring, NOW_MS + 5_000).await, "expired");
    let early = times(NOW + 60, NOW, NOW - 60);
    assert_eq!(verify_at(&verifier, &early, NOW_MS - 5_000).await, "accepted");
    assert_eq!(verify_at(&verifier, &early, NOW_MS - 5_001).await, "not active yet");
    let young = times(NOW + 60, NOW - 60, NOW);
    assert_eq!(verify_at(&verifier, &young, NOW_MS - 5_000).await, "accepted");
    assert_eq!(verify_at(&verifier, &young, NOW_MS - 5_001).await, "issued in the future");
}

#[tokio::test]
async fn a_clock_at_the_end_of_time_does_no_harm() {
    let verifier = pem_verifier();
    assert_eq!(verify_at(&verifier, &good(), i64::MAX).await, "expired");
    assert_eq!(verify_at(&verifier, &good(), i64::MIN).await, "not active yet");
}

#[tokio::test]
async fn what_is_not_configured_is_not_checked() {
    let keys = KeySet::new(KeySource::Pem(KEY.public_pem().unwrap())).unwrap();
    let verifier = Verifier::new(keys, None, Vec::new());
    for claims in [
        without(without(v2(), "iss"), "azp"),
        with(with(v2(), "iss", json!("https://elsewhere.example.com")), "azp", json!(["x"])),
    ] {
        assert_eq!(verify_at(&verifier, &token(&header(), &claims), NOW_MS).await, "accepted");
    }
}

#[tokio::test]
async fn a_key_that_names_no_algorithm_serves_all_three() {
    let clerk = FakeClerk::start(&[]).await;
    let anything = json!({"keys": [without(KEY.jwk(), "alg")]});
    clerk.answers(200, anything.to_string());
    let verifier = clerk.verifier();
    for token in [good(), token_with(&RSA_PKCS1_SHA384, "RS384"), token_with(&RSA_PKCS1_SHA512, "RS512")] {
        assert_eq!(verify_at(&verifier, &token, NOW_MS).await, "accepted");
    }
}

#[test]
fn a_configured_key_must_be_a_public_rsa_key() {
    let pem = KEY.public_pem().unwrap();
    assert!(KeySet::new(KeySource::Pem(pem.replace('\n', "\r\n"))).is_ok());
    let ec = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEw7JAoU/gJbZJvV+zCOvU9yFJq0FN\n\
              C/edCMRM78P8eQTBCDUTK1ywSYaszvQZvneiW6gNtWEJndSreEcyyUdVvg==\n-----END PUBLIC KEY-----\n";
    let private = STANDARD.encode(KEY.to_pkcs8().unwrap());
    let private = format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n");
    for bad in ["", "sk_test_x", ec, &private, &pem[..200]] {
        let error = KeySet::new(KeySource::Pem(bad.to_owned())).unwrap_err();
        assert!(error.to_string().contains("CLERK_JWT_KEY"), "{error}");
    }
}
