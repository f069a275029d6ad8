//! Deliveries of somebody who is not the sender, or not now. Each differs from a good one in one thing, is
//! refused and leaves nothing; the good one beside it is taken.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA512};
use serde_json::{Value, json};

use super::payloads;
use crate::support::delivery::{Delivery, SECRET, mac, now_s, sign};
use crate::support::site::Site;

const FOREIGN_SECRET: &str = "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCwgbm90IG91cnM=";

type Spoil = fn(Delivery) -> Delivery;

/// Signs a delivery anew in a way of its own: over its id, its timestamp and its body.
fn resigned(delivery: Delivery, signature: impl FnOnce(&str, &str, &[u8]) -> String) -> Delivery {
    let (id, timestamp) = (delivery.header("svix-id"), delivery.header("svix-timestamp"));
    let signature = signature(&id, &timestamp, &delivery.body);
    delivery.with("svix-signature", signature)
}

/// Says another moment in the header, and signs it.
fn dated(delivery: Delivery, timestamp: &str) -> Delivery {
    let delivery = delivery.with("svix-timestamp", timestamp);
    resigned(delivery, |id, timestamp, body| sign(SECRET, id.as_bytes(), timestamp, body))
}

/// The key as the secret spells it.
fn key() -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(&SECRET["whsec_".len()..]).unwrap()
}

#[rustfmt::skip] // A table.
const UNSIGNED: &[(&str, Spoil)] = &[
    ("no header at all", |d| Delivery { headers: Vec::new(), ..d }),
    ("no id", |d| d.without("svix-id")),
    ("no timestamp", |d| d.without("svix-timestamp")),
    ("no signature", |d| d.without("svix-signature")),
    ("an empty id", |d| resigned(d.with("svix-id", ""), |id, at, body| sign(SECRET, id.as_bytes(), at, body))),
    ("an empty timestamp", |d| dated(d, "")),
    ("an empty signature", |d| d.with("svix-signature", "")),
    ("an id that is not ASCII", |d| {
        let signature = sign(SECRET, "msg_é".as_bytes(), &d.header("svix-timestamp"), &d.body);
        d.with("svix-id", "msg_é").with("svix-signature", signature)
    }),
    ("a timestamp that is not ASCII", |d| d.with("svix-timestamp", "١٧٩٥٠٠٠٠٠٠")),
    ("a signature that is not ASCII", |d| d.with("svix-signature", b"v1,\xff".to_vec())),
    ("the id of another message", |d| d.with("svix-id", "msg_another")),
    ("the id in other letters", |d| { let id = d.header("svix-id").to_uppercase(); d.with("svix-id", id) }),
    ("the timestamp one second on", |d| d.with("svix-timestamp", (now_s() + 1).to_string())),
    ("a timestamp in milliseconds", |d| dated(d, &(now_s() * 1000).to_string())),
    ("a timestamp with a fraction", |d| dated(d, &format!("{}.0", now_s()))),
    ("a timestamp in words", |d| dated(d, "Tue, 01 Sep 2026 12:00:00 GMT")),
    ("a negative timestamp", |d| dated(d, &format!("-{}", now_s()))),
    ("the least timestamp", |d| dated(d, &i64::MIN.to_string())),
    ("the greatest timestamp", |d| dated(d, &i64::MAX.to_string())),
    ("a timestamp beyond all numbers", |d| dated(d, "99999999999999999999999999")),
    ("signed too long ago", |d| dated(d, &(now_s() - 302).to_string())),
    ("signed too far ahead", |d| dated(d, &(now_s() + 310).to_string())),
    ("one byte of the body changed", |mut d| { d.body[40] ^= 1; d }),
    ("one byte more", |mut d| { d.body.push(b'\n'); d }),
    ("one byte less", |mut d| { d.body.pop(); d }),
    ("no body", |mut d| { d.body.clear(); d }),
    ("the JSON written anew", |mut d| {
        let event: Value = serde_json::from_slice(&d.body).unwrap();
        d.body = serde_json::to_vec_pretty(&event).unwrap();
        d
    }),
    ("somebody else's secret", |d| resigned(d, |id, at, body| sign(FOREIGN_SECRET, id.as_bytes(), at, body))),
    ("an empty key", |d| resigned(d, |id, at, body| sign("whsec_", id.as_bytes(), at, body))),
    ("the secret itself as the key", |d| resigned(d, |id, at, body| {
        format!("v1,{}", mac(HMAC_SHA256, SECRET.as_bytes(), &[id.as_bytes(), b".", at.as_bytes(), b".", body].concat()))
    })),
    ("another algorithm", |d| resigned(d, |id, at, body| {
        format!("v1,{}", mac(HMAC_SHA512, &key(), &[id.as_bytes(), b".", at.as_bytes(), b".", body].concat()))
    })),
    ("the body alone signed", |d| resigned(d, |_, _, body| format!("v1,{}", mac(HMAC_SHA256, &key(), body)))),
    ("signed without the id", |d| resigned(d, |_, at, body| {
        format!("v1,{}", mac(HMAC_SHA256, &key(), &[at.as_bytes(), b".", body].concat()))
    })),
    ("the dots moved between id and timestamp", |d| {
        let id = format!("{}.{}", d.header("svix-id"), d.header("svix-timestamp"));
        d.with("svix-id", id)
    }),
    ("a signature cut short", |d| { let s = d.header("svix-signature"); d.with("svix-signature", &s[..s.len() - 4]) }),
    ("a signature without its padding", |d| {
        let signature = d.header("svix-signature");
        d.with("svix-signature", signature.trim_end_matches('='))
    }),
    ("a signature with more behind it", |d| { let s = d.header("svix-signature"); d.with("svix-signature", format!("{s}AAAA")) }),
    ("a signature without a version", |d| { let s = d.bare_signature(); d.with("svix-signature", s) }),
    ("a signature of version 2", |d| { let s = d.bare_signature(); d.with("svix-signature", format!("v2,{s}")) }),
    ("an asymmetric signature", |d| { let s = d.bare_signature(); d.with("svix-signature", format!("v1a,{s}")) }),
    ("a version in capitals", |d| { let s = d.bare_signature(); d.with("svix-signature", format!("V1,{s}")) }),
    ("signatures with commas between them", |d| { let s = d.header("svix-signature"); d.with("svix-signature", format!("v1,AAAA,{s}")) }),
    ("the signature under another name", |d| { let s = d.header("svix-signature"); d.without("svix-signature").with("x-signature", s) }),
];

#[tokio::test]
async fn whoever_is_not_the_sender_is_refused_without_a_trace() {
    let site = Site::start().await;
    let mut answers = std::collections::BTreeSet::new();
    for (number, (name, spoil)) in UNSIGNED.iter().enumerate() {
        let good = Delivery::new(
            &format!("msg_case_{number}"),
            payloads::user(&format!("user_{number}")).to_string(),
        );
        let before = site.rows.everything().await;
        let spoiled = spoil(good.clone());
        let answer = site.post(&spoiled).await;
        assert_eq!(answer.verdict(), "401 UNAUTHORIZED", "{name}");
        let mut problem = answer.json();
        problem["requestId"] = json!("-");
        answers.insert(problem.to_string());
        assert_eq!(site.rows.everything().await, before, "{name}");
        assert_eq!(site.post(&good).await.verdict(), "200 applied", "the good one beside: {name}");
    }
    assert_eq!(answers.len(), 1, "one body for every reason: {answers:?}");
}
