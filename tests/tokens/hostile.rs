//! Tokens that must not be accepted, for their form, class or signature. Each differs from a good token in the
//! one thing that it is named after, and must be refused for that reason.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PSS_SHA256};
use serde_json::{Value, json};

use super::clerk::FakeClerk;
use super::make::{
    KEY, NOW_MS, OTHER, ROTATED, encode, good, header, message, token, token_by, token_of, token_with, v2,
    verify_at, with, without,
};

/// A token's name, why it must be refused, and the token.
pub(super) type Case = (&'static str, &'static str, String);

/// Asks a verifier with a fetched set, after it has accepted the good token.
pub(super) async fn assert_all_refused(cases: Vec<Case>) {
    let clerk = FakeClerk::start(&[&KEY]).await;
    let verifier = clerk.verifier();
    for (name, reason, token) in cases {
        assert_eq!(verify_at(&verifier, &good(), NOW_MS).await, "accepted", "before {name}");
        assert_ne!(token, good(), "{name}");
        assert_eq!(verify_at(&verifier, &token, NOW_MS).await, reason, "{name}");
    }
    assert!(clerk.requests() <= 2, "at most one forced fetch");
}

#[tokio::test]
async fn tokens_of_a_wrong_form_are_refused() {
    const PARTS: &str = "not three parts";
    const BASE64: &str = "not base64url parts";
    const OPAQUE: &str = "an opaque token";
    const HEADER: &str = "the header is not an object with single members";
    const CLAIMS: &str = "the claims are not an object with single members";
    let good = good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let (header_text, claims_text) = (header().to_string(), v2().to_string());
    let doubled = |text: &str, member: &str| format!("{},{member}}}", text.trim_end_matches('}'));
    let raw = |header: &str, claims: &str| token_of(header, claims);
    let mut not_utf8 = claims_text.clone().into_bytes();
    let at = not_utf8.windows(6).position(|text| text == b"user_1").unwrap();
    not_utf8[at] = 0xff;
    assert_all_refused(vec![
        ("nothing", PARTS, String::new()),
        ("two dots", HEADER, "..".to_owned()),
        ("two parts", PARTS, message.to_owned()),
        ("four parts", PARTS, format!("{good}.{signature}")),
        ("five parts, as encrypted tokens have", PARTS, format!("{good}.{signature}.{signature}")),
        ("a dot too many in front", PARTS, format!(".{good}")),
        ("an API key", OPAQUE, format!("ak_{good}")),
        ("an opaque OAuth token", OPAQUE, "oat_2h8op3Isl1QR7tKu5FGNfaLKEoU".to_owned()),
        ("an opaque machine token", OPAQUE, "mt_2h8op3Isl1QR7tKu5FGNfaLKEoU".to_owned()),
        ("17 KiB", "longer than 16 KiB", token(&header(), &with(v2(), "x", json!("x".repeat(13 * 1024))))),
        ("a space in front", BASE64, format!(" {good}")),
        ("a line break behind", BASE64, format!("{good}\n")),
        ("its scheme in front", BASE64, format!("Bearer {good}")),
        ("a padded header", BASE64, format!("{head}=.{body}.{signature}")),
        ("padded claims", BASE64, format!("{head}.{body}=.{signature}")),
        ("a signature in the other base64", BASE64, format!("{message}.{}+/", &signature[2..])),
        ("a NUL in the signature", BASE64, format!("{message}.{}\0", &signature[1..])),
        ("letters that are not ASCII", BASE64, format!("{head}.{body}é.{signature}")),
        ("claims that are not UTF-8", BASE64, token_of(&header_text, &not_utf8)),
        ("a header that is an array", HEADER, raw(r#"["RS256","JWT","ins_1"]"#, &claims_text)),
        ("a header that is a string", HEADER, raw("\"RS256\"", &claims_text)),
        ("a header that is null", HEADER, raw("null", &claims_text)),
        ("a header cut off", HEADER, raw(header_text.trim_end_matches('}'), &claims_text)),
        ("two headers", HEADER, raw(&format!("{header_text}{header_text}"), &claims_text)),
        ("a byte order mark", HEADER, raw(&format!("\u{feff}{header_text}"), &claims_text)),
        ("two algs", HEADER, raw(&doubled(&header_text, r#""alg":"RS256""#), &claims_text)),
        (
            "two kids, one in disguise",
            HEADER,
            raw(&doubled(&header_text, r#""k\u0069d":"ins_1""#), &claims_text),
        ),
        ("claims that are an array", CLAIMS, raw(&header_text, &format!("[{claims_text}]"))),
        ("claims that are empty", CLAIMS, raw(&header_text, "")),
        ("claims with something behind", CLAIMS, raw(&header_text, &format!("{claims_text};"))),
        ("two subs", CLAIMS, raw(&header_text, &doubled(&claims_text, r#""sub":"user_2""#))),
        ("two exps, one in disguise", CLAIMS, raw(&header_text, &doubled(&claims_text, r#""\u0065xp":9e9"#))),
        ("two versions", CLAIMS, raw(&header_text, &doubled(&claims_text, r#""v":2"#))),
        ("two organizations", CLAIMS, raw(&header_text, &doubled(&claims_text, r#""o":null"#))),
    ])
    .await;
}

#[tokio::test]
async fn tokens_with_a_wrong_header_are_refused() {
    const ALG: &str = "`alg` is not RS256, RS384 or RS512";
    const TYP: &str = "`typ` is not JWT";
    const CAT: &str = "`cat` is not a session token's";
    const OAUTH: &str = "an OAuth access token";
    const CRIT: &str = "`crit` is not understood";
    const KID: &str = "`kid` is missing";
    const UNKNOWN: &str = "`kid` names no known key";
    let changed = |name: &str, value: Value| token(&with(header(), name, value), &v2());
    let hs256 = || {
        let message = message(&with(header(), "alg", json!("HS256")), &v2());
        let secret = hmac::Key::new(hmac::HMAC_SHA256, KEY.public_pem().unwrap().as_bytes());
        format!("{message}.{}", encode(hmac::sign(&secret, message.as_bytes())))
    };
    assert_all_refused(vec![
        ("no algorithm", ALG, changed("alg", json!("none"))),
        ("no algorithm, no signature", ALG, message(&with(header(), "alg", json!("none")), &v2()) + "."),
        ("no algorithm in capitals", ALG, changed("alg", json!("NONE"))),
        ("the public key as a shared secret", ALG, hs256()),
        ("another padding", ALG, token_with(&RSA_PSS_SHA256, "PS256")),
        ("an elliptic curve", ALG, changed("alg", json!("ES256"))),
        ("alg in small letters", ALG, changed("alg", json!("rs256"))),
        ("alg with a space", ALG, changed("alg", json!("RS256 "))),
        ("alg null", ALG, changed("alg", json!(null))),
        ("alg in an array", ALG, changed("alg", json!(["RS256"]))),
        ("alg missing", ALG, token(&without(header(), "alg"), &v2())),
        (
            "an algorithm that the key is not for",
            "`alg` is not the key's",
            token_with(&RSA_PKCS1_SHA384, "RS384"),
        ),
        ("an OAuth access token", OAUTH, changed("typ", json!("at+jwt"))),
        ("the same, spelled out", OAUTH, changed("typ", json!("application/at+jwt"))),
        ("typ in small letters", TYP, changed("typ", json!("jwt"))),
        ("typ empty", TYP, changed("typ", json!(""))),
        ("typ null", TYP, changed("typ", json!(null))),
        ("typ a number", TYP, changed("typ", json!(1))),
        ("a JWT-template token", "a JWT-template token", changed("cat", json!("cl_B7d4PD222AAA"))),
        ("a machine token", "a machine token", changed("cat", json!("cl_B7d4PD333AAA"))),
        ("a class of the future", CAT, changed("cat", json!("cl_B7d4PD444AAA"))),
        ("a class in small letters", CAT, changed("cat", json!("cl_b7d4pd111aaa"))),
        ("cat empty", CAT, changed("cat", json!(""))),
        ("cat null", CAT, changed("cat", json!(null))),
        ("cat in an array", CAT, changed("cat", json!(["cl_B7d4PD111AAA"]))),
        ("crit", CRIT, changed("crit", json!(["b64"]))),
        ("crit empty", CRIT, changed("crit", json!([]))),
        ("crit null", CRIT, changed("crit", json!(null))),
        ("kid missing", KID, token(&without(header(), "kid"), &v2())),
        ("kid null", KID, changed("kid", json!(null))),
        ("kid in an array", KID, changed("kid", json!(["ins_1"]))),
        ("kid empty", UNKNOWN, changed("kid", json!(""))),
        ("kid in capitals", UNKNOWN, changed("kid", json!("INS_1"))),
        ("kid a path", UNKNOWN, changed("kid", json!("../../dev/null"))),
        ("another instance's kid and key", UNKNOWN, token_by(&OTHER)),
    ])
    .await;
}

#[tokio::test]
async fn tokens_with_a_wrong_signature_are_refused() {
    const SIGNATURE: &str = "the signature does not match";
    let good = good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let richer = encode(with(v2(), "sub", json!("user_2")).to_string());
    let own_key =
        with(with(header(), "jwk", ROTATED.jwk()), "jku", json!("https://evil.example.com/jwks.json"));
    let first = if signature.starts_with('A') { "B" } else { "A" };
    assert_all_refused(vec![
        ("claims changed after signing", SIGNATURE, format!("{head}.{richer}.{signature}")),
        (
            "header changed after signing",
            SIGNATURE,
            format!("{}.{body}.{signature}", encode(without(header(), "cat").to_string())),
        ),
        ("another key under the known kid", SIGNATURE, token_by(&ROTATED)),
        ("a key of its own in the header", SIGNATURE, ROTATED.sign(&own_key, &v2()).unwrap()),
        ("another instance's key under the known kid", SIGNATURE, OTHER.sign(&header(), &v2()).unwrap()),
        ("no signature", SIGNATURE, format!("{message}.")),
        ("half a signature", SIGNATURE, format!("{message}.{}", &signature[..168])),
        ("a signature too long", SIGNATURE, format!("{message}.AAAA{signature}")),
        ("a signature of zeros", SIGNATURE, format!("{message}.{}", encode([0; 256]))),
        ("a signature of ones", SIGNATURE, format!("{message}.{}", encode([0xff; 256]))),
        ("a bit flipped", SIGNATURE, format!("{message}.{first}{}", &signature[1..])),
        (
            "the signature of another token",
            SIGNATURE,
            format!("{message}.{}", token(&header(), &without(v2(), "o")).rsplit_once('.').unwrap().1),
        ),
        (
            "the signature of the claims alone",
            SIGNATURE,
            format!("{message}.{}", KEY.signature(body.as_bytes()).unwrap()),
        ),
        (
            "no algorithm's signature under another name",
            SIGNATURE,
            format!("{message}.{}", token_with(&RSA_PKCS1_SHA384, "RS256").rsplit_once('.').unwrap().1),
        ),
        (
            "wrong claims and a wrong signature: the claims are not looked at",
            SIGNATURE,
            ROTATED.sign(&header(), &with(v2(), "iss", json!("https://evil.example.com"))).unwrap(),
        ),
    ])
    .await;
}
