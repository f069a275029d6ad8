//! Every kind of problem that can be had from outside, whole.

use std::fmt::Write as _;

use insta::assert_snapshot;
use reqwest::Method;
use roster::config::KeySource;
use roster::domain::{Change, MembershipId, OrganizationId, UserId};
use roster::replay::Message;
use serde_json::json;

use super::people::{ADMIN, KEY, USERS, ada, bearer, three, wire};
use crate::reading::site::{Site, WEBHOOK_SECRET};
use crate::support::answer::Answer;

async fn get(site: &Site, path: &str, authorization: &str) -> String {
    wire(&site.get(path, &[("authorization", authorization), ("x-request-id", "asked")]).await)
}

/// A delivery with a good signature.
async fn deliver(site: &Site, body: &str) -> Answer {
    let Message { id, body } = Message::from_content(body);
    let at_s = roster::clock::now_ms() / 1000;
    let webhook = svix::webhooks::Webhook::new(WEBHOOK_SECRET).unwrap();
    let signature = webhook.sign(&id, at_s, body.as_bytes()).unwrap();
    let headers = [
        ("svix-id", id.as_str()),
        ("svix-timestamp", &at_s.to_string()),
        ("svix-signature", &signature),
        ("x-request-id", "asked"),
    ];
    site.send(Method::POST, "/webhooks/clerk", &headers, body.into_bytes()).await
}

#[tokio::test]
async fn a_wrong_question() {
    let site = three().await;
    let nowhere = format!("Bearer {}", site.token("ada", None, ""));
    assert_snapshot!("400_no_organization", get(&site, USERS, &nowhere).await);
    assert_snapshot!("400_limit", wire(&ada(&site, &format!("{USERS}?limit=501")).await));
    let long = "x".repeat(101);
    let mut details = String::new();
    for query in [
        "limit=0",
        "limit=",
        "limit=1&limit=1",
        "cursor=",
        "cursor=x",
        "ids=",
        "ids=a,,b",
        "query=%FF",
        &format!("query={long}"),
        "query=a&query=a",
        "role=",
        "role=a&role=b",
        "metadata.=x",
        "metadata.a=%FF",
        "activityStatus=",
        "activityStatus=x",
        "include=x",
    ] {
        let answer = ada(&site, &format!("{ADMIN}?{query}")).await;
        assert_eq!(answer.problem(), "400 VALIDATION_ERROR", "{query}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        writeln!(details, "{}: {detail}", query.replace(&long, "x…")).unwrap();
    }
    assert_snapshot!("400_details", details);
}

#[tokio::test]
async fn nobody_who_is_known() {
    let site = three().await;
    assert_snapshot!("401_token", get(&site, USERS, "Bearer x").await);
    let unsigned = [("x-request-id", "asked")];
    let webhook = site.send(Method::POST, "/webhooks/clerk", &unsigned, b"{}".to_vec()).await;
    assert_snapshot!("401_webhook", wire(&webhook));
}

#[tokio::test]
async fn somebody_who_may_not() {
    let site = three().await;
    let member = format!("Bearer {}", site.token("ada", Some("org_1"), "member"));
    assert_snapshot!("403_not_an_admin", get(&site, ADMIN, &member).await);
    let banned = format!("Bearer {}", site.token("bob", Some("org_1"), "admin"));
    let refused = get(&site, USERS, &banned).await;
    assert_snapshot!("403_contradicted", refused);

    // Why the read model contradicts the token is not said.
    let now_ms = roster::clock::now_ms();
    let left = Change::MembershipDeleted {
        id: MembershipId::parse("orgmem_user_ada").unwrap(),
        organization_id: OrganizationId::parse("org_1").unwrap(),
        user_id: UserId::parse("user_ada").unwrap(),
        created_at_ms: Some(1),
        at_ms: now_ms,
    };
    let gone = Change::UserDeleted { id: UserId::parse("user_zoe").unwrap(), at_ms: now_ms };
    site.apply(vec![left, gone]).await;
    for name in ["ada", "zoe"] {
        let token = format!("Bearer {}", site.token(name, Some("org_1"), "admin"));
        assert_eq!(get(&site, USERS, &token).await, refused);
    }
    let closed = Change::OrganizationDeleted { id: OrganizationId::parse("org_1").unwrap(), at_ms: now_ms };
    site.apply(vec![closed]).await;
    let stranger = format!("Bearer {}", site.token("stranger", Some("org_1"), "admin"));
    assert_eq!(get(&site, USERS, &stranger).await, refused);
}

#[tokio::test]
async fn nothing_there() {
    let site = three().await;
    assert_snapshot!("404_route", get(&site, "/nowhere", "").await);
    assert_snapshot!("404_member", wire(&ada(&site, &format!("{USERS}/user_nobody")).await));
}

#[tokio::test]
async fn another_method() {
    let site = three().await;
    let sent = [("x-request-id", "asked")];
    assert_snapshot!("405_read", wire(&site.send(Method::PATCH, USERS, &sent, Vec::new()).await));
    assert_snapshot!("405_webhook", wire(&site.get("/webhooks/clerk", &sent).await));
}

#[tokio::test]
async fn a_delivery_that_cannot_be_taken() {
    let site = three().await;
    let sent = [("x-request-id", "asked")];
    let large = site.send(Method::POST, "/webhooks/clerk", &sent, vec![b' '; 1024 * 1024 + 1]).await;
    assert_snapshot!("413", wire(&large));
    let unusable = json!({"type": "user.created", "data": {"id": 5}}).to_string();
    assert_snapshot!("422", wire(&deliver(&site, &unusable).await));
}

#[tokio::test]
async fn a_lost_database() {
    let site = three().await;
    let bearer = bearer(&site);
    site.database.store.close().await;
    assert_snapshot!("503_read", get(&site, USERS, &bearer).await);
    assert_snapshot!("503_ready", get(&site, "/readyz", "").await);
    let event = json!({"type": "user.created", "timestamp": 1, "data": {"id": "user_new", "created_at": 1, "updated_at": 1}});
    assert_snapshot!("503_webhook", wire(&deliver(&site, &event.to_string()).await));
}

#[tokio::test]
async fn no_key_to_check_tokens_with() {
    let nowhere = KeySource::Jwks { url: "http://127.0.0.1:1/keys".to_owned(), bearer: None };
    for (source, keys) in [("none", KeySource::None), ("unreachable", nowhere)] {
        let site = Site::with_keys(KEY.clone(), keys).await;
        assert_snapshot!(format!("503_keys_{source}_read"), get(&site, USERS, &bearer(&site)).await);
        assert_snapshot!(format!("503_keys_{source}_ready"), get(&site, "/readyz", "").await);
        // Who has no token at all is told so.
        assert!(get(&site, USERS, "").await.starts_with("401"));
    }
}
