//! A simulated Clerk full of marks, and the real program beside it.

use std::path::Path;
use std::process::{Command, Output};

use reqwest::{Client, RequestBuilder};
use roster::sim::server::{Server, Shared};
use roster::sim::shapes::{Object, object};
use roster::sim::{Event, Instance, NewUser};
use serde_json::{Value, json};

use super::marks::{GONE, Heap, KEY, LIVING, UNUSED};
use crate::support::answer::Answer;
use crate::support::binary::Program;
use crate::support::delivery::{Delivery, now_s};
use crate::support::site::{self, clerk};

/// `keymark-webhooks`, as base64 spells it; looked for in its own letters.
pub const WEBHOOK_SECRET: &str = "whsec_a2V5bWFyay13ZWJob29rcw==";
const SECRET_KEY: &str = "sk_test_keymarkClerk";
pub const OPS_TOKEN: &str = "keymark-for-operators";

/// Everything that Clerk may tell of a user and we do not use.
fn unused() -> Object {
    object(json!({
        "totp_secret": UNUSED, "backup_codes": [UNUSED], "password_digest": UNUSED, "locale": UNUSED,
        "external_accounts": [{"email_address": UNUSED, "public_metadata": {"a": UNUSED}, "label": UNUSED}],
        "saml_accounts": [{"provider": UNUSED}], "web3_wallets": [{"web3_wallet": UNUSED}],
        "passkeys": [{"name": UNUSED}], UNUSED: {UNUSED: [UNUSED]},
    }))
}

/// The people, where they are, and what was told of them.
pub struct Town {
    pub instance: Shared,
    pub server: Server,
    pub organization: String,
    /// Stays, and is an admin.
    pub living: String,
    /// Will be deleted: by an event, by the command, by a pass.
    pub gone: [String; 3],
    pub told: Vec<Event>,
}

impl Town {
    pub async fn new() -> Self {
        let mut instance = clerk(11);
        let living = person(&mut instance, LIVING, 0);
        let gone = [1, 2, 3].map(|number| person(&mut instance, GONE, number));
        let organization = instance.create_organization("Harbour", Some(&living)).id().to_owned();
        let metadata = object(json!({"about": LIVING}));
        instance.join(&living, &organization, "org:admin", &metadata).unwrap();
        let open = format!("{LIVING}-invited@example.com");
        instance.invite(&organization, &open, "org:member", Some(&living)).unwrap();
        for id in &gone {
            let invited = format!("{GONE}-invited@example.com");
            let invitation = instance.invite(&organization, &invited, "org:member", Some(&living)).unwrap();
            instance.accept(invitation.id(), id).unwrap();
            instance.sign_in(id, Some(&organization)).unwrap();
        }
        let told = instance.take_events();
        let instance = Shared::new(instance);
        let server = Server::start(instance.clone()).await.unwrap();
        server.controls().set_secret_key(SECRET_KEY);
        Self { instance, server, organization, living, gone, told }
    }

    /// What the service and its commands are told.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let pem = self.instance.lock().key().public_pem().unwrap();
        let set = |name, value: &str| (name, value.to_owned());
        vec![
            set("ROSTER_LISTEN", "127.0.0.1:0"),
            set("ROSTER_OPS_LISTEN", "127.0.0.1:0"),
            set("ROSTER_LOG", "trace"),
            set("ROSTER_LOG_FORMAT", "json"),
            set("RUST_BACKTRACE", "full"),
            set("CLERK_WEBHOOK_SIGNING_SECRET", WEBHOOK_SECRET),
            set("CLERK_JWT_KEY", &pem),
            set("CLERK_SECRET_KEY", SECRET_KEY),
            set("CLERK_API_URL", &self.server.url()),
            set("ROSTER_CLERK_RATE", "10000"),
            set("ROSTER_RECONCILE_CRON", "0 0 29 2 *"),
            set("ROSTER_RECONCILE_FULL_CRON", "0 0 29 2 *"),
            set("ROSTER_OPS_TOKEN", OPS_TOKEN),
            // A collector that is away, so that there is something to complain of.
            set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
            set("OTEL_EXPORTER_OTLP_HEADERS", &format!("authorization=Bearer {KEY}")),
        ]
    }

    pub fn token(&self, user: &str, organization: &str) -> String {
        site::token(&self.instance.lock(), now_s() - 5, user, organization, "admin")
    }
}

fn person(instance: &mut Instance, mark: &str, number: u32) -> String {
    let mut new = NewUser::named(
        &format!("{mark}First{number}"),
        &format!("{mark}Last"),
        &format!("{mark}{number}@example.com"),
    );
    new.username = Some(format!("{mark}_name_{number}"));
    new.has_image = true;
    new.external_id = Some(format!("{UNUSED}{number}"));
    new.public_metadata = object(json!({"team": mark, mark: [{"deep": mark}]}));
    let id = instance.create_user(new).id().to_owned();
    instance.update_user(&id, unused()).unwrap();
    instance.change_email(&id, &format!("{mark}{number}-new@example.com")).unwrap();
    id
}

/// The service, and everything that it has said.
pub struct Service {
    program: Program,
    pub url: String,
    pub ops: String,
    client: Client,
    pub said: Heap,
}

impl Service {
    pub fn start(folder: &Path, town: &Town) -> Self {
        let environment = town.environment();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut program = Program::start(folder, &["serve"], &environment);
        let line: Value =
            serde_json::from_str(program.wait_for("metrics are on the operators' listener")).unwrap();
        let ops = format!("http://{}", line["address"].as_str().unwrap());
        let url = program.wait_until_it_listens();
        let client = Client::builder().no_proxy().no_gzip().build().unwrap();
        Self { program, url, ops, client, said: Heap::default() }
    }

    /// From now on HTTP/2 is spoken.
    pub fn speak_http_2(&mut self) {
        self.client = Client::builder().no_proxy().no_gzip().http2_prior_knowledge().build().unwrap();
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub fn console(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.ops))
    }

    /// Sends it and keeps what came back.
    pub async fn ask(&mut self, request: RequestBuilder) -> Answer {
        let answer = Answer::of(request).await;
        self.said.add("an answer", format!("{:?}", answer.headers));
        self.said.add("an answer", &answer.body);
        answer
    }

    pub async fn deliver(&mut self, delivery: &Delivery) -> String {
        self.ask(site::post(&self.client, &self.url, delivery)).await.verdict()
    }

    /// A good delivery of this body.
    pub async fn tell(&mut self, id: &str, body: impl Into<Vec<u8>>) -> String {
        self.deliver(&Delivery::signed(WEBHOOK_SECRET, id, now_s(), body)).await
    }

    /// Stops it; returns its log.
    pub fn stop(mut self) -> String {
        self.program.terminate();
        self.program.wait_for(r#""message":"stopped""#);
        self.program.seen().join("\n")
    }
}

/// Runs a command beside the service, and keeps what it says.
pub fn run(folder: &Path, town: &Town, arguments: &[&str], said: &mut Heap) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.args(arguments).env_clear().envs(town.environment()).current_dir(folder);
    let output = command.output().unwrap();
    let place = format!("what `roster {}` says", arguments.join(" "));
    said.add(&*place, &output.stdout);
    said.add(&*place, &output.stderr);
    output
}
