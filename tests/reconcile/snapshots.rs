//! A webhook and a page that speak of the same object: the newer one wins, whichever is written first.

use std::collections::BTreeSet;

use roster::sim::shapes::{object, text};
use roster::sim::{Event, Instance, NewUser};
use serde_json::json;

use super::model::{copy, truth};
use super::town::{FULL, Town, deliver};

/// Every kind of change, each with the path of the list on which its object stands.
type Change = fn(&mut Instance) -> Event;

fn user_id(clerk: &Instance) -> String {
    text(clerk.users().next().unwrap(), "id").to_owned()
}

fn organization_id(clerk: &Instance) -> String {
    clerk.organization_ids().next().unwrap().to_owned()
}

fn membership_id(clerk: &Instance) -> String {
    clerk.membership_id(&user_id(clerk), &organization_id(clerk)).unwrap()
}

const CHANGES: [(&str, Change); 7] = [
    ("/v1/users", |clerk| clerk.update_user(&user_id(clerk), object(json!({"first_name": "New"}))).unwrap()),
    ("/v1/users", |clerk| clerk.delete_user(&user_id(clerk)).unwrap()),
    ("/v1/users", |clerk| clerk.sign_in(&user_id(clerk), None).unwrap()),
    ("/v1/organizations", |clerk| {
        clerk.update_organization(&organization_id(clerk), object(json!({"name": "New"}))).unwrap()
    }),
    ("/v1/organizations", |clerk| clerk.delete_organization(&organization_id(clerk)).unwrap()),
    ("/v1/organization_memberships", |clerk| clerk.change_role(&membership_id(clerk), "org:admin").unwrap()),
    ("/v1/organization_memberships", |clerk| clerk.leave(&membership_id(clerk)).unwrap()),
];

/// One user, who is the member of one organization.
async fn town() -> Town {
    let town = Town::new(2, 10, 0).await;
    {
        let mut clerk = town.clerk.lock();
        let user = clerk.create_user(NewUser::named("Old", "Doe", "old@x.io"));
        let organization = clerk.create_organization("Old", None);
        clerk.join(user.id(), organization.id(), "org:member", &object(json!({}))).unwrap();
    }
    town
}

async fn is_truth(town: &Town) -> bool {
    copy(&town.db).await == truth(&town.clerk.lock(), &BTreeSet::new())
}

#[tokio::test]
async fn an_event_that_is_newer_than_the_page_wins_before_and_after_it() {
    for (index, (path, change)) in CHANGES.into_iter().enumerate() {
        // The page is fetched first; the event is applied before it, or after.
        for event_first in [true, false] {
            let town = town().await;
            town.deliver_all().await;
            let page = match path {
                "/v1/users" => town.api.users_page(10, None).await.unwrap().value,
                "/v1/organizations" => {
                    let order = roster::clerk::backend_api::Order::OldestFirst;
                    town.api.organizations_page(10, 0, order).await.unwrap().value
                }
                _ => {
                    let order = roster::clerk::backend_api::Order::OldestFirst;
                    town.api.memberships_page(10, 0, order).await.unwrap().value
                }
            };
            let event = change(&mut town.clerk.lock());
            if event_first {
                deliver(&town.db.store, &event).await;
                town.db.store.apply(page.changes).await.unwrap();
            } else {
                town.db.store.apply(page.changes).await.unwrap();
                deliver(&town.db.store, &event).await;
            }
            assert!(is_truth(&town).await, "change {index}, event first: {event_first}");
        }
    }
}

#[tokio::test]
async fn a_page_that_is_newer_than_an_event_wins_before_and_after_it() {
    for (index, (_, change)) in CHANGES.into_iter().enumerate() {
        for event_first in [true, false] {
            let town = town().await;
            let mut events = town.clerk.lock().take_events();
            let older = change(&mut town.clerk.lock());
            // Where the object is still there, it changes once more, and nobody is told.
            let _ = match index {
                0 => Some(CHANGES[0].1(&mut town.clerk.lock())),
                3 => Some(CHANGES[3].1(&mut town.clerk.lock())),
                5 => {
                    let id = membership_id(&town.clerk.lock());
                    Some(town.clerk.lock().change_role(&id, "org:other").unwrap())
                }
                _ => None,
            };
            events.push(older);
            if event_first {
                for event in &events {
                    deliver(&town.db.store, event).await;
                }
            }
            town.pass(FULL).await;
            if !event_first {
                for event in &events {
                    deliver(&town.db.store, event).await;
                }
            }
            assert!(is_truth(&town).await, "change {index}, event first: {event_first}");
        }
    }
}

#[tokio::test]
async fn an_event_between_the_pages_of_a_pass_is_not_undone() {
    for (index, (path, change)) in CHANGES.into_iter().enumerate() {
        for during in ["/v1/users/count", "/v1/users", "/v1/organizations", "/v1/organization_memberships"] {
            let town = town().await;
            town.deliver_all().await;
            let (sender, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
            let mut once = true;
            town.controls().before_each(move |asked, clerk| {
                if once && asked.path == during {
                    once = false;
                    sender.send(change(clerk)).unwrap();
                }
            });
            let store = town.db.store.clone();
            let arriving = tokio::spawn(async move {
                let event = arrivals.recv().await.unwrap();
                deliver(&store, &event).await;
            });
            town.pass(FULL).await;
            arriving.await.unwrap();
            assert!(is_truth(&town).await, "change {index} of {path} during {during}");
        }
    }
}
