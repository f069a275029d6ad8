//! Every fault: tried again, or told.

use std::time::{Duration, Instant};

use roster::clerk::backend_api::{ApiError, Order, Patience};
use roster::domain::{OrganizationId, UserId};
use roster::sim::backend_api::Fault;

use super::*;

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let site = Site::with_users(3).await;
    for fault in [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Bare(502),
        Fault::TooMany(Some("0")),
        Fault::TooMany(Some("soon")),
        Fault::TooMany(None),
        Fault::NoAnswer,
        Fault::Hangup,
        Fault::Garbage,
        Fault::Torn,
        Fault::CutShort,
    ] {
        site.controls().fail_next(2, &fault);
        let page = site.api.users_page(500, None).await;
        assert_eq!(page.unwrap().value.received, 3, "{fault:?}");
        assert_eq!(site.controls().take_log().len(), 3, "{fault:?}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_told_by_what_can_be_done() {
    let site = Site::with_users(1).await;
    let outcome = |error: ApiError| match error {
        ApiError::WrongKey => "wrong key",
        ApiError::FeatureOff { .. } => "feature off",
        ApiError::RateLimited { .. } => "rate limited",
        ApiError::Down { .. } => "down",
        ApiError::Garbage { .. } => "garbage",
        ApiError::Refused { .. } => "refused",
    };
    let (often, once) = (3, 1);
    for (fault, of_users, of_organizations, tries) in [
        (Fault::Status(500), "down", "down", often),
        (Fault::Bare(599), "down", "down", often),
        (Fault::NoAnswer, "down", "down", often),
        (Fault::Hangup, "down", "down", often),
        (Fault::Torn, "down", "down", often),
        (Fault::Garbage, "garbage", "garbage", often),
        (Fault::CutShort, "garbage", "garbage", often),
        (Fault::TooMany(None), "rate limited", "rate limited", often),
        (Fault::WrongKey, "wrong key", "wrong key", once),
        (Fault::Bare(401), "wrong key", "wrong key", once),
        (Fault::Status(402), "refused", "feature off", once),
        (Fault::Status(403), "refused", "feature off", once),
        (Fault::Status(404), "refused", "feature off", once),
        (Fault::Bare(404), "refused", "feature off", once),
        (Fault::Status(422), "refused", "refused", once),
        (Fault::Bare(400), "refused", "refused", once),
        (Fault::Redirect, "garbage", "garbage", once),
    ] {
        site.controls().fail_when({
            let fault = fault.clone();
            move |_| Some(fault.clone())
        });
        let users = site.api.users_page(500, None).await.map(|_| ()).map_err(outcome);
        assert_eq!(users, Err(of_users), "{fault:?}");
        assert_eq!(site.controls().take_log().len(), tries, "{fault:?}");
        let organizations = site.api.organizations_page(500, 0, Order::OldestFirst).await;
        assert_eq!(organizations.map(|_| ()).map_err(outcome), Err(of_organizations), "{fault:?}");
        assert_eq!(site.controls().take_log().len(), tries, "{fault:?}");
    }
    drop(site.server);
    assert_eq!(site.api.users_count().await.map(|_| ()).map_err(outcome), Err("down"));
}

#[tokio::test]
async fn no_fault_makes_an_object_look_gone() {
    let site = Site::with_users(1).await;
    let user = UserId::parse(site.clerk.lock().users().next().unwrap()["id"].as_str().unwrap()).unwrap();
    let organization = OrganizationId::parse(site.clerk.lock().organization_ids().next().unwrap()).unwrap();
    for fault in [
        Fault::Bare(404),
        Fault::Garbage,
        Fault::CutShort,
        Fault::Torn,
        Fault::EmptyPage,
        Fault::Unusable(0),
        Fault::Status(403),
        Fault::Status(410),
    ] {
        site.controls().fail_when({
            let fault = fault.clone();
            move |_| Some(fault.clone())
        });
        let user = site.api.user(&user).await;
        assert!(user.is_err(), "{fault:?}: {user:?}");
        let organization = site.api.organization(&organization).await;
        assert!(organization.is_err(), "{fault:?}: {organization:?}");
    }
}

#[tokio::test]
async fn one_bad_object_does_not_fail_its_page() {
    let site = Site::with_users(3).await;
    let users: Vec<_> = site.api.users_page(3, None).await.unwrap().value.changes;
    site.controls().fail_next(1, &Fault::Unusable(2));
    let page = site.api.users_page(3, None).await.unwrap().value;
    assert_eq!((page.received, page.unusable), (3, 1));
    assert_eq!(ids(&page.changes), ids(&users[..2]));
    assert_eq!(page.unusable_ids, [id(&users[2])]);
    assert_eq!(page.last_id.as_deref(), Some(id(&users[2])));
}

#[tokio::test]
async fn odd_pages_say_what_was_received() {
    let site = Site::with_users(5).await;
    for (fault, received) in [(Fault::EmptyPage, 0), (Fault::ShortPage(2), 2), (Fault::Repeated(0), 6)] {
        site.controls().fail_next(1, &fault);
        let page = site.api.memberships_page(500, 0, Order::OldestFirst).await.unwrap().value;
        assert_eq!((page.received, page.changes.len(), page.total_count), (received, received, Some(5)));
    }
}

#[tokio::test]
async fn retry_after_is_waited_for_by_every_call() {
    let site = Site::with_users(1).await;
    site.controls().fail_next(1, &Fault::TooMany(Some("1")));
    let began = Instant::now();
    let first = site.api.users_count();
    let second = async {
        // After the first one was told to wait.
        while site.controls().asked() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        site.api.urgent().users_count().await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.unwrap().value, second.unwrap().value), (1, 1));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(site.controls().asked(), 3);
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_an_answer_and_is_kept_to() {
    let site = Site::with_users(1).await;
    site.controls().fail_next(1, &Fault::TooMany(Some("900")));
    for _ in 0..3 {
        let refused = site.api.users_count().await;
        let Err(ApiError::RateLimited { retry_after: Some(wait) }) = refused else { panic!("{refused:?}") };
        assert!(wait > Duration::from_secs(890) && wait <= Duration::from_mins(15), "{wait:?}");
    }
    assert_eq!(site.controls().asked(), 1);
}

#[tokio::test]
async fn under_a_limit_the_client_keeps_to_its_rate() {
    let site = Site::with_users(1).await;
    site.controls().set_limit(Some(20));
    let api = BackendApi::new(&site.server.url(), SECRET_KEY.into(), 20).unwrap();
    let asked = async {
        loop {
            assert_eq!(api.users_count().await.unwrap().value, 1);
        }
    };
    // More than half of them come at once; the rest keep apart.
    let _: Result<(), _> = tokio::time::timeout(Duration::from_millis(1_500), asked).await;
    let asked = site.controls().asked();
    assert!((10..20).contains(&asked), "{asked}");
    // One who does not keep to it is told.
    for _ in asked..20 {
        assert_eq!(site.ask("/users/count").await.0, 200);
    }
    let (status, body) = site.ask("/users/count").await;
    assert_eq!((status.as_u16(), body["errors"][0]["code"].as_str()), (429, Some("too_many_requests")));
}

#[tokio::test]
async fn what_is_shown_of_a_refusal_mends_it_and_keeps_the_key() {
    let site = Site::with_users(1).await;
    site.controls().fail_next(1, &Fault::Status(418));
    let refused = site.api.users_count().await.unwrap_err().to_string();
    assert_eq!(refused, "Clerk refuses the request with status 418 (simulated): this is a simulated fault");
    site.controls().fail_next(1, &Fault::Bare(400));
    let refused = site.api.users_count().await.unwrap_err().to_string();
    assert_eq!(refused, "Clerk refuses the request with status 400 (unknown): it does not say why");
    let wrong = client(&site.server, "sk_test_wrong").users_count().await.unwrap_err();
    assert!(
        wrong.to_string().contains("CLERK_SECRET_KEY") && !format!("{wrong:?} {wrong}").contains("sk_test")
    );
    assert!(Patience::default().timeout >= Duration::from_secs(30));
}
