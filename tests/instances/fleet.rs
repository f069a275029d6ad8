//! Instances of the real program on one database, a Clerk whose events are spread over them, and a service on a
//! file that is told everything in order, so that it is known what to answer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use reqwest::Client;
use roster::sim::shapes::{Object, object};
use roster::sim::{Event, Instance, NewUser};
use serde_json::json;

use crate::support::binary::Program;
use crate::support::cluster::Cluster;
use crate::support::delivery::{Delivery, SECRET, now_s};
use crate::support::site::{ADMIN, Site, USERS, clerk, post, token};

/// Nothing that is waited for takes so long unless it never comes.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many deliveries are under way at a time.
const AT_ONCE: usize = 16;

pub struct Fleet {
    programs: Vec<Option<Program>>,
    urls: Vec<String>,
    client: Client,
    clerk: Instance,
    _folder: tempfile::TempDir,
}

impl Fleet {
    /// So many instances on one database.
    pub fn start(instances: usize, database_url: &str) -> Self {
        let clerk = clerk(1);
        let folder = tempfile::tempdir().unwrap();
        let pem = clerk.key().public_pem().unwrap();
        let environment = [
            ("DATABASE_URL", database_url),
            ("ROSTER_LISTEN", "127.0.0.1:0"),
            ("ROSTER_OPS_LISTEN", "127.0.0.1:0"),
            ("CLERK_JWT_KEY", &pem),
            ("CLERK_ISSUER", clerk.issuer()),
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
            ("ROSTER_LOG", "info"),
            ("ROSTER_LOG_FORMAT", "json"),
        ];
        let mut programs: Vec<_> =
            (0..instances).map(|_| Program::start(folder.path(), &["serve"], &environment)).collect();
        let urls = programs.iter_mut().map(Program::wait_until_it_listens).collect();
        let programs = programs.into_iter().map(Some).collect();
        let client = Client::builder().no_proxy().no_gzip().timeout(PATIENCE).build().unwrap();
        Self { programs, urls, client, clerk, _folder: folder }
    }

    /// `kill -9` for one of them.
    pub fn kill(&mut self, instance: usize) {
        self.programs[instance].take().unwrap().kill();
    }

    fn standing(&self) -> Vec<&str> {
        let urls = self.programs.iter().zip(&self.urls);
        urls.filter(|(program, _)| program.is_some()).map(|(_, url)| &**url).collect()
    }

    /// Delivers, many at a time, each to another instance, again and again until it is acknowledged, as Clerk's
    /// sender does.
    pub async fn deliver(&self, events: &[Event]) {
        let urls = self.standing();
        let deliver = |(at, event): (usize, &Event)| {
            let (client, urls, event) = (&self.client, &urls, event.clone());
            async move {
                let deadline = Instant::now() + PATIENCE;
                for tried in at.. {
                    let url = urls[tried % urls.len()];
                    let answer = post(client, url, &Delivery::of(&event)).send().await;
                    if answer.is_ok_and(|answer| answer.status() == 200) {
                        return;
                    }
                    assert!(Instant::now() < deadline, "{} is never acknowledged", event.event_type);
                    // The sender's pause.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        stream::iter(events.iter().enumerate()).map(deliver).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn ask(&self, url: &str, path: &str, organization: &str) -> Option<String> {
        let token = token(&self.clerk, now_s() - 5, "user_newcomer", organization, "admin");
        let answer = self.client.get(format!("{url}{path}")).bearer_auth(token).send().await.ok()?;
        if answer.status() != 200 {
            return None;
        }
        answer.text().await.ok()
    }

    /// The first instance stands still while another is told of an event. What it was asked meanwhile it answers as the other
    /// does.
    pub async fn tell_while_one_stands_still(&self, event: &Event, organizations: &[String]) {
        let [still, awake] = self.standing()[..] else { panic!("not two instances") };
        let mut before = Vec::new();
        for organization in organizations {
            before.push(self.ask(still, USERS, organization).await.unwrap());
        }
        let tell_and_ask = async {
            let told = post(&self.client, awake, &Delivery::of(event)).send().await.unwrap();
            assert_eq!(told.status(), 200);
            // By now everybody has heard of it, or knows that it has not.
            tokio::time::sleep(Duration::from_millis(900)).await;
            let asked = organizations.iter().map(|organization| {
                let token = token(&self.clerk, now_s() - 5, "user_newcomer", organization, "admin");
                let request = self.client.get(format!("{still}{USERS}")).bearer_auth(token).send();
                tokio::spawn(async { request.await.unwrap().text().await.unwrap() })
            });
            let asked: Vec<_> = asked.collect();
            tokio::time::sleep(Duration::from_millis(100)).await;
            asked
        };
        let runtime = tokio::runtime::Handle::current();
        let program = self.programs[0].as_ref().unwrap();
        let asked = tokio::task::block_in_place(|| program.frozen(|| runtime.block_on(tell_and_ask)));
        let mut after = Vec::new();
        for (answer, organization) in asked.into_iter().zip(organizations) {
            let answer = answer.await.unwrap();
            assert_eq!(Some(&answer), self.ask(awake, USERS, organization).await.as_ref());
            after.push(answer);
        }
        assert_ne!(before, after);
    }

    /// Within so long all instances answer, byte for byte, what a service on a file answers that was told the same
    /// in order.
    pub async fn agree(&self, story: &Story, within: Duration) {
        let told = Site::start().await;
        for event in &story.events {
            assert!(told.deliver(event).await.starts_with("200"));
        }
        let mut expected = Vec::new();
        for organization in &story.organizations {
            for path in [USERS, ADMIN] {
                expected.push((organization, path, told.ask(path, organization).await.text()));
            }
        }
        let all: usize = expected.iter().map(|(.., text)| text.len()).sum();
        assert!(all > 10_000, "the lists say something: {all} bytes");
        let deadline = Instant::now() + within;
        for (organization, path, text) in &expected {
            for url in self.standing() {
                while self.ask(url, path, organization).await.as_ref() != Some(text) {
                    assert!(Instant::now() < deadline, "{path} of {organization} on {url}");
                }
            }
        }
    }

    /// Every acknowledged message stands in the journal of the database.
    pub async fn journal_has_all(&self, cluster: &Cluster, database: &str, story: &Story) {
        let mut connection = cluster.connect(database).await;
        let ids: Vec<(String,)> =
            sqlx::query_as("SELECT message_id FROM events").fetch_all(&mut connection).await.unwrap();
        let ids: BTreeSet<_> = ids.into_iter().map(|(id,)| id).collect();
        let lost: Vec<_> = story.events.iter().filter(|event| !ids.contains(&event.message_id)).collect();
        assert!(lost.is_empty(), "{} acknowledged events are lost", lost.len());
    }
}

/// What happens at Clerk.
pub struct Story {
    pub events: Vec<Event>,
    pub organizations: Vec<String>,
}

impl Story {
    /// Three organizations of some forty people, who are renamed, promoted, banned, deleted, and leave.
    pub fn new() -> Self {
        let mut clerk = clerk(1);
        let people: Vec<_> = (0..60)
            .map(|number| {
                let email = format!("person{number}@example.com");
                clerk.create_user(NewUser::named("Ada", &format!("Number {number}"), &email)).id().to_owned()
            })
            .collect();
        let organizations: Vec<_> = ["Harbour", "Mill", "Quarry"]
            .map(|name| clerk.create_organization(name, None).id().to_owned())
            .to_vec();
        let mut memberships = Vec::new();
        for (number, person) in people.iter().enumerate() {
            for organization in organizations.iter().skip(number % 2) {
                clerk.join(person, organization, "org:member", &Object::new()).unwrap();
                memberships.push(clerk.membership_id(person, organization).unwrap());
            }
        }
        for round in 0..4 {
            for person in &people {
                clerk.advance(1_000);
                let name = object(json!({ "last_name": format!("Round {round}") }));
                clerk.update_user(person, name).unwrap();
            }
        }
        for (number, membership) in memberships.iter().enumerate() {
            clerk.advance(1_000);
            match number % 7 {
                0 => drop(clerk.leave(membership).unwrap()),
                1 | 2 => drop(clerk.change_role(membership, "org:admin").unwrap()),
                _ => {}
            }
        }
        for person in people.iter().step_by(9) {
            clerk.delete_user(person).unwrap();
        }
        Self { events: clerk.take_events(), organizations }
    }

    /// The events in so many parts.
    pub fn parts(&self, parts: usize) -> impl Iterator<Item = &[Event]> {
        self.events.chunks(self.events.len().div_ceil(parts))
    }
}
