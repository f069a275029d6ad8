use std::time::Duration;

use super::fleet::{Fleet, Story};
use crate::support::cluster::Cluster;

const A_SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_instances_that_are_told_a_third_each_answer_alike_within_a_second() {
    let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap();
    let database = cluster.database().await;
    let fleet = Fleet::start(3, &cluster.url(&database));
    let story = Story::new();
    // They have something to remember that is soon wrong.
    let (first, rest) = story.events.split_at(story.events.len() / 2);
    fleet.deliver(first).await;
    let before = Story { events: first.to_vec(), organizations: story.organizations.clone() };
    fleet.agree(&before, A_SECOND).await;
    fleet.deliver(rest).await;
    fleet.agree(&story, A_SECOND).await;
    fleet.journal_has_all(cluster, &database, &story).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_stood_still_answers_with_what_was_told_meanwhile() {
    let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap();
    let database = cluster.database().await;
    let fleet = Fleet::start(2, &cluster.url(&database));
    let story = Story::new();
    let (last, rest) = story.events.split_last().unwrap();
    fleet.deliver(rest).await;
    let before = Story { events: rest.to_vec(), organizations: story.organizations.clone() };
    fleet.agree(&before, A_SECOND).await;
    fleet.tell_while_one_stands_still(last, &story.organizations).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_connections_an_instance_and_the_database_die() {
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap();
    let database = cluster.database().await;
    let mut fleet = Fleet::start(3, &cluster.url(&database));
    let story = Story::new();
    for (number, part) in story.parts(5).enumerate() {
        // While the deliveries are under way.
        match number {
            1 => {
                let bells =
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
                tokio::join!(fleet.deliver(part), cluster.run("postgres", bells));
            }
            2 => {
                let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'roster'";
                tokio::join!(fleet.deliver(part), cluster.run("postgres", all));
            }
            3 => {
                fleet.kill(2);
                fleet.deliver(part).await;
            }
            4 => {
                let restart = tokio::task::spawn_blocking(move || {
                    cluster.down();
                    cluster.up();
                    cluster
                });
                cluster = tokio::join!(fleet.deliver(part), restart).1.unwrap();
            }
            _ => fleet.deliver(part).await,
        }
    }
    fleet.agree(&story, A_SECOND).await;
    fleet.journal_has_all(&cluster, &database, &story).await;
}
