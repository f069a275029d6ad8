//! What Clerk's Backend API answers, damaged on its way. Nothing of it is trusted either.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use roster::clerk::backend_api::{BackendApi, Order, Patience};
use roster::domain::{OrganizationId, UserId};
use roster::sim::shapes::Object;
use serde_json::{Value, json};

use super::damage::{self, EVENTS};
use super::{run_async, runner};

/// The lists that Clerk would give out, made from recorded events.
fn lists() -> Vec<Value> {
    let of = |prefix: &str| -> Vec<Value> {
        let events = EVENTS.iter().filter(|event| {
            let kind = event["type"].as_str().unwrap();
            kind.starts_with(prefix) && !kind.ends_with("deleted")
        });
        events.map(|event| event["data"].clone()).take(3).collect()
    };
    let counted = |objects: Vec<Value>| json!({"total_count": objects.len(), "data": objects});
    vec![
        Value::from(of("user.")),
        counted(of("organization.")),
        counted(of("organizationMembership.")),
        counted(of("organizationInvitation.")),
        of("user.").remove(0),
        json!({"errors": [{"code": "resource_not_found", "message": "not found", "meta": Object::new()}]}),
    ]
}

fn answers() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let status =
        prop_oneof![8 => Just(200_u16), 1 => select(vec![201, 204, 301, 400, 401, 402, 404, 422, 500])];
    let bytes = (select(lists()), damage::some())
        .prop_map(|(list, damages)| damage::done_to(list.to_string().into_bytes(), &damages));
    let values = (select(lists()), vec((any::<Index>(), proptest::option::of(damage::value())), 1..4));
    let values = values.prop_map(|(list, changes)| {
        let list = changes.into_iter().fold(list, |list, (at, with)| damage::replaced(list, at, with));
        list.to_string().into_bytes()
    });
    (status, prop_oneof![bytes, values])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_answer_is_read_or_refused_and_nobody_is_gone() {
    let answer = Arc::new(Mutex::new((200_u16, Vec::new())));
    let given = Arc::clone(&answer);
    let router = Router::new().fallback(async move || {
        let (status, body) = given.lock().unwrap().clone();
        let mut response = body.into_response();
        *response.status_mut() = status.try_into().unwrap();
        response
    });
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let patience = Patience { retries: 0, first_wait: Duration::from_millis(1), ..Patience::default() };
    let api = BackendApi::with_patience(&url, "sk_test_1".into(), 10_000, patience).unwrap();
    let user = UserId::parse("user_nobody").unwrap();
    let organization = OrganizationId::parse("org_nobody").unwrap();

    let cases = runner(150, "tests/hostile/found/answers.txt");
    run_async(cases, &answers(), async |(status, body)| {
        let is_gone = status == 404
            && serde_json::from_slice::<Value>(&body).is_ok_and(|body| body.get("errors").is_some());
        *answer.lock().unwrap() = (status, body);
        for page in [
            api.users_page(500, None).await,
            api.organizations_page(500, 0, Order::OldestFirst).await,
            api.memberships_page(500, 0, Order::OldestFirst).await,
        ] {
            let Ok(page) = page else { continue };
            let page = page.value;
            prop_assert_eq!(page.received, page.changes.len() + page.unusable);
        }
        // Only Clerk's own word makes somebody gone, and the answer about another one is about another one.
        if let Ok(user) = api.user(&user).await {
            prop_assert!(user.value.is_none() && is_gone, "{:?}", user.value);
        }
        if let Ok(organization) = api.organization(&organization).await {
            prop_assert!(organization.value.is_none() && is_gone, "{:?}", organization.value);
        }
        Ok(())
    });
}
