//! What the feed is for: a client that applies it to its list always ends with the list.

use std::collections::BTreeMap;

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

use super::reader::Reader;
use super::town::Town;
use crate::support::site::USERS;

/// What a client holds: the rows by id.
type Rows = BTreeMap<String, Value>;

async fn rows(town: &Town, path: &str, token: &str) -> Rows {
    let answer = town.site.get(path, token).await;
    assert_eq!(answer.status, 200);
    let rows = answer.json();
    rows.as_array().unwrap().iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone())).collect()
}

/// One client. It follows first and reads the list then.
struct Client {
    reader: Reader,
    token: String,
    rows: Rows,
}

impl Client {
    async fn new(town: &Town, organization: &str) -> Self {
        let token = town.token(&town.ada, organization);
        let mut reader = Reader::open(&town.site.url(), &token, None).await;
        reader.block().await.unwrap();
        let rows = rows(town, USERS, &token).await;
        Self { reader, token, rows }
    }

    /// Takes one event; true when it was of this user.
    async fn step(&mut self, town: &Town, until: &str) -> bool {
        let event = self.reader.event().await.unwrap();
        if event == "reset" {
            self.rows = rows(town, USERS, &self.token).await;
            return false;
        }
        let (change, id) = event.split_once(' ').unwrap();
        self.rows.remove(id);
        if change == "upserted" {
            self.rows.extend(rows(town, &format!("{USERS}?ids={id}"), &self.token).await);
        }
        id == until
    }

    /// Loses its line, and comes back to where it was.
    async fn reconnect(&mut self, town: &Town) {
        let id = self.reader.last_id.clone();
        self.reader = Reader::open(&town.site.url(), &self.token, Some(&id)).await;
    }
}

/// What happens at Clerk: to whom, where, what. And how the clients behave meanwhile.
#[derive(Debug, Clone, Copy)]
enum Step {
    Rename(usize),
    Move(usize, usize),
    Read(usize),
    Reconnect(usize),
    Late,
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        3 => (0_usize..3).prop_map(Step::Rename),
        4 => ((0_usize..3), (0_usize..2)).prop_map(|(who, place)| Step::Move(who, place)),
        3 => (0_usize..2).prop_map(Step::Read),
        2 => (0_usize..2).prop_map(Step::Reconnect),
        1 => Just(Step::Late),
    ];
    proptest::collection::vec(step, 1..30)
}

async fn play(steps: &[Step]) {
    let mut town = Town::new().await;
    let places = [town.harbour.clone(), town.lighthouse.clone()];
    let people = [town.bo.clone(), town.cy.clone(), town.arrive("Dee").await];
    let mut clients = [Client::new(&town, &places[0]).await, Client::new(&town, &places[1]).await];
    // Events that are on their way: they may arrive in any order, and twice.
    let mut late = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Rename(who) => {
                let name = serde_json::json!({ "last_name": number.to_string() });
                let fields = roster::sim::shapes::object(name);
                late.push(town.site.clerk.update_user(&people[who], fields).unwrap());
            }
            Step::Move(who, place) => {
                let (who, place) = (&people[who], &places[place]);
                let event = if let Ok(membership) = town.site.clerk.membership_id(who, place) {
                    town.site.clerk.leave(&membership).unwrap()
                } else {
                    let metadata = roster::sim::shapes::Object::new();
                    town.site.clerk.join(who, place, "org:member", &metadata).unwrap()
                };
                late.push(event);
            }
            Step::Read(client) => {
                // Something comes: Ada herself.
                let name = format!("Ada{number}");
                town.rename(&town.ada.clone(), &name).await;
                let ada = town.ada.clone();
                while !clients[client].step(&town, &ada).await {}
            }
            Step::Reconnect(client) => clients[client].reconnect(&town).await,
            Step::Late => {
                // Together, so that some come into one batch, and the newest first.
                let posts = late.iter().rev().map(|event| town.site.deliver(event));
                futures_util::future::join_all(posts).await;
            }
        }
    }
    let posts = late.iter().map(|event| town.site.deliver(event));
    futures_util::future::join_all(posts).await;
    let last = town.arrive("Zed").await;
    for (client, place) in clients.iter_mut().zip(&places) {
        town.join(&last, place).await;
        while !client.step(&town, &last).await {}
        assert_eq!(client.rows, rows(&town, USERS, &client.token).await);
    }
    town.site.stop().await;
}

#[test]
fn a_client_that_follows_has_the_list() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 24;
    }
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(play(&steps));
        Ok::<(), TestCaseError>(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
