//! A simulated Clerk where much happens, the program that is told of it, and what it must then answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use roster::clock;
use roster::domain::time::iso8601;
use roster::replay::post::Answer;
use roster::sim::backend_api::SECRET_KEY;
use roster::sim::instance::user_of;
use roster::sim::keys::SigningKey;
use roster::sim::random::Random;
use roster::sim::sender::Delivered;
use roster::sim::server::{Server, Shared};
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
const OPS_TOKEN: &str = "a-long-random-text";
const RECONCILING: [&str; 6] = [
    "CLERK_SECRET_KEY",
    "CLERK_API_URL",
    "ROSTER_CLERK_RATE",
    "ROSTER_RECONCILE_CRON",
    "ROSTER_RECONCILE_FULL_CRON",
    "ROSTER_OPS_TOKEN",
];

/// Who is where, and a folder with the database of the program that is told.
pub struct Town {
    pub runtime: Runtime,
    pub random: Random,
    clerk: Shared,
    backend_api: Server,
    client: reqwest::Client,
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
            // In the folder that it is started in.
            ("DATABASE_URL", "sqlite://roster.db".to_owned()),
            ("ROSTER_LISTEN", "127.0.0.1:0".to_owned()),
            ("ROSTER_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLERK_JWT_KEY", pem),
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET.to_owned()),
            // The place of a kill is counted in lines about deliveries.
            ("ROSTER_LOG", "info".to_owned()),
            ("ROSTER_LOG_FORMAT", "json".to_owned()),
        ];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let clerk = Shared::new(clerk);
        let backend_api = runtime.block_on(Server::start(clerk.clone())).unwrap();
        backend_api.controls().set_limit(None);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { runtime, random: Random::new(seed), clerk, backend_api, client, ada, folder, environment }
    }

    /// Whether there are passes from the next start on: every second, and when they are asked for.
    pub fn reconcile(&mut self, passes: bool) {
        self.environment.retain(|(name, _)| !RECONCILING.contains(name));
        if passes {
            let every_second = "* * * * * *";
            let url = self.backend_api.url();
            let values = [SECRET_KEY, &*url, "10000", every_second, every_second, OPS_TOKEN];
            self.environment.extend(RECONCILING.into_iter().zip(values.map(str::to_owned)));
        }
    }

    /// Asks for a pass, as a person at the console does.
    pub fn ask_for_a_pass(&self, program: &Program) {
        let line = program.seen().iter().find(|line| line.contains("operators' listener")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let url = format!("http://{}/console/passes", line["address"].as_str().unwrap());
        let request = self.client.post(url).bearer_auth(OPS_TOKEN).json(&json!({"kind": "full"}));
        let status = self.runtime.block_on(request.send()).unwrap().status();
        assert!([202, 429].contains(&status.as_u16()), "{status}");
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What is served from the next start on.
    pub fn move_to(&mut self, folder: tempfile::TempDir) {
        self.folder = folder;
    }

    pub fn database(&self) -> PathBuf {
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
        self.clerk.lock().take_events()
    }

    fn happen(&mut self) {
        let number = self.random.number();
        let mut clerk = self.clerk.lock();
        let people: Vec<_> = clerk.users().map(|user| text(user, "id").to_owned()).collect();
        let somebody = people[self.random.below(people.len())].clone();
        let organizations: Vec<_> = clerk.organization_ids().map(str::to_owned).collect();
        let somewhere = &organizations[self.random.below(organizations.len())];
        let membership = clerk.membership_id(&somebody, somewhere);
        let what = self.random.below(10);
        if what < 4 || somebody == self.ada {
            let mut new =
                NewUser::named("New", &format!("Person {number}"), &format!("p{number}@example.com"));
            new.public_metadata = object(json!({ "number": number }));
            let user = clerk.create_user(new);
            clerk.join(user.id(), somewhere, "org:member", &Object::new()).unwrap();
            return;
        }
        match (what, membership) {
            (4, _) => drop(clerk.change_email(&somebody, &format!("e{number}@example.com")).unwrap()),
            (5, _) => drop(clerk.sign_in(&somebody, None).unwrap()),
            (6, _) => drop(clerk.delete_user(&somebody).unwrap()),
            (7, Ok(membership)) => drop(clerk.leave(&membership).unwrap()),
            (_, Ok(membership)) => drop(clerk.change_role(&membership, "org:editor").unwrap()),
            // Often somebody who has left before.
            (_, Err(_)) => drop(clerk.join(&somebody, somewhere, "member", &Object::new()).unwrap()),
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
            concurrency: 12,
            ..Plan::default()
        };
        let sender = Sender::new(to, SECRET, plan).unwrap();
        self.runtime.spawn(async move { sender.send(&events).await.unwrap() })
    }

    /// The ids of the users who must be listed after these messages, whatever else has arrived: both they and
    /// their membership are known, and neither has ended.
    fn must_be_listed(&self, events: &[Event], known: &BTreeSet<String>) -> BTreeMap<String, Vec<String>> {
        let known: BTreeSet<_> =
            events.iter().filter(|event| known.contains(&event.message_id)).map(Event::id).collect();
        self.by_organization(|_, membership| {
            let user = user_of(membership);
            (known.contains(user) && known.contains(text(membership, "id"))).then(|| user.to_owned())
        })
    }

    /// Everybody is listed who must be, and nobody twice.
    pub fn check_listed(
        &self,
        answers: &BTreeMap<String, Vec<Value>>,
        events: &[Event],
        acknowledged: &BTreeSet<String>,
    ) {
        for (organization, expected) in self.must_be_listed(events, acknowledged) {
            let ids: Vec<_> =
                answers[&organization].iter().map(|member| member["id"].as_str().unwrap()).collect();
            let distinct: BTreeSet<_> = ids.iter().copied().collect();
            assert_eq!(distinct.len(), ids.len(), "somebody is listed twice");
            for user in &expected {
                assert!(distinct.contains(&**user), "{user} is lost in {organization}");
            }
        }
    }

    /// What the admin's list must say of each organization when everything has arrived.
    pub fn truth(&self) -> BTreeMap<String, Vec<Value>> {
        let mut truth = self.by_organization(|clerk, membership| {
            let user = clerk.user(user_of(membership)).unwrap();
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

    fn by_organization<T>(&self, view: impl Fn(&Instance, &Object) -> Option<T>) -> BTreeMap<String, Vec<T>> {
        let clerk = self.clerk.lock();
        let members = |id: &str| {
            clerk.memberships_of(id).iter().filter_map(|membership| view(&clerk, membership)).collect()
        };
        clerk.organization_ids().map(|id| (id.to_owned(), members(id))).collect()
    }

    /// What the program says of each organization, in the words of [`Self::truth`].
    pub fn answers(&mut self, service: &str) -> BTreeMap<String, Vec<Value>> {
        let organizations: Vec<_> = self.clerk.lock().organization_ids().map(str::to_owned).collect();
        let mut answers = BTreeMap::new();
        for organization in organizations {
            let options = TokenOptions::at(clock::now_ms());
            let token = self.clerk.lock().session_token(&self.ada, Some(&organization), &options).unwrap();
            let request = self.client.get(format!("{service}/api/admin/getUsersInOrg")).bearer_auth(token);
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

    /// How many passes were begun, read past the program.
    pub fn passes(&self) -> i64 {
        let options = SqliteConnectOptions::new().filename(self.database());
        self.runtime.block_on(async {
            let mut file = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query_scalar("SELECT COUNT(*) FROM passes").fetch_one(&mut file).await.unwrap()
        })
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

/// The messages whose effect the program has called durable so far.
pub fn committed(program: &Program) -> BTreeSet<String> {
    let lines = program.seen().iter().filter(|line| line.contains(r#""message":"delivery""#));
    let ids = lines.map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["message_id"].as_str().unwrap().to_owned()
    });
    ids.collect()
}
