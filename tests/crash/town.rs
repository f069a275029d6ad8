//! A simulated Clerk where much happens, the program that is told of it, and what it must then answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use roster::clock;
use roster::domain::time::iso8601;
use roster::replay::post::Answer;
use roster::sim::instance::user_of;
use roster::sim::keys::SigningKey;
use roster::sim::random::Random;
use roster::sim::sender::Delivered;
use roster::sim::shapes::{Object, identifier, object, text};
use roster::sim::tokens::TokenOptions;
use roster::sim::{Event, Instance, NewUser, Plan, Sender};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::runtime::Runtime;

use crate::support::binary::Program;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HOUR_MS: i64 = 3_600_000;

/// Who is where, and a folder with the database of the program that is told.
pub struct Town {
    pub runtime: Runtime,
    pub random: Random,
    clerk: Instance,
    /// The admin of every organization. Nothing happens to her.
    ada: String,
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Town {
    /// Three organizations, each with Ada.
    pub fn new(seed: u64) -> Self {
        let key = SigningKey::generate("ins_town").unwrap();
        let pem = key.public_pem().unwrap();
        // What happens here has happened when a token is issued.
        let mut clerk = Instance::new(key, seed, clock::now_ms() - HOUR_MS);
        let ada = clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com")).id().to_owned();
        for name in ["Harbour", "Mill", "Quarry"] {
            let organization = clerk.create_organization(name, Some(&ada));
            clerk.join(&ada, organization.id(), "org:admin", &Object::new()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let environment = vec![
            ("DATABASE_URL", format!("sqlite://{}", folder.path().join("roster.db").display())),
            ("ROSTER_LISTEN", "127.0.0.1:0".to_owned()),
            ("ROSTER_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLERK_JWT_KEY", pem),
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET.to_owned()),
            // The place of a kill is counted in lines about deliveries.
            ("ROSTER_LOG", "info".to_owned()),
            ("ROSTER_LOG_FORMAT", "json".to_owned()),
        ];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let random = Random::new(seed);
        Self { runtime: runtime.unwrap(), random, clerk, ada, folder, environment }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn database(&self) -> PathBuf {
        self.folder().join("roster.db")
    }

    /// `roster serve` on the database.
    pub fn serve(&self) -> Program {
        let environment: Vec<_> = self.environment.iter().map(|(name, value)| (*name, &**value)).collect();
        Program::start(self.folder(), &["serve"], &environment)
    }

    /// Lets `count` things happen, and returns the events of all that happened since this was last asked.
    pub fn live(&mut self, count: usize) -> Vec<Event> {
        for _ in 0..count {
            self.happen();
        }
        self.clerk.take_events()
    }

    fn happen(&mut self) {
        let number = self.random.number();
        let people: Vec<_> = self.clerk.users().map(|user| text(user, "id").to_owned()).collect();
        let somebody = people[self.random.below(people.len())].clone();
        let organizations: Vec<_> = self.clerk.organization_ids().map(str::to_owned).collect();
        let somewhere = &organizations[self.random.below(organizations.len())];
        let membership = self.clerk.membership_id(&somebody, somewhere);
        let what = self.random.below(10);
        if what < 4 || somebody == self.ada {
            let mut new =
                NewUser::named("New", &format!("Person {number}"), &format!("p{number}@example.com"));
            new.public_metadata = object(json!({ "number": number }));
            let user = self.clerk.create_user(new);
            self.clerk.join(user.id(), somewhere, "org:member", &Object::new()).unwrap();
            return;
        }
        match (what, membership) {
            (4, _) => drop(self.clerk.change_email(&somebody, &format!("e{number}@example.com")).unwrap()),
            (5, _) => drop(self.clerk.sign_in(&somebody, None).unwrap()),
            (6, _) => drop(self.clerk.delete_user(&somebody).unwrap()),
            (7, Ok(membership)) => drop(self.clerk.leave(&membership).unwrap()),
            (_, Ok(membership)) => drop(self.clerk.change_role(&membership, "org:editor").unwrap()),
            // Often somebody who has left before.
            (_, Err(_)) => drop(self.clerk.join(&somebody, somewhere, "member", &Object::new()).unwrap()),
        }
    }

    /// Begins to send events over several connections: twice now and then, a little out of order, each tried
    /// once.
    pub fn send(&mut self, to: &str, events: Vec<Event>) -> tokio::task::JoinHandle<Vec<Delivered>> {
        let plan = Plan {
            seed: self.random.number(),
            retries: Vec::new(),
            duplicate: 0.2,
            disorder: 8,
            concurrency: 6,
            ..Plan::default()
        };
        let sender = Sender::new(to, SECRET, plan).unwrap();
        self.runtime.spawn(async move { sender.send(&events).await.unwrap() })
    }

    /// The ids of the users who must be listed after these messages, whatever else has arrived: both they and
    /// their membership are known, and neither has ended.
    pub fn must_be_listed(
        &self,
        events: &[Event],
        known: &BTreeSet<String>,
    ) -> BTreeMap<String, Vec<String>> {
        let known: BTreeSet<_> =
            events.iter().filter(|event| known.contains(&event.message_id)).map(Event::id).collect();
        self.by_organization(|membership| {
            let user = user_of(membership);
            (known.contains(user) && known.contains(text(membership, "id"))).then(|| user.to_owned())
        })
    }

    /// What the admin's list must say of each organization when everything has arrived.
    pub fn truth(&self) -> BTreeMap<String, Vec<Value>> {
        let mut truth = self.by_organization(|membership| {
            let user = self.clerk.user(user_of(membership)).unwrap();
            let signed_in = user["last_sign_in_at"].as_i64().map(iso8601);
            let role = text(membership, "role").trim_start_matches("org:");
            Some(json!({
                "id": user["id"], "email": identifier(user), "lastName": user["last_name"],
                "lastSignInAt": signed_in, "publicMetadata": user["public_metadata"],
                "role": format!("org:{role}"),
            }))
        });
        for list in truth.values_mut() {
            list.sort_by_key(|member| member["email"].to_string());
        }
        truth
    }

    fn by_organization<T>(&self, view: impl Fn(&Object) -> Option<T>) -> BTreeMap<String, Vec<T>> {
        let members = |id: &str| self.clerk.memberships_of(id).iter().filter_map(&view).collect();
        self.clerk.organization_ids().map(|id| (id.to_owned(), members(id))).collect()
    }

    /// What the program says of each organization, in the words of [`Self::truth`].
    pub fn answers(&mut self, service: &str) -> BTreeMap<String, Vec<Value>> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let organizations: Vec<_> = self.clerk.organization_ids().map(str::to_owned).collect();
        let mut answers = BTreeMap::new();
        for organization in organizations {
            let options = TokenOptions::at(clock::now_ms());
            let token = self.clerk.session_token(&self.ada, Some(&organization), &options).unwrap();
            let request = client.get(format!("{service}/api/admin/getUsersInOrg")).bearer_auth(token);
            let list: Vec<Value> = self.runtime.block_on(async {
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 200);
                response.json().await.unwrap()
            });
            let keys = ["id", "email", "lastName", "lastSignInAt", "publicMetadata", "role"];
            let view = |member: &Value| {
                Value::Object(keys.iter().map(|key| ((*key).to_owned(), member[key].clone())).collect())
            };
            answers.insert(organization, list.iter().map(view).collect());
        }
        answers
    }

    /// Message ids and outcomes in the journal, read past the program; and the file is sound.
    pub fn journal(&self) -> BTreeMap<String, String> {
        let options = SqliteConnectOptions::new().filename(self.database());
        self.runtime.block_on(async {
            let mut file = SqliteConnection::connect_with(&options).await.unwrap();
            let sound: Vec<(String,)> =
                sqlx::query_as("PRAGMA integrity_check").fetch_all(&mut file).await.unwrap();
            assert_eq!(sound, [("ok".to_owned(),)]);
            let rows: Vec<(String, String)> =
                sqlx::query_as("SELECT message_id, outcome FROM events").fetch_all(&mut file).await.unwrap();
            file.close().await.unwrap();
            let count = rows.len();
            let journal: BTreeMap<_, _> = rows.into_iter().collect();
            assert_eq!(journal.len(), count, "a message is journalled once");
            journal
        })
    }
}

/// The messages that were answered 2xx, at the first time or a later one.
pub fn acknowledged(delivered: &[Delivered]) -> BTreeSet<String> {
    let taken = delivered.iter().filter(|one| one.answers.iter().any(Answer::is_success));
    taken.map(|one| one.message_id.clone()).collect()
}
