use std::sync::Arc;

use roster::domain::Change;
use roster::sim::keys::SigningKey;
use roster::sim::shapes::object;
use roster::store::backup;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::reader::Reader;
use super::town::Town;
use crate::reading::site::{Site as Small, membership, user};
use crate::support::database::{Kind, on_both_databases};

on_both_databases!(an_id_that_says_nothing_is_a_reset, a_batch_is_whole_or_comes_again);

#[tokio::test]
async fn a_restart_loses_nothing_and_repeats_nothing() {
    let mut town = Town::new().await;
    let (ada, bo, cy, harbour) = (town.ada.clone(), town.bo.clone(), town.cy.clone(), town.harbour.clone());
    let mut reader = town.follow(&harbour).await;
    town.rename(&bo, "One").await;
    assert_eq!(reader.event().await.unwrap(), format!("upserted {bo}"));
    let heard = reader.last_id.clone();
    drop(reader);
    town.join(&cy, &harbour).await;
    let mut town = town.restart(async |_| ()).await;
    town.leave(&cy, &harbour).await;
    town.rename(&ada, "Two").await;
    let missed = [format!("upserted {cy}"), format!("removed {cy}"), format!("upserted {ada}")];
    let mut reader = town.resume(&harbour, Some(&heard)).await;
    assert_eq!(reader.events(3).await, missed);
    // From each place on just the rest, and then what comes.
    let mut places = vec![heard];
    let mut again = town.resume(&harbour, Some(&places[0])).await;
    for _ in &missed {
        again.event().await.unwrap();
        places.push(again.last_id.clone());
    }
    town.rename(&bo, "Three").await;
    for (number, place) in places.iter().enumerate() {
        let mut reader = town.resume(&harbour, Some(place)).await;
        assert_eq!(reader.until(&format!("upserted {bo}")).await, missed[number..]);
    }
}

async fn an_id_that_says_nothing_is_a_reset(kind: Kind) {
    let mut town = Town::on(kind).await;
    let (bo, harbour) = (town.bo.clone(), town.harbour.clone());
    for id in
        ["", "x", "-1", "+1", "1.0", "1e3", "999999", "9223372036854775807", "9223372036854775808", "1,2"]
    {
        let mut reader = town.resume(&harbour, Some(id)).await;
        assert_eq!(reader.event().await.as_deref(), Some("reset"), "{id}");
        // And from there on it is as if it were new.
        let id = reader.last_id.clone();
        town.rename(&bo, &format!("{id}{}", id.len())).await;
        assert_eq!(reader.event().await.unwrap(), format!("upserted {bo}"));
        let mut reader = town.resume(&harbour, Some(&id)).await;
        assert_eq!(reader.event().await.unwrap(), format!("upserted {bo}"));
    }
}

#[tokio::test]
async fn an_id_that_is_too_old_is_a_reset() {
    let mut town = Town::new().await;
    let (bo, harbour) = (town.bo.clone(), town.harbour.clone());
    let mut reader = town.follow(&harbour).await;
    let mut ids = Vec::new();
    for name in ["One", "Two", "Three"] {
        town.rename(&bo, name).await;
        reader.event().await.unwrap();
        ids.push(reader.last_id.clone());
    }
    let forgotten: i64 = ids[1].parse().unwrap();
    // As the hourly task does when there are many more.
    let mut town = town
        .restart(async |path| {
            let mut file = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            sqlx::query("DELETE FROM changes WHERE version <= $1")
                .bind(forgotten)
                .execute(&mut file)
                .await
                .unwrap();
            file.close().await.unwrap();
        })
        .await;
    let mut old = town.resume(&harbour, Some(&ids[0])).await;
    assert_eq!(old.event().await.as_deref(), Some("reset"));
    let mut last = town.resume(&harbour, Some(&ids[1])).await;
    assert_eq!(last.event().await.unwrap(), format!("upserted {bo}"));
    let mut newest = town.resume(&harbour, Some(&ids[2])).await;
    town.join(&town.cy.clone(), &harbour).await;
    for reader in [&mut old, &mut last, &mut newest] {
        assert_eq!(reader.event().await.unwrap(), format!("upserted {}", town.cy));
    }
}

#[tokio::test]
async fn a_backup_that_is_restored_resets_whoever_has_heard_more() {
    let mut town = Town::new().await;
    let (bo, harbour) = (town.bo.clone(), town.harbour.clone());
    let mut reader = town.follow(&harbour).await;
    let copy = town.site.folder().join("copy.db");
    backup::copy(&town.site.folder().join("roster.db"), &copy).await.unwrap();
    town.rename(&bo, "One").await;
    reader.event().await.unwrap();
    // One that is good may be needed again.
    for changes in [4, 8] {
        let heard = reader.last_id.clone();
        town = town.restart(async |path| _ = std::fs::copy(&copy, path).unwrap()).await;
        // As many again as were lost, and more.
        for number in 0..changes {
            town.rename(&bo, &format!("{number}")).await;
        }
        reader = town.resume(&harbour, Some(&heard)).await;
        assert_eq!(reader.event().await.as_deref(), Some("reset"));
        town.rename(&bo, "Two").await;
        assert_eq!(reader.event().await.unwrap(), format!("upserted {bo}"));
    }
}

/// Many at once are one version. Whoever is cut off in the middle of it gets the rest again.
async fn a_batch_is_whole_or_comes_again(kind: Kind) {
    let site = Small::on(kind, Arc::new(SigningKey::generate("ins_1").unwrap())).await;
    let token = site.token("ada", Some("org_1"), "member");
    let mut reader = Reader::open(site.address(), &token, None).await;
    reader.block().await.unwrap();
    let start: i64 = reader.last_id.parse().unwrap();
    for (batch, count) in [(0, 3), (1, 1), (2, 700)] {
        let names: Vec<_> = (0..count).map(|number| format!("b{batch}n{number:03}")).collect();
        let members: Vec<Change> =
            names.iter().flat_map(|name| [user(name, 1), membership(name, "org_1", "member")]).collect();
        site.apply(members).await;
    }
    let mut all = vec![(start.to_string(), Vec::new())];
    let mut whole = Vec::new();
    for number in 0..704 {
        let event = reader.event().await.unwrap();
        let id = reader.last_id.parse::<i64>().unwrap();
        let version = start + [1, 2, 3][usize::from(number >= 3) + usize::from(number >= 4)];
        let complete = [2, 3, 703].contains(&number);
        assert_eq!(id, if complete { version } else { version - 1 }, "{number}");
        whole.push(event);
        if number % 97 < 5 || number > 700 {
            all.push((reader.last_id.clone(), whole.clone()));
        }
    }
    for (id, heard) in all {
        let mut again = Reader::open(site.address(), &token, Some(&id)).await;
        let all_heard = heard.len() == whole.len();
        let rest = if all_heard { Vec::new() } else { again.until(whole.last().unwrap()).await };
        let mut both = heard.clone();
        both.extend(rest);
        both.push(whole.last().unwrap().clone());
        both.sort();
        both.dedup();
        let mut expected = whole.clone();
        expected.sort();
        assert_eq!(both, expected, "after {id}");
    }
}

#[tokio::test]
async fn a_database_without_changes_can_be_followed() {
    let mut site = crate::support::site::Site::start().await;
    let token = site.token("user_newcomer", "org_new", "member", 5);
    let mut reader = Reader::open(&site.url(), &token, None).await;
    reader.block().await.unwrap();
    assert_eq!(reader.last_id, "0");
    let mut again = Reader::open(&site.url(), &token, Some("0")).await;
    let organization = site.clerk.create_organization("New", None).id().to_owned();
    let user = site.clerk.create_user(roster::sim::NewUser::named("A", "B", "a@example.com")).id().to_owned();
    site.clerk.join(&user, &organization, "org:admin", &object(json!({}))).unwrap();
    site.catch_up().await;
    let token = site.token(&user, &organization, "member", 5);
    let mut from_the_start = Reader::open(&site.url(), &token, Some("0")).await;
    assert_eq!(from_the_start.event().await.unwrap(), format!("upserted {user}"));
    // It was another organization's.
    let token = site.token("user_newcomer", "org_new", "member", 5);
    site.stop().await;
    assert!(reader.rest_of_it().await.is_empty() && again.rest_of_it().await.is_empty(), "{token}");
}
