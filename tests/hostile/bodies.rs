//! The body of a webhook. Its signature is right: it is the parser that is tried.

use proptest::prelude::*;
use roster::clerk::event::{Decoded, decode};

use super::{damage, run_async, runner};
use crate::support::delivery::Delivery;
use crate::support::site::Site;

const NOW_MS: i64 = 1_795_000_000_000;

/// What the journal keeps says the same as what came in, so a dead letter can be tried again, and a copy of the
/// journal is one of the events.
#[test]
fn what_is_kept_of_a_damaged_event_says_the_same() {
    let decoded = runner(1_000, "tests/hostile/found/events.txt").run(&damage::event(), |body| {
        let Ok(Decoded::Event(event)) = decode(&body, NOW_MS, None) else { return Ok(()) };
        let kept = event.subject.payload.unwrap();
        let Ok(Decoded::Event(again)) = decode(kept.as_bytes(), NOW_MS, None) else {
            return Err(TestCaseError::fail(format!("what was kept cannot be used: {kept}")));
        };
        prop_assert_eq!(format!("{:?}", event.change), format!("{:?}", again.change));
        Ok(())
    });
    if let Err(error) = decoded {
        panic!("{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_body_is_used_or_refused() {
    let site = Site::start().await;
    let bodies = (damage::event(), any::<u64>());
    run_async(runner(150, "tests/hostile/found/bodies.txt"), &bodies, async |(body, number)| {
        let answer = site.post(&Delivery::new(&format!("msg_{number}"), body)).await;
        let status = answer.status.as_u16();
        prop_assert!([200, 422].contains(&status), "{}", answer.text());
        Ok(())
    });
    // What was taken can be shown, whatever it was.
    for organization in organizations(&site).await {
        for path in
            ["/api/v1/entities/users", "/api/admin/getUsersInOrg?activityStatus=all&include=membership"]
        {
            assert!([200, 403].contains(&site.ask(path, &organization).await.status.as_u16()), "{path}");
        }
    }
}

async fn organizations(site: &Site) -> Vec<String> {
    let rows = site.rows.rows("SELECT DISTINCT organization_id FROM memberships", "organization_id=").await;
    assert!(!rows.is_empty());
    rows
}
