//! What we do not use leaves no trace: not in an answer, not in a log line at the finest level, not in a
//! table, not in a byte of the database's files.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use reqwest::Client;
use roster::sim::Instance;
use serde_json::{Value, json};

use super::payloads::{self, at};
use crate::support::answer::Answer;
use crate::support::database::Rows;
use crate::support::delivery::{Delivery, SECRET, now_s};
use crate::support::site::{self, ADMIN, USERS, clerk};

/// Stands in every value that we do not use, and in the names of fields that Clerk may add.
const CANARY: &str = "canary";

/// What we use of an event, as the contract and the lists need it. `*` is any place in an array.
const USED: [&str; 29] = [
    "/object",
    "/type",
    "/timestamp",
    "/instance_id",
    "/data/object",
    "/data/id",
    "/data/created_at",
    "/data/updated_at",
    "/data/public_metadata",
    "/data/first_name",
    "/data/last_name",
    "/data/username",
    "/data/primary_email_address_id",
    "/data/email_addresses/*/id",
    "/data/email_addresses/*/email_address",
    "/data/image_url",
    "/data/has_image",
    "/data/banned",
    "/data/last_sign_in_at",
    "/data/name",
    "/data/role",
    "/data/organization/id",
    "/data/public_user_data/user_id",
    "/data/organization_id",
    "/data/email_address",
    "/data/status",
    "/data/expires_at",
    "/data/user_id",
    "/data/deleted",
];

/// Puts the canary into everything that we do not use, at every level.
fn marked(value: &Value, path: &str) -> Value {
    if USED.contains(&path) {
        return value.clone();
    }
    match value {
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| (name.clone(), marked(value, &format!("{path}/{name}"))));
            let added = [(format!("{CANARY}_field"), json!([{ CANARY: CANARY }]))];
            Value::Object(fields.chain(added).collect())
        }
        Value::Array(items) if path == "/data/email_addresses" => {
            items.iter().map(|item| marked(item, "/data/email_addresses/*")).collect()
        }
        Value::Array(items) => items.iter().map(|item| marked(item, path)).chain([json!(CANARY)]).collect(),
        Value::String(text) => format!("{text}{CANARY}").into(),
        _ => CANARY.into(),
    }
}

/// One event of every kind that we know, and of two that are none of ours.
fn events() -> Vec<Value> {
    let mut events = payloads::controls();
    let accepted =
        at(&payloads::invitation("orginv_accepted", "org_control"), "/data/user_id", json!("user_control"));
    events.push(at(&accepted, "/type", json!("organizationInvitation.accepted")));
    events.push(json!({"type": "email.created", "data": {"id": "ema_1", "to_email_address": "x", "body": "<b>x</b>", "data": {"otp_code": "x"}}}));
    events.push(
        json!({"type": "sms.created", "data": {"id": "sms_1", "message": "x", "to_phone_number": "x"}}),
    );
    events.iter().map(|event| marked(event, "")).collect()
}

/// Events that cannot be used, with the canary where a value of the wrong kind can hold it.
fn unusable() -> Vec<String> {
    let mut bodies = vec![
        format!("{{\"type\":\"user.created\",\"{CANARY}\":"),
        format!("{CANARY} {CANARY}"),
        json!({"type": [CANARY], "data": {CANARY: CANARY}}).to_string(),
        format!(r#"{{"type":"user.created","data":{{"id":"user_1","first_name":"{CANARY}\ud800"}}}}"#),
        format!(
            r#"{{"type":"user.created","data":{{"id":"user_1","deep":{}"{CANARY}"{}}}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        ),
    ];
    let odd = json!({CANARY: [CANARY]});
    for event in events() {
        let fields = event["data"].as_object().unwrap().keys().map(|name| format!("/data/{name}"));
        for pointer in fields.chain(["/data".to_owned()]) {
            bodies.push(at(&event, &pointer, json!([CANARY])).to_string());
            // An object would be good public metadata.
            if pointer != "/data/public_metadata" {
                bodies.push(at(&event, &pointer, odd.clone()).to_string());
            }
        }
    }
    bodies
}

/// The real program, with everything that it says to its log.
struct Program {
    child: Child,
    url: String,
    log: JoinHandle<String>,
}

impl Program {
    fn start(folder: &Path, clerk: &Instance) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
        command.arg("serve").env_clear().current_dir(folder).stderr(Stdio::piped());
        command.env("ROSTER_LISTEN", "127.0.0.1:0").env("ROSTER_OPS_LISTEN", "127.0.0.1:0");
        command.env("ROSTER_LOG", "trace").env("ROSTER_LOG_FORMAT", "json");
        command.env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET).env("RUST_BACKTRACE", "full");
        command.env("CLERK_JWT_KEY", clerk.key().public_pem().unwrap());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut text, mut url) = (String::new(), None);
        while url.is_none() {
            let start = text.len();
            assert_ne!(log.read_line(&mut text).unwrap(), 0, "it ended early: {text}");
            let line: Value = serde_json::from_str(&text[start..]).unwrap();
            if line["message"] == "listening" && line["address"].is_string() {
                url = Some(format!("http://{}", line["address"].as_str().unwrap()));
            }
        }
        let log = std::thread::spawn(move || {
            log.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, url: url.unwrap(), log }
    }

    /// Stops it, and returns its log.
    fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.log.join().unwrap()
    }
}

/// The files of a folder, by name, as text in small letters.
fn files(folder: &Path) -> Vec<(String, String)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), lower(&std::fs::read(&path).unwrap()))).collect()
}

fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

/// Where a text was found, for the message of a failed test.
fn around<'a>(place: &'a str, text: &str) -> &'a str {
    let found = place.find(text).unwrap_or(0);
    let start = place.floor_char_boundary(found.saturating_sub(200));
    &place[start..place.ceil_char_boundary(found + 100)]
}

#[tokio::test]
async fn what_we_do_not_use_is_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let clerk = clerk(1);
    let program = Program::start(folder.path(), &clerk);
    let client = Client::builder().no_proxy().build().unwrap();
    let mut answers = Vec::new();
    let mut deliver = async |delivery: Delivery| {
        let answer = Answer::of(site::post(&client, &program.url, &delivery)).await;
        let verdict = answer.verdict();
        answers.push(format!("{:?} {}", answer.headers, answer.text()));
        verdict
    };
    // Dead letters first: what is kept of them must survive what comes later, and be seen here.
    let mut dead = 0;
    for (number, body) in unusable().into_iter().enumerate() {
        let verdict = deliver(Delivery::new(&format!("msg_dead_{number}"), body)).await;
        assert!(
            ["422 UNPROCESSABLE_EVENT", "200 applied", "200 stale", "200 ignored"].contains(&&*verdict),
            "{verdict}"
        );
        dead += usize::from(verdict.starts_with("422"));
    }
    assert!(dead > 60, "{dead}");
    for (number, event) in events().iter().enumerate() {
        let forged = Delivery::signed("whsec_Zm9yZ2Vk", "msg_forged", now_s(), event.to_string());
        assert_eq!(deliver(forged).await, "401 UNAUTHORIZED");
        let verdict = deliver(Delivery::new(&format!("msg_{number}"), event.to_string())).await;
        assert!(verdict.starts_with("200"), "{verdict}");
    }
    let large = format!("{{\"{CANARY}\":\"{}\"}}", CANARY.repeat(200_000));
    assert_eq!(deliver(Delivery::new("msg_large", large)).await, "413 PAYLOAD_TOO_LARGE");

    let token = site::token(&clerk, now_s() - 5, "user_control", "org_control", "admin");
    let forged = format!("{}{CANARY}", &token[..token.len() - 8]);
    let one = format!("{USERS}/user_control");
    let nobody = format!("{USERS}/{CANARY}");
    for path in [USERS, ADMIN, &one, &nobody, "/readyz", "/nowhere", "/openapi.json"] {
        for token in [&token, &forged] {
            let request = client.get(format!("{}{path}", program.url)).bearer_auth(token);
            let answer = Answer::of(request).await;
            if [USERS, ADMIN, &one].contains(&path) && token != &forged {
                assert!(answer.text().contains("ada@example.com"), "{path}: {}", answer.text());
            }
            answers.push(format!("{:?} {}", answer.headers, answer.text()));
        }
    }

    let rows = Rows::of(&folder.path().join("roster.db")).await;
    let tables = rows.everything().await.join("\n");
    drop(rows);
    let running = files(folder.path());
    let log = program.stop();
    let stopped = files(folder.path());

    assert!(tables.contains("ada@example.com") && tables.contains(" outcome=dead"), "the look is a real one");
    // In the file or in its log: an erasure empties the log.
    assert!(running.iter().any(|(_, text)| text.contains("ada@example.com")));
    assert!(
        stopped.iter().any(|(path, text)| path.ends_with("roster.db") && text.contains("ada@example.com"))
    );
    assert!(log.contains(r#""level":"DEBUG""#) && log.contains("msg_dead_0"), "the log is the whole one");

    let said = [("an answer", answers.join("\n")), ("a table", tables), ("the log", log.clone())];
    let said = said.map(|(place, text)| (place.to_owned(), text.to_ascii_lowercase()));
    let (secret, token) = (SECRET["whsec_".len()..].to_ascii_lowercase(), token.to_ascii_lowercase());
    for (place, text) in said.iter().chain(&running).chain(&stopped) {
        assert!(!text.contains(CANARY), "{place}: {}", around(text, CANARY));
        assert!(!text.contains(&secret), "{place} holds the secret");
        assert!(!text.contains(&token), "{place} holds a token");
    }
    for personal in ["ada@example.com", "Okafor", "bo@example.com"] {
        assert!(!log.contains(personal), "the log: {}", around(&log, personal));
    }
}
