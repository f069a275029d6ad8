use std::collections::BTreeMap;

use roster::clock;
use roster::domain::Change;
use serde_json::json;

use super::reader::Reader;
use crate::reading::site::{Site, membership, user};

/// How many members change while the reader looks away.
const MEMBERS: usize = 5_000;
const ROUNDS: usize = 10;

fn members(round: usize, organization: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    for number in 0..MEMBERS {
        // Long, so that what is to be told is far more than what a socket holds.
        let name = format!("{organization}_{number:04}_{}", "x".repeat(180));
        let Change::User { mut user, last_sign_in_at_ms } = user(&name, 1) else { unreachable!() };
        user.version.updated_at_ms += i64::try_from(round).unwrap();
        user.content.last_name = Some(round.to_string());
        changes.push(Change::User { user, last_sign_in_at_ms });
        if round == 0 {
            changes.push(membership(&name, organization, "member"));
        }
    }
    changes
}

/// A reader that does not read is held up by its own socket, and by nothing here. Then it gets all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_looked_away_gets_everything() {
    let site = Site::start().await;
    let now_s = clock::now_ms() / 1000;
    let token = site.sign(&json!({
        "v": 2, "sub": "user_ada", "sid": "sess_1", "iss": "https://clerk.example.com", "iat": now_s - 10,
        "nbf": now_s - 10, "exp": now_s + 3_600, "o": { "id": "org_1", "rol": "member" },
    }));
    let mut slow = Reader::open(site.address(), &token, None).await;
    let mut quick = Reader::open(site.address(), &token, None).await;
    let every = async |reader: &mut Reader| {
        let mut told = BTreeMap::<String, usize>::new();
        for event in reader.events(MEMBERS * ROUNDS).await {
            *told.entry(event).or_default() += 1;
        }
        told
    };
    let write = async {
        for round in 0..ROUNDS {
            site.apply(members(round, "org_1")).await;
            site.apply(vec![
                user(&format!("elsewhere{round}"), 1),
                membership("elsewhere", "org_2", "member"),
            ])
            .await;
        }
    };
    let (seen, ()) = tokio::join!(every(&mut quick), write);
    let late = every(&mut slow).await;
    assert_eq!(seen, late);
    assert_eq!(late.len(), MEMBERS);
    assert!(late.iter().all(|(event, times)| event.starts_with("upserted user_org_1_") && *times == ROUNDS));
    assert_eq!(slow.last_id, quick.last_id);
}
