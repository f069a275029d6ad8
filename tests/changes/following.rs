use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use roster::config::Database;
use roster::sim::shapes::object;
use roster::store::Store;
use serde_json::json;

use super::reader::{CHANGES, request};
use super::town::Town;
use crate::reading::site::{membership, user};
use crate::support::database::{Kind, on_both_databases};

on_both_databases!(members_are_told_as_they_change_and_leave, nobody_hears_of_other_organizations);

async fn members_are_told_as_they_change_and_leave(kind: Kind) {
    let mut town = Town::on(kind).await;
    let (bo, cy, harbour) = (town.bo.clone(), town.cy.clone(), town.harbour.clone());
    let mut reader = town.follow(&harbour).await;
    town.rename(&bo, "One").await;
    assert_eq!(reader.event().await.unwrap(), format!("upserted {bo}"));
    let first: i64 = reader.last_id.parse().unwrap();
    town.join(&cy, &harbour).await;
    assert_eq!(reader.event().await.unwrap(), format!("upserted {cy}"));
    assert!(reader.last_id.parse::<i64>().unwrap() > first);
    town.leave(&cy, &harbour).await;
    assert_eq!(reader.event().await.unwrap(), format!("removed {cy}"));
    // Whoever has left is not spoken of any more.
    town.rename(&cy, "Gone").await;
    let membership = town.site.clerk.membership_id(&bo, &harbour).unwrap();
    let event = town.site.clerk.change_role(&membership, "org:member").unwrap();
    town.deliver(&event).await;
    assert_eq!(reader.event().await.unwrap(), format!("upserted {bo}"));
    let event = town.site.clerk.delete_user(&bo).unwrap();
    town.deliver(&event).await;
    assert_eq!(reader.event().await.unwrap(), format!("removed {bo}"));
}

async fn nobody_hears_of_other_organizations(kind: Kind) {
    let mut town = Town::on(kind).await;
    let (ada, bo, cy) = (town.ada.clone(), town.bo.clone(), town.cy.clone());
    let (harbour, lighthouse) = (town.harbour.clone(), town.lighthouse.clone());
    let (mut here, mut there) = (town.follow(&harbour).await, town.follow(&lighthouse).await);
    assert!(here.block().await.is_some() && there.block().await.is_some());
    let start = here.last_id.clone();
    let dee = town.arrive("Dee").await;
    town.rename(&cy, "One").await;
    town.join(&dee, &lighthouse).await;
    town.leave(&cy, &lighthouse).await;
    town.rename(&bo, "Both").await;
    town.leave(&bo, &lighthouse).await;
    town.rename(&ada, "End").await;
    let end = format!("upserted {ada}");
    assert_eq!(here.until(&end).await, [format!("upserted {bo}")]);
    let said = [
        format!("upserted {cy}"),
        format!("upserted {dee}"),
        format!("removed {cy}"),
        format!("upserted {bo}"),
        format!("removed {bo}"),
    ];
    assert_eq!(there.until(&end).await, said);
    // And not from the log either; there an id of the one is good for the other.
    let mut here = town.resume(&harbour, Some(&start)).await;
    assert_eq!(here.until(&end).await, [format!("upserted {bo}")]);
    let mut there = town.resume(&lighthouse, Some(&start)).await;
    assert_eq!(there.until(&end).await, said);
}

#[tokio::test]
async fn the_answer_is_not_kept_and_not_held_back() {
    let town = Town::new().await;
    let token = town.token(&town.ada, &town.harbour);
    let answer = request(&town.site.url(), &token, None).await;
    let headers = answer.headers().clone();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-accel-buffering"], "no");
    for absent in ["etag", "content-length", "content-encoding"] {
        assert!(!headers.contains_key(absent), "{absent}");
    }
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{CHANGES}", town.site.url());
    let head = client.request(Method::HEAD, &url).bearer_auth(&token).header("x-request-id", "mine");
    let head = head.send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["x-request-id"]), (200, &"mine".parse().unwrap()));
    assert_eq!(head.headers()["content-type"], headers["content-type"]);
    assert!(head.bytes().await.unwrap().is_empty());

    let refused = town.site.get(CHANGES, "no.such.token").await;
    assert_eq!(refused.problem(), "401 UNAUTHORIZED");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    let mut town = town;
    let bo = town.bo.clone();
    let event = town.site.clerk.ban(&bo).unwrap();
    town.deliver(&event).await;
    let banned = town.site.get(CHANGES, &town.token(&bo, &town.harbour)).await;
    assert_eq!(banned.problem(), "403 FORBIDDEN");
}

#[tokio::test]
async fn what_another_process_writes_is_told_within_a_second() {
    let mut town = Town::new().await;
    let (bo, harbour) = (town.bo.clone(), town.harbour.clone());
    let mut reader = town.follow(&harbour).await;
    let other = Store::open(&Database::Sqlite(town.site.folder().join("roster.db"))).await.unwrap();
    for round in 0..3 {
        let name = format!("new{round}");
        let began = Instant::now();
        other.apply(vec![user(&name, 1), membership(&name, &harbour, "member")]).await.unwrap();
        // The service writes too, so that the two are told in the order of their versions.
        town.rename(&bo, &name).await;
        let told = [format!("upserted user_{name}"), format!("upserted {bo}")];
        assert_eq!(reader.event().await.unwrap(), told[0]);
        // Whoever has heard of it finds it in the list.
        assert!(town.site.members(&harbour).await.contains(&format!("user_{name}")));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(reader.event().await.unwrap(), told[1]);
    }
    other.close().await;
}

/// Longer than any other answer may take, so this test does.
#[tokio::test]
async fn a_silent_feed_stays_and_says_so() {
    let mut town = Town::new().await;
    let (bo, cy, harbour) = (town.bo.clone(), town.cy.clone(), town.harbour.clone());
    let mut reader = town.follow(&harbour).await;
    reader.block().await.unwrap();
    let start: i64 = reader.last_id.parse().unwrap();
    let began = Instant::now();
    for _ in 0..4 {
        let event = town.site.clerk.update_user(&cy, object(json!({ "username": null }))).unwrap();
        town.deliver(&event).await;
    }
    for beat in 1..=2 {
        let block = reader.block().await.unwrap();
        assert_eq!((block.comments, &*block.data), (1, ""));
        let after = began.elapsed().as_secs_f64() - f64::from(beat) * 15.0;
        assert!((-0.5..4.0).contains(&after), "{after}");
        // Others were busy: coming back later begins behind that.
        assert!(reader.last_id.parse::<i64>().unwrap() >= start + 4, "{start} {}", reader.last_id);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    town.rename(&bo, "Late").await;
    assert_eq!(reader.event().await.unwrap(), format!("upserted {bo}"));
}
