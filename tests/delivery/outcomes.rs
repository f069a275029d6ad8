//! What the sender is told, and when.

use roster::config::Database;
use roster::sim::NewUser;
use roster::sim::shapes::{SECRET_PHONE, object};
use serde_json::json;

use super::payloads;
use crate::support::delivery::Delivery;
use crate::support::site::{ADMIN, Site};

fn ada() -> NewUser {
    NewUser::named("Ada", "Okafor", "ada@example.com")
}

#[tokio::test]
async fn every_outcome_of_a_usable_event() {
    let mut site = Site::start().await;
    let created = site.clerk.create_user(ada());
    let renamed = site.clerk.update_user(created.id(), object(json!({"first_name": "Adaeze"}))).unwrap();
    let married = site.clerk.update_user(created.id(), object(json!({"last_name": "Lund"}))).unwrap();

    assert_eq!(site.deliver(&created).await, "200 applied");
    assert_eq!(site.deliver(&married).await, "200 applied");
    assert_eq!(site.deliver(&renamed).await, "200 stale");
    for known in [&created, &renamed, &married] {
        assert_eq!(site.deliver(known).await, "200 duplicate");
    }
    // The same news in another message: it is the message that was taken, not what it says.
    assert_eq!(site.deliver_as("msg_other", married.envelope.to_string()).await, "200 stale");
    let deleted = site.clerk.delete_user(created.id()).unwrap();
    assert_eq!(site.deliver(&deleted).await, "200 applied");
    assert_eq!(site.deliver(&deleted).await, "200 duplicate");
    assert_eq!(site.deliver_as("msg_late", renamed.envelope.to_string()).await, "200 stale");

    let mut expected: Vec<_> = [
        (&created.message_id, "user.created applied"),
        (&renamed.message_id, "user.updated stale"),
        (&married.message_id, "user.updated applied"),
        (&deleted.message_id, "user.deleted applied"),
        (&"msg_late".to_owned(), "user.updated stale"),
        (&"msg_other".to_owned(), "user.updated stale"),
    ]
    .map(|(id, what)| format!("{id} {what}"))
    .to_vec();
    expected.sort();
    assert_eq!(site.rows.journal().await, expected);
}

#[tokio::test]
async fn what_is_told_of_one_that_has_ended_is_stale() {
    let site = Site::start().await;
    let joined = payloads::membership("orgmem_1", "org_1", "user_1");
    let mut ended = payloads::ended(&joined);
    ended["data"].as_object_mut().unwrap().remove("created_at");
    assert_eq!(site.deliver_as("msg_ended", ended.to_string()).await, "200 applied");
    assert_eq!(site.deliver_as("msg_joined", joined.to_string()).await, "200 stale");
}

/// Clerk's description lets an invitation name its organization in either of two fields.
#[tokio::test]
async fn an_invitation_may_name_its_organization_by_its_public_data() {
    let site = Site::start().await;
    let mut invited = payloads::invitation("orginv_1", "org_1");
    invited["data"]["public_organization_data"] = json!({"id": "org_1", "name": "Harbour"});
    invited["data"].as_object_mut().unwrap().remove("organization_id");
    assert_eq!(site.deliver_as("msg_1", invited.to_string()).await, "200 applied");
    let listed = site.ask(&format!("{ADMIN}?activityStatus=pending"), "org_1").await;
    assert_eq!(listed.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_that_is_taken_is_a_duplicate_whatever_it_says_the_second_time() {
    let mut site = Site::start().await;
    let (ada, bo) = (site.clerk.create_user(ada()), site.clerk.create_user(NewUser::default()));
    assert_eq!(site.deliver(&ada).await, "200 applied");
    let before = site.rows.everything().await;
    assert_eq!(site.deliver_as(&ada.message_id, bo.envelope.to_string()).await, "200 duplicate");
    let unusable = json!({"type": "user.created", "data": {"id": 7}}).to_string();
    assert_eq!(site.deliver_as(&ada.message_id, unusable).await, "200 duplicate");
    assert_eq!(site.rows.everything().await, before);
}

#[tokio::test]
async fn a_type_that_is_not_ours_is_acknowledged_and_leaves_nothing() {
    let site = Site::start().await;
    for event_type in [
        "email.created",
        "sms.created",
        "session.ended",
        "organizationDomain.created",
        "organizationInvitation.expired",
        "user.banned",
        "User.created",
        "user.created ",
        "userXcreated",
        "",
    ] {
        let body =
            json!({"type": event_type, "timestamp": "?", "data": [{"otp_code": "424242"}]}).to_string();
        assert_eq!(site.deliver_as("msg_1", body.clone()).await, "200 ignored", "{event_type}");
        assert_eq!(site.deliver_as("msg_1", body).await, "200 ignored", "{event_type}");
    }
    assert!(site.rows.everything().await.is_empty());
}

#[tokio::test]
async fn with_an_instance_configured_events_of_every_other_one_are_ignored() {
    let mut site = Site::start_with(|config| config.instance_id = Some("ins_test".to_owned())).await;
    let event = site.clerk.create_user(ada());
    for (number, instance) in
        [json!("ins_other"), json!("INS_TEST"), json!(""), json!(null)].iter().enumerate()
    {
        let mut foreign = event.envelope.clone();
        foreign["instance_id"] = instance.clone();
        let verdict = site.deliver_as(&format!("msg_{number}"), foreign.to_string()).await;
        assert_eq!(verdict, "200 ignored", "{instance}");
    }
    let mut example = event.envelope.clone();
    example.as_object_mut().unwrap().remove("instance_id");
    assert_eq!(site.deliver_as("msg_example", example.to_string()).await, "200 ignored");
    // What another instance says need not even make sense to us.
    let odd = json!({"type": "user.created", "instance_id": "ins_other", "data": 5}).to_string();
    assert_eq!(site.deliver_as("msg_odd", odd).await, "200 ignored");
    assert!(site.rows.everything().await.is_empty());
    assert_eq!(site.deliver(&event).await, "200 applied");
}

#[tokio::test]
async fn a_message_that_cannot_be_used_is_tried_again_when_it_comes_again() {
    let mut site = Site::start().await;
    let event = site.clerk.create_user(ada());
    let mut broken = event.envelope.clone();
    broken["data"]["updated_at"] = json!("yesterday");
    let id = &event.message_id;
    for _ in 0..2 {
        let answer = site.post(&Delivery::new(id, broken.to_string())).await;
        assert_eq!(answer.verdict(), "422 UNPROCESSABLE_EVENT");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("`data.updated_at` must be a whole number"), "{detail}");
        assert_eq!(site.rows.journal().await, [format!("{id} user.created dead")]);
        assert!(site.rows.model().await.is_empty());
    }
    let letter = site.rows.everything().await.concat();
    assert!(letter.contains("error=`data.updated_at`"), "{letter}");
    assert!(letter.contains("ada@example.com"), "what we use is kept for a later look: {letter}");
    for never in ["private_metadata", "unsafe_metadata", SECRET_PHONE, "http_request"] {
        assert!(!letter.contains(never), "{never}");
    }

    assert_eq!(site.deliver(&event).await, "200 applied");
    assert_eq!(site.rows.journal().await, [format!("{id} user.created applied")]);
    assert!(!site.rows.everything().await.concat().contains("error=`"));
    assert_eq!(site.deliver(&event).await, "200 duplicate");
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_refused_even_when_it_is_signed() {
    let mut site = Site::start().await;
    let event = site.clerk.create_user(ada());
    let padded = |size: usize| {
        let mut body = event.envelope.to_string();
        body.push_str(&" ".repeat(size - body.len()));
        Delivery::new(&event.message_id, body)
    };
    assert_eq!(site.post(&padded(1024 * 1024 + 1)).await.verdict(), "413 PAYLOAD_TOO_LARGE");
    assert!(site.rows.everything().await.is_empty());
    assert_eq!(site.post(&padded(1024 * 1024)).await.verdict(), "200 applied");
}

#[tokio::test]
async fn without_a_secret_nothing_is_taken_and_the_sender_is_asked_to_come_again() {
    let mut site = Site::start_with(|config| config.webhook_secrets.clear()).await;
    let event = site.clerk.create_user(ada());
    let answer = site.post(&Delivery::of(&event)).await;
    assert_eq!(answer.verdict(), "503 UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    assert!(answer.json()["detail"].as_str().unwrap().contains("CLERK_WEBHOOK_SIGNING_SECRET"));
    assert!(site.rows.everything().await.is_empty());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let mut site = Site::start().await;
    let event = site.clerk.create_user(ada());
    assert_eq!(site.deliver(&event).await, "200 applied");
    let before = site.rows.everything().await;
    let folder = site.stop().await;
    let path = folder.path().join("roster.db");
    let site = Site::start_with(|config| config.database = Database::Sqlite(path)).await;
    assert_eq!(site.rows.everything().await, before);
    assert_eq!(site.deliver(&event).await, "200 duplicate");
}
