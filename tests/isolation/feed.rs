use std::collections::BTreeSet;

use super::ask::token_of;
use super::town::{ORGANIZATIONS, PEOPLE, Town, listed, user_id};
use crate::changes::reader::Reader;
use crate::reading::site::user;
use crate::support::database::{Kind, on_both_databases};

on_both_databases!(a_feed_speaks_of_its_own_organization);

/// Everybody changes, and each organization hears of its own people alone, live and from the log.
async fn a_feed_speaks_of_its_own_organization(kind: Kind) {
    let town = Town::new(kind).await;
    let site = &town.together;
    let mut live = Vec::new();
    for organization in 0..ORGANIZATIONS {
        // Of this one nothing is known; the token is enough.
        let token = token_of(&town, 900, organization, Some("admin"));
        live.push(Reader::open(site.address(), &token, None).await);
    }
    // From the first change on, which the town was built with.
    let mut all = Vec::new();
    for organization in 0..ORGANIZATIONS {
        let token = token_of(&town, 900, organization, Some("admin"));
        all.push(Reader::open(site.address(), &token, Some("0")).await);
    }
    let mut changes = Vec::new();
    for person in 0..PEOPLE {
        let roster::domain::Change::User { mut user, last_sign_in_at_ms } = user(&user_id(person)[5..], 1)
        else {
            unreachable!()
        };
        user.version.updated_at_ms += 1;
        changes.push(roster::domain::Change::User { user, last_sign_in_at_ms });
    }
    site.apply(changes).await;
    for organization in 0..ORGANIZATIONS {
        let people = listed(organization);
        let last = format!("upserted {}", people.last().unwrap());
        let mut told: BTreeSet<_> = live[organization].until(&last).await.into_iter().collect();
        told.insert(last);
        let expected: BTreeSet<_> = people.iter().map(|id| format!("upserted {id}")).collect();
        assert_eq!(told, expected);
        // In the log are the town's beginnings too, and those who have left since.
        let mut ids = BTreeSet::new();
        while !(people.is_subset(&ids) && all[organization].last_id == live[organization].last_id) {
            let event = all[organization].event().await.unwrap();
            ids.insert(event.split_once(' ').unwrap().1.to_owned());
        }
        let known: BTreeSet<_> = (0..PEOPLE)
            .filter(|person| super::town::place(*person, organization) != super::town::Place::Never)
            .map(user_id)
            .collect();
        assert!(ids.is_subset(&known), "{:?}", ids.difference(&known));
    }
}
