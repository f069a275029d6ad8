//! The simulated API against Clerk's published description of the real one.
//!
//! That file is Clerk's and not in this repository. `ROSTER_CLERK_OPENAPI` says where it is; without it the
//! test looks next to the checkout, and passes with a word when there is none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use roster::sim::backend_api::Fault;
use roster::sim::shapes::{object, text};
use serde_json::json;

use super::schema::Document;
use super::*;

fn file() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ROSTER_CLERK_OPENAPI") {
        return Some(path.into());
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/clerk/bapi-openapi-2026-05-12.yml");
    beside.exists().then_some(beside)
}

/// One of each thing that can be asked for, in each of its states.
async fn varied() -> Site {
    let site = Site::with_users(2).await;
    {
        let mut clerk = site.clerk.lock();
        let org = clerk.organization_ids().next().unwrap().to_owned();
        let bare = clerk.create_user(NewUser::default()).id().to_owned();
        let rich = NewUser {
            username: Some("ada".to_owned()),
            external_id: Some("7".to_owned()),
            has_image: true,
            public_metadata: object(json!({"team": "core"})),
            ..NewUser::named("Ada", "Okafor", "ada@example.com")
        };
        let rich = clerk.create_user(rich).id().to_owned();
        clerk.sign_in(&rich, Some(&org)).unwrap();
        clerk.change_email(&rich, "ada.new@example.com").unwrap();
        clerk.ban(&bare).unwrap();
        clerk.join(&bare, &org, "org:member", &object(json!({"desk": 4}))).unwrap();
        let accepted = clerk.invite(&org, "ada@example.com", "org:member", Some(&bare)).unwrap();
        clerk.accept(accepted.id(), &rich).unwrap();
        let revoked = clerk.invite(&org, "bo@example.com", "org:admin", None).unwrap();
        clerk.revoke(revoked.id()).unwrap();
        clerk.invite(&org, "cy@example.com", "org:member", None).unwrap();
        clerk.create_organization("Nobody's", None);
    }
    site
}

#[tokio::test]
async fn answers_are_as_clerk_describes_them() {
    let Some(file) = file() else {
        println!(
            "Clerk's OpenAPI file is not here (set ROSTER_CLERK_OPENAPI to its path): nothing was compared"
        );
        return;
    };
    let document = Document::parse(&std::fs::read_to_string(file).unwrap());
    let site = varied().await;
    let membership = site.first_membership();
    let user = membership["public_user_data"]["user_id"].as_str().unwrap();
    let organization = membership["organization"]["id"].as_str().unwrap();
    let invitation = {
        let answer = site.api.invitations_page(500, 0, roster::clerk::backend_api::Order::OldestFirst).await;
        id(answer.unwrap().value.changes.first().unwrap()).to_owned()
    };
    assert_eq!(text(&membership, "object"), "organization_membership");
    let calls = [
        ("/users", "?limit=500".to_owned()),
        ("/users/count", String::new()),
        ("/users/{user_id}", format!("/users/{user}")),
        ("/organizations", "?limit=500".to_owned()),
        ("/organizations", "?include_members_count=true".to_owned()),
        ("/organizations/{organization_id}", format!("/organizations/{organization}")),
        ("/organization_memberships", "?limit=500".to_owned()),
        (
            "/organizations/{organization_id}/memberships",
            format!("/organizations/{organization}/memberships"),
        ),
        ("/organization_invitations", "?limit=500".to_owned()),
        (
            "/organizations/{organization_id}/invitations/{invitation_id}",
            format!("/organizations/{organization}/invitations/{invitation}"),
        ),
        ("/instance", String::new()),
    ];
    let mut problems = Vec::new();
    let mut compared = 0;
    for (path, rest) in &calls {
        let address = if rest.starts_with('/') { rest.clone() } else { format!("{path}{rest}") };
        for fault in [None, Some(401), Some(402), Some(403), Some(404), Some(422), Some(429), Some(500)] {
            if let Some(status) = fault {
                site.controls().fail_next(1, &Fault::Status(status));
            }
            let (status, body) = site.ask(&address).await;
            assert_eq!(status.as_u16(), fault.unwrap_or(200));
            if let Some(schema) = document.answer(path, status.as_u16()) {
                compared += 1;
                problems
                    .extend(document.problems(schema, &body).into_iter().map(|what| format!("{path}{what}")));
            }
        }
    }
    problems.dedup();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(compared > 30, "{compared}");
}

#[tokio::test]
async fn what_the_client_asks_is_in_the_description() {
    let Some(file) = file() else { return };
    let document = Document::parse(&std::fs::read_to_string(file).unwrap());
    let used: [(&str, &[&str]); 6] = [
        ("/users", &["limit", "offset", "order_by", "starting_after", "user_id"]),
        ("/organizations", &["limit", "offset", "order_by", "organization_id", "include_members_count"]),
        ("/organization_memberships", &["limit", "offset", "order_by"]),
        ("/organizations/{organization_id}/memberships", &["limit", "offset", "order_by", "user_id", "role"]),
        ("/organization_invitations", &["limit", "offset", "order_by", "status"]),
        ("/users/count", &["user_id"]),
    ];
    for (path, names) in used {
        let known: BTreeSet<_> = document.parameters(path).into_iter().collect();
        assert!(names.iter().all(|name| known.contains(name)), "{path}: {known:?}");
    }
}
