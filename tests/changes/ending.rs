use std::time::{Duration, Instant};

use roster::clock;
use serde_json::json;

use super::reader::Reader;
use super::town::Town;
use crate::support::delivery::now_s;
use crate::support::site::USERS;

/// The end comes at once.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_feed_ends_with_its_token() {
    let mut town = Town::new().await;
    let ends_s = now_s() + 3;
    let claims = json!({
        "v": 2, "sub": town.ada, "sid": "sess_1", "iss": town.site.clerk.issuer(), "iat": now_s() - 60,
        "nbf": now_s() - 60, "exp": ends_s, "o": { "id": town.harbour, "rol": "member" },
    });
    let token = town.site.clerk.key().sign(&town.site.clerk.token_header(), &claims).unwrap();
    let mut reader = Reader::open(&town.site.url(), &token, None).await;
    town.rename(&town.bo.clone(), "One").await;
    assert_eq!(reader.rest_of_it().await, [format!("upserted {}", town.bo)]);
    let late_ms = clock::now_ms() - ends_s * 1000;
    assert!((0..3_000).contains(&late_ms), "{late_ms} ms");
    // The place is good for the next token.
    let mut next = town.resume(&town.harbour, Some(&reader.last_id)).await;
    town.rename(&town.bo.clone(), "Two").await;
    assert_eq!(next.event().await.unwrap(), format!("upserted {}", town.bo));
}

/// Bo follows while Ada, who stays, does so too; what happens to Bo ends Bo's feed and not hers.
async fn what_ends_it(happen: impl AsyncFnOnce(&mut Town, &str)) {
    let mut town = Town::new().await;
    let (bo, harbour) = (town.bo.clone(), town.harbour.clone());
    let url = town.site.url();
    let mut his = Reader::open(&url, &town.token(&bo, &harbour), None).await;
    let mut elsewhere = Reader::open(&url, &town.token(&bo, &town.lighthouse), None).await;
    let mut hers = town.follow(&harbour).await;
    for reader in [&mut his, &mut elsewhere, &mut hers] {
        reader.block().await.unwrap();
    }
    happen(&mut town, &bo).await;
    let began = Instant::now();
    // Nothing is told to somebody who may not hear it any more, and be it of himself.
    assert!(his.rest_of_it().await.is_empty());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(town.site.get(USERS, &town.token(&bo, &harbour)).await.status, 403);
    if town.site.get(USERS, &town.token(&bo, &town.lighthouse)).await.status == 403 {
        assert!(elsewhere.rest_of_it().await.is_empty());
    } else {
        town.rename(&town.cy.clone(), "Still").await;
        assert_eq!(elsewhere.event().await.unwrap(), format!("upserted {}", town.cy));
    }
    town.rename(&town.ada.clone(), "Still").await;
    let last = format!("upserted {}", town.ada);
    assert_eq!(hers.until(&last).await.len(), 1);
}

#[tokio::test]
async fn a_removal_ends_it() {
    what_ends_it(async |town, bo| {
        let harbour = town.harbour.clone();
        town.leave(bo, &harbour).await;
    })
    .await;
}

#[tokio::test]
async fn a_ban_ends_it() {
    what_ends_it(async |town, bo| {
        let event = town.site.clerk.ban(bo).unwrap();
        town.deliver(&event).await;
    })
    .await;
}

#[tokio::test]
async fn a_deletion_ends_it() {
    what_ends_it(async |town, bo| {
        let event = town.site.clerk.delete_user(bo).unwrap();
        town.deliver(&event).await;
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_organization_ends_it() {
    let mut town = Town::new().await;
    let (mut here, mut there) = (town.follow(&town.harbour).await, town.follow(&town.lighthouse).await);
    let event = town.site.clerk.delete_organization(&town.harbour).unwrap();
    town.deliver(&event).await;
    assert!(here.rest_of_it().await.is_empty());
    town.rename(&town.cy.clone(), "Still").await;
    assert_eq!(there.event().await.unwrap(), format!("upserted {}", town.cy));
}

/// A token is enough where nothing is known of a membership, until more is known of its user.
#[tokio::test]
async fn a_ban_ends_it_also_where_no_membership_is_known() {
    let mut town = Town::new().await;
    let (cy, harbour) = (town.cy.clone(), town.harbour.clone());
    let mut reader = Reader::open(&town.site.url(), &town.token(&cy, &harbour), None).await;
    town.rename(&town.bo.clone(), "One").await;
    assert_eq!(reader.event().await.unwrap(), format!("upserted {}", town.bo));
    let event = town.site.clerk.ban(&cy).unwrap();
    town.deliver(&event).await;
    let began = Instant::now();
    assert!(reader.rest_of_it().await.is_empty());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_end_of_the_service_ends_it_at_once() {
    let town = Town::new().await;
    let mut readers = Vec::new();
    for organization in [&town.harbour, &town.lighthouse, &town.harbour] {
        let mut reader = town.follow(organization).await;
        reader.block().await.unwrap();
        readers.push(reader);
    }
    let began = Instant::now();
    let ends = futures_util::future::join_all(readers.iter_mut().map(Reader::rest_of_it));
    let (ends, _) = tokio::join!(ends, town.site.stop());
    assert!(ends.iter().all(Vec::is_empty));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}
