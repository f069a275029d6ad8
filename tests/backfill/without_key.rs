//! No `CLERK_SECRET_KEY`: everything but asking Clerk works, and the log says once what is off.

use super::Clerk;
use super::killed::Binary;
use crate::support::binary::Program;
use crate::support::delivery::{Delivery, SECRET};
use crate::support::site::post;

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_alone_keep_the_copy_and_the_log_says_once_what_is_off() {
    let clerk = Clerk::empty().await;
    clerk.organization("Harbour", 3);
    let binary = Binary::of(&clerk);
    let mut environment = binary.environment();
    environment.retain(|(name, _)| *name != "CLERK_SECRET_KEY");
    environment.push(("CLERK_WEBHOOK_SIGNING_SECRET", SECRET.to_owned()));
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut program = Program::start(binary.folder.path(), &["serve"], &environment);
    let service = program.wait_until_it_listens();
    assert_eq!(binary.status(&service, "/readyz").await, 200);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for event in clerk.with_instance(roster::sim::Instance::take_events) {
        let answer = post(&client, &service, &Delivery::of(&event)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    binary.tells_the_truth(&service).await;
    assert_eq!(binary.members(&service, "org_nowhere").await, Vec::<String>::new());

    program.terminate();
    program.wait_for(r#""message":"stopped""#);
    let said: Vec<_> = program.seen().iter().filter(|line| line.contains("CLERK_SECRET_KEY")).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains("reconcile, backfill and read-through are off"), "{}", said[0]);
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(clerk.controls().asked(), 0);
}
