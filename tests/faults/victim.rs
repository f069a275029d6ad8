//! The real program on a file that something happens to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Client;
use roster::sim::shapes::Object;
use roster::sim::{Event, Instance, NewUser};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::support::answer::Answer;
use crate::support::binary::Program;
use crate::support::delivery::{Delivery, SECRET, now_s};
use crate::support::site::{self, ADMIN};

/// Clerk's side, the folder with the database, and what was acknowledged.
pub struct Victim {
    clerk: Instance,
    organization: String,
    client: Client,
    folder: tempfile::TempDir,
    joined: usize,
    pub acknowledged: BTreeSet<String>,
    /// Of whom both events were acknowledged.
    listed: BTreeSet<String>,
}

/// The program, and where it listens.
pub struct Service {
    pub program: Program,
    pub url: String,
}

impl Victim {
    pub fn new() -> Self {
        let mut clerk = site::clerk(1);
        let organization = clerk.create_organization("Harbour", None).id().to_owned();
        clerk.take_events();
        Self {
            clerk,
            organization,
            client: Client::builder().no_proxy().build().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            joined: 0,
            acknowledged: BTreeSet::new(),
            listed: BTreeSet::new(),
        }
    }

    /// One with a database in which somebody is, and on which nobody works.
    pub async fn with_a_past() -> Self {
        let mut victim = Self::new();
        let service = victim.serve();
        assert_eq!(victim.somebody_joins(&service).await, [200, 200]);
        service.program.terminate();
        assert_eq!(service.program.wait().code(), Some(0));
        victim
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> PathBuf {
        self.folder().join("roster.db")
    }

    /// A file beside the database.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        self.folder().join(format!("roster.db{suffix}"))
    }

    /// `roster serve`, which may not start.
    pub fn attempt(&self, starter: &[&str]) -> Program {
        let pem = self.clerk.key().public_pem().unwrap();
        let environment = [
            ("ROSTER_LISTEN", "127.0.0.1:0"),
            ("ROSTER_OPS_LISTEN", "127.0.0.1:0"),
            ("ROSTER_LOG_FORMAT", "json"),
            ("CLERK_JWT_KEY", &*pem),
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ];
        Program::start_under(starter, self.folder(), &["serve"], &environment)
    }

    pub fn serve(&self) -> Service {
        self.serve_under(&[])
    }

    pub fn serve_under(&self, starter: &[&str]) -> Service {
        let mut program = self.attempt(starter);
        let url = program.wait_until_it_listens();
        Service { program, url }
    }

    /// It does not start, and says so with these words.
    pub fn is_refused(&self, starter: &[&str], words: &str) {
        let mut program = self.attempt(starter);
        program.wait_for(words);
        assert_eq!(program.wait().code(), Some(1), "{words}");
    }

    /// What `roster doctor` says.
    pub fn doctor(&self) -> String {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_roster"));
        let output = doctor.arg("doctor").env_clear().current_dir(self.folder()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Somebody new is in the organization; the answers to the two events.
    pub async fn somebody_joins(&mut self, service: &Service) -> [u16; 2] {
        self.joined += 1;
        let mut new =
            NewUser::named("New", "Person", &format!("p{joined}@example.com", joined = self.joined));
        // Enough of it fills a small disk soon.
        new.public_metadata.insert("note".to_owned(), "x".repeat(6_000).into());
        let user = self.clerk.create_user(new).id().to_owned();
        self.clerk.join(&user, &self.organization, "org:member", &Object::new()).unwrap();
        let events = self.clerk.take_events();
        let [created, joined] = &events[..] else { panic!("two events and not {events:?}") };
        let answers = [self.deliver(service, created).await, self.deliver(service, joined).await];
        if answers == [200, 200] {
            self.listed.insert(user);
        }
        answers
    }

    /// Delivers an event; a refusal has to be an honest one.
    async fn deliver(&mut self, service: &Service, event: &Event) -> u16 {
        let request = site::post(&self.client, &service.url, &Delivery::of(event));
        let answer = Answer::of(request).await;
        match &*answer.verdict() {
            "200 applied" => {
                self.acknowledged.insert(event.message_id.clone());
            }
            "503 UNAVAILABLE" => assert_eq!(answer.header("retry-after"), Some("5")),
            other => panic!("{other}"),
        }
        answer.status.as_u16()
    }

    /// The admin's list.
    pub async fn list(&self, service: &Service) -> Answer {
        let token = site::token(&self.clerk, now_s() - 5, "user_newcomer", &self.organization, "admin");
        self.get(service, ADMIN, &token).await
    }

    pub async fn is_ready(&self, service: &Service) -> bool {
        let answer = self.get(service, "/readyz", "").await;
        if answer.status != 200 {
            assert!(answer.text().contains("Not ready: database unreachable."), "{}", answer.text());
        }
        answer.status == 200
    }

    async fn get(&self, service: &Service, path: &str, token: &str) -> Answer {
        Answer::of(self.client.get(format!("{}{path}", service.url)).bearer_auth(token)).await
    }

    /// All that was acknowledged is in the answers and in the journal, and the file is sound.
    pub async fn nothing_is_lost(&self, service: &Service) {
        self.nothing_is_lost_from(service, &self.database()).await;
    }

    /// The same where the file has another name.
    pub async fn nothing_is_lost_from(&self, service: &Service, database: &Path) {
        let listed: BTreeSet<_> = self.list(service).await.ids().into_iter().collect();
        let lost: Vec<_> = self.listed.difference(&listed).collect();
        assert!(lost.is_empty(), "{lost:?}");
        let mut file = open(database).await;
        let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut file).await.unwrap();
        assert_eq!(sound, "ok");
        let journal: Vec<String> =
            sqlx::query_scalar("SELECT message_id FROM events").fetch_all(&mut file).await.unwrap();
        file.close().await.unwrap();
        let journal: BTreeSet<_> = journal.into_iter().collect();
        let lost: Vec<_> = self.acknowledged.difference(&journal).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    /// Kills the service, starts another one without the fault, and finds everything.
    pub async fn survives_the_end_of(mut self, service: Service) {
        service.program.kill();
        let service = self.serve();
        self.nothing_is_lost(&service).await;
        assert_eq!(self.somebody_joins(&service).await, [200, 200]);
        self.nothing_is_lost(&service).await;
    }
}

/// A connection past the program.
pub async fn open(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database).connect().await.unwrap()
}
