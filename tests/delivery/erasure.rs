//! A deleted user is forgotten, whatever else comes and whenever it comes.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use roster::config::Database;
use roster::sim::random::Random;
use serde_json::{Value, json};

use super::payloads::{self, at};
use crate::support::delivery::Delivery;
use crate::support::site::Site;

const ROUNDS: u64 = 60;

/// Stands in everything personal.
const MARK: &str = "mark";

/// Everything that Clerk may ever tell of one user, the end of it last. Some of it cannot be used, and is a
/// dead letter.
fn story(round: u64) -> Vec<Value> {
    let (user_id, organization_id) = (format!("user_{round}"), format!("org_{round}"));
    let (membership_id, invitation_id) = (format!("orgmem_{round}"), format!("orginv_{round}"));
    let metadata = json!({"about": MARK, MARK: [{"deep": MARK}]});

    let mut created = payloads::user(&user_id);
    for (field, value) in [
        ("first_name", json!(format!("{MARK}-first"))),
        ("last_name", json!(format!("{MARK}-last"))),
        ("username", json!(format!("{MARK}-username"))),
        ("image_url", json!(format!("https://img.example/{MARK}"))),
        ("has_image", json!(true)),
        ("last_sign_in_at", json!(1)),
        ("public_metadata", metadata.clone()),
    ] {
        created["data"][field] = value;
    }
    let address = "/data/email_addresses/0/email_address";
    let created = at(&created, address, json!(format!("{MARK}-old@example.com")));
    let mut updated = at(&created, address, json!(format!("{MARK}-new@example.com")));
    updated["type"] = json!("user.updated");
    updated["data"]["updated_at"] = json!(created["data"]["updated_at"].as_i64().unwrap() + 5);

    let joined = at(
        &payloads::membership(&membership_id, &organization_id, &user_id),
        "/data/public_metadata",
        metadata.clone(),
    );
    let mut promoted = at(&joined, "/type", json!("organizationMembership.updated"));
    promoted["data"]["updated_at"] = json!(joined["data"]["updated_at"].as_i64().unwrap() + 5);

    let mut invited = payloads::invitation(&invitation_id, &organization_id);
    invited["data"]["email_address"] = json!(format!("{MARK}-invited@example.com"));
    invited["data"]["public_metadata"] = metadata;
    let mut accepted = at(&invited, "/type", json!("organizationInvitation.accepted"));
    accepted["data"]["user_id"] = json!(user_id);
    accepted["data"]["updated_at"] = json!(invited["data"]["updated_at"].as_i64().unwrap() + 5);

    vec![
        payloads::organization(&organization_id),
        payloads::session(&format!("sess_{round}"), &user_id),
        at(&created, "/data/banned", json!("no")),
        at(&joined, "/data/created_at", json!("long ago")),
        at(&joined, "/data/public_user_data", json!(null)),
        at(&invited, "/data/status", json!("maybe")),
        at(&accepted, "/data/role", json!(5)),
        payloads::ended(&joined),
        created,
        updated,
        joined,
        promoted,
        invited,
        accepted,
        payloads::deleted("user", &user_id),
    ]
}

#[tokio::test]
async fn nothing_personal_of_a_deleted_user_is_left_in_any_order() {
    let site = Site::start().await;
    let mut random = Random::new(7);
    for round in 0..ROUNDS {
        let mut story: Vec<_> = story(round).into_iter().enumerate().collect();
        // In some rounds the membership falls with the user, and nothing says that it has ended.
        story.retain(|(_, event)| round % 3 != 0 || event["type"] != "organizationMembership.deleted");
        // The first two rounds are as they should be, and the wrong way round.
        match round {
            0 => {}
            1 => story.reverse(),
            _ => story.sort_by_cached_key(|_| random.number()),
        }
        let deliveries: Vec<_> = story
            .iter()
            .map(|(number, event)| Delivery::new(&format!("msg_{round}_{number}"), event.to_string()))
            .collect();
        if round % 2 == 0 {
            for delivery in &deliveries {
                assert!([200, 422].contains(&site.post(delivery).await.status.as_u16()));
            }
        } else {
            // All at once, so that several of them share a transaction.
            for answer in join_all(deliveries.iter().map(|delivery| site.post(delivery))).await {
                assert!([200, 422].contains(&answer.status.as_u16()));
            }
        }
        let left = remains(&site).await;
        assert!(left.is_empty(), "round {round}, {:#?}: {left:#?}", types(&story));
    }

    // And all of it once more, as a sender does that was told to.
    for (number, event) in story(0).iter().enumerate() {
        site.deliver_as(&format!("msg_late_{number}"), event.to_string()).await;
    }
    assert_eq!(remains(&site).await, Vec::<String>::new());

    let rows = site.rows.everything().await;
    assert!(rows.iter().any(|row| row.starts_with("users: id=user_0 ") && row.contains(" deleted_at_ms=1")));
    assert!(
        rows.iter()
            .any(|row| row.starts_with("invitations: id=orginv_0 ") && row.contains(" user_id=user_0 "))
    );
    assert_eq!(rows.iter().filter(|row| row.starts_with("members: ")).count(), 0);
    // A digest of what a row said could confirm a guess of it.
    let fallen = rows.iter().filter(|row| row.starts_with("memberships: ") && row.contains(" fallen=1"));
    let digests =
        fallen.filter_map(|row| row.split(" content_digest=").nth(1)?.split(' ').next()?.parse().ok());
    let digests: Vec<i64> = digests.collect();
    // Of the first one all has been told by now.
    assert_eq!(digests.len(), usize::try_from(ROUNDS / 3 - 1).unwrap());
    assert!(digests.iter().all(|digest| digest.trailing_zeros() >= 32), "{digests:?}");
}

fn types(story: &[(usize, Value)]) -> Vec<String> {
    story.iter().map(|(number, event)| format!("{number} {}", event["type"])).collect()
}

/// The rows that hold something personal.
async fn remains(site: &Site) -> Vec<String> {
    site.rows.everything().await.into_iter().filter(|row| row.contains(MARK)).collect()
}

/// Only the event of an acceptance says whose it was, and Clerk's lists of invitations never do.
#[tokio::test]
async fn an_accepted_invitation_of_nobody_known_keeps_nothing_personal() {
    let site = Site::start().await;
    let mut invited = payloads::invitation("orginv_1", "org_1");
    invited["data"]["email_address"] = json!(format!("{MARK}@example.com"));
    invited["data"]["public_metadata"] = json!({ "about": MARK });
    let mut accepted = at(&invited, "/type", json!("organizationInvitation.accepted"));
    accepted["data"]["updated_at"] = json!(invited["data"]["updated_at"].as_i64().unwrap() + 5);
    site.deliver_as("msg_1", invited.to_string()).await;
    // In the copy and in the journal.
    assert_eq!(remains(&site).await.len(), 2);
    site.deliver_as("msg_2", accepted.to_string()).await;
    assert_eq!(remains(&site).await, [""; 0]);
    // What comes late says no more.
    site.deliver_as("msg_3", invited.to_string()).await;
    assert_eq!(remains(&site).await, [""; 0]);
}

#[tokio::test]
async fn what_is_erased_is_not_in_the_file_either() {
    let mut site = Site::start().await;
    for round in 0..10 {
        for (number, event) in story(round).iter().enumerate() {
            site.deliver_as(&format!("msg_{round}_{number}"), event.to_string()).await;
        }
    }
    let stays = site.clerk.create_user(roster::sim::NewUser::named("Stays", "Here", "stays@example.com"));
    site.deliver(&stays).await;
    let folder = site.stop().await;
    let file = std::fs::read(folder.path().join("roster.db")).unwrap();
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains("stays@example.com"));
    assert_eq!(text.matches(MARK).count(), 0);
}

#[tokio::test]
async fn what_is_erased_leaves_the_log_of_a_running_service_too() {
    let site = Site::start().await;
    for (number, event) in story(0).iter().enumerate() {
        site.deliver_as(&format!("msg_{number}"), event.to_string()).await;
    }
    until_no_mark_is_left(site.folder()).await;
    site.stop().await;
}

fn marks(folder: &Path) -> usize {
    let files =
        ["roster.db", "roster.db-wal"].map(|file| std::fs::read(folder.join(file)).unwrap_or_default());
    files.iter().map(|bytes| String::from_utf8_lossy(bytes).matches(MARK).count()).sum()
}

async fn until_no_mark_is_left(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while marks(folder) > 0 {
        assert!(Instant::now() < deadline, "{} marks are left", marks(folder));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Killed right after the deletion, before the log was cut.
#[tokio::test]
async fn what_is_erased_leaves_the_log_of_a_killed_service_when_it_is_started_again() {
    let site = Site::start().await;
    for (number, event) in story(0).iter().enumerate() {
        site.deliver_as(&format!("msg_{number}"), event.to_string()).await;
    }
    let killed = tempfile::tempdir().unwrap();
    for file in ["roster.db", "roster.db-wal"] {
        std::fs::copy(site.folder().join(file), killed.path().join(file)).unwrap();
    }
    site.stop().await;
    assert!(marks(killed.path()) > 0, "the log was cut already");
    let path = killed.path().join("roster.db");
    let again = Site::start_with(|config| config.database = Database::Sqlite(path)).await;
    until_no_mark_is_left(killed.path()).await;
    again.stop().await;
}
