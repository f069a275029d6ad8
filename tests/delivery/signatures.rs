//! What counts as a good signature. What does not is in `hostile`.

use roster::sim::{Event, NewUser};

use crate::support::delivery::{Delivery, SECRET, now_s};
use crate::support::site::Site;

const NEW_SECRET: &str = "whsec_bmV3IHNlY3JldCBmb3IgdGhlIHJvdGF0aW9uIQ==";
const FOREIGN_SECRET: &str = "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCwgbm90IG91cnM=";

async fn site() -> (Site, Event) {
    let mut site = Site::start().await;
    let event = site.clerk.create_user(NewUser::default());
    (site, event)
}

fn signed(secret: &str, event: &Event, at_s: i64) -> Delivery {
    Delivery::signed(secret, &event.message_id, at_s, event.envelope.to_string())
}

/// Takes a delivery of one and the same message: the first time it is applied, later a duplicate.
async fn takes(site: &Site, delivery: &Delivery) -> bool {
    let verdict = site.post(delivery).await.verdict();
    assert!(["200 applied", "200 duplicate", "401 UNAUTHORIZED"].contains(&verdict.as_str()), "{verdict}");
    verdict.starts_with("200")
}

#[tokio::test]
async fn both_names_of_the_headers_are_understood_and_svix_wins() {
    let (site, event) = site().await;
    let good = Delivery::of(&event);
    assert!(takes(&site, &good).await);
    assert!(takes(&site, &good.clone().unbranded()).await);
    let mut both = good.clone();
    both.headers.extend(signed(FOREIGN_SECRET, &event, now_s()).unbranded().headers);
    assert!(takes(&site, &both).await);
    let mut other_way = signed(FOREIGN_SECRET, &event, now_s());
    other_way.headers.extend(good.clone().unbranded().headers);
    assert!(!takes(&site, &other_way).await);
}

#[tokio::test]
async fn every_configured_secret_is_good() {
    let secrets = vec![NEW_SECRET.into(), SECRET.into()];
    let mut site = Site::start_with(|config| config.webhook_secrets = secrets).await;
    let event = site.clerk.create_user(NewUser::default());
    assert_eq!(site.post(&signed(NEW_SECRET, &event, now_s())).await.verdict(), "200 applied");
    assert_eq!(site.post(&signed(SECRET, &event, now_s())).await.verdict(), "200 duplicate");
    assert!(!takes(&site, &signed(FOREIGN_SECRET, &event, now_s())).await);
    let unreadable = Delivery::signed(SECRET, "msg_2", now_s(), b"\xff".to_vec());
    assert_eq!(site.post(&unreadable).await.verdict(), "422 UNPROCESSABLE_EVENT");
}

#[tokio::test]
async fn a_signature_is_good_for_five_minutes_either_way() {
    let (site, event) = site().await;
    // A slow machine makes signatures older, so two edges keep some seconds away.
    for (offset, good) in [(-295, true), (299, true), (0, true), (-302, false), (305, false)] {
        assert_eq!(takes(&site, &signed(SECRET, &event, now_s() + offset)).await, good, "{offset}");
    }
}

#[tokio::test]
async fn any_good_signature_of_a_list_is_enough() {
    let (site, event) = site().await;
    let good = Delivery::of(&event);
    let right = good.header("svix-signature");
    let wrong = signed(FOREIGN_SECRET, &event, now_s()).header("svix-signature");
    let bare = good.bare_signature();
    for (list, is_good) in [
        (format!("{wrong} {right}"), true),
        (format!("{right} {wrong}"), true),
        (format!("v1a,{bare} v2,{bare} {right}"), true),
        (format!("v1a,AAAA {wrong}  nonsense v1, {right} v0"), true),
        (format!("v1a,{bare} v2,{bare}"), false),
        (format!("{wrong} {wrong}"), false),
    ] {
        let delivery = good.clone().with("svix-signature", list.clone());
        assert_eq!(takes(&site, &delivery).await, is_good, "{list}");
    }
}

#[tokio::test]
async fn the_media_type_and_everything_else_around_the_body_does_not_matter() {
    let (site, event) = site().await;
    for media_type in
        ["application/json", "text/plain; charset=latin1", "multipart/form-data", "nonsense", ""]
    {
        let delivery = Delivery::of(&event).with("content-type", media_type);
        assert!(takes(&site, &delivery).await, "{media_type}");
    }
    let odd = Delivery::of(&event).with("authorization", "Bearer x").with("cookie", "__session=x");
    assert!(takes(&site, &odd.with("accept", "text/html").with("user-agent", b"\xff".to_vec())).await);
}

#[tokio::test]
async fn the_raw_bytes_are_what_is_signed() {
    let (site, event) = site().await;
    // White space, an escaped letter, keys in another order than ours: all of it is signed as it is.
    let pretty = format!("\r\n{:#}\n", event.envelope).replace("\"user\"", "\"\\u0075ser\"");
    assert!(takes(&site, &Delivery::new("msg_raw", pretty)).await);
}
