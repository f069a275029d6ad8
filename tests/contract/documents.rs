//! The good answers, whole.

use insta::assert_snapshot;
use reqwest::Method;
use roster::replay::Message;
use roster::replay::post::Poster;
use roster::sim::keys::SigningKey;
use roster::sim::{Instance, NewUser};

use super::people::{ADMIN, USERS, ada, bearer, empty, next, three, wire};
use crate::reading::site::WEBHOOK_SECRET;

#[tokio::test]
async fn the_users_of_an_organization() {
    let site = three().await;
    assert_snapshot!(wire(&ada(&site, USERS).await));
}

#[tokio::test]
async fn the_admins_list() {
    let site = three().await;
    assert_snapshot!(wire(&ada(&site, ADMIN).await));
}

#[tokio::test]
async fn one_member() {
    let site = three().await;
    assert_snapshot!(wire(&ada(&site, &format!("{USERS}/user_zoe")).await));
}

#[tokio::test]
async fn nobody_is_an_empty_array() {
    let site = empty().await;
    assert_snapshot!(wire(&ada(&site, USERS).await));
}

#[tokio::test]
async fn a_page_with_another_one_after_it() {
    let site = three().await;
    let first = ada(&site, &format!("{USERS}?limit=1&x=1&query=&ids=user_zoe,user_bob,user_bob")).await;
    assert_snapshot!(wire(&first));
    let last = ada(&site, &next(&first).unwrap()).await;
    assert_eq!((last.ids(), last.header("link")), (vec!["user_zoe".to_owned()], None));
}

#[tokio::test]
async fn signs_of_life() {
    let site = empty().await;
    for path in ["/healthz", "/readyz"] {
        let answer = site.get(path, &[("x-request-id", "asked")]).await;
        assert_snapshot!(path.trim_start_matches('/'), wire(&answer));
    }
}

#[tokio::test]
async fn head_and_not_modified() {
    let site = three().await;
    let bearer = bearer(&site);
    let mut sent = vec![("authorization", bearer.as_str()), ("x-request-id", "asked")];
    let path = format!("{USERS}?limit=1");
    let head = site.send(Method::HEAD, &path, &sent, Vec::new()).await;
    assert_snapshot!("head", wire(&head));
    sent.push(("if-none-match", head.header("etag").unwrap()));
    assert_snapshot!("not_modified", wire(&site.get(&path, &sent).await));
}

/// From Clerk's events to the answers: what is shown, from which field, and as of when.
#[tokio::test]
async fn clerks_events_become_these_answers() {
    let site = empty().await;
    let mut clerk = Instance::new(SigningKey::generate("ins_1").unwrap(), 1, 1_763_000_000_000);
    let new = NewUser {
        username: Some("ada".to_owned()),
        external_id: Some("external".to_owned()),
        has_image: true,
        ..NewUser::named("Ada", "Okafor", "ada@old.example")
    };
    let user = clerk.create_user(new);
    let organization = clerk.create_organization("Harbour", None);
    clerk.join(user.id(), organization.id(), "org:admin", &serde_json::Map::new()).unwrap();
    clerk.change_email(user.id(), "ada@new.example").unwrap();
    clerk.sign_in(user.id(), Some(organization.id())).unwrap();
    let poster = Poster::new(site.address(), WEBHOOK_SECRET, std::time::Duration::from_secs(15)).unwrap();
    for event in clerk.take_events() {
        let Message { id, body } = event.message();
        let answer = poster.post(&Message { id, body }).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let name = user.id().trim_start_matches("user_");
    let bearer = format!("Bearer {}", site.token(name, Some(organization.id()), "admin"));
    for (snapshot, path) in [("from_events_users", USERS), ("from_events_admin", ADMIN)] {
        let answer = site.get(path, &[("authorization", &bearer), ("x-request-id", "asked")]).await;
        assert_snapshot!(snapshot, wire(&answer));
    }
}
