//! The console in a real browser, on real services: `cargo test --test console`, which needs Debian's packages
//! `chromium` and `chromium-driver`. They are no part of `cargo test`, so that it needs nothing but Rust.

#![expect(unreachable_pub, reason = "the modules of a test binary are reachable from nowhere")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the right answer, in its helpers too"
)]

#[path = "../support/binary.rs"]
#[expect(dead_code, reason = "shared with the other test program, which uses all of it")]
mod binary;
mod browser;

use std::path::Path;

use roster::sim::backend_api::SECRET_KEY;
use roster::sim::keys::SigningKey;
use roster::sim::server::{Server, Shared};
use roster::sim::{Instance, NewUser};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use binary::Program;
use browser::Browser;

const TOKEN: &str = "a-long-random-text";
const EPHEMERAL: [(&str, &str); 2] = [("ROSTER_LISTEN", "127.0.0.1:0"), ("ROSTER_OPS_LISTEN", "127.0.0.1:0")];
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The demo, and where its console is.
fn dev(folder: &Path, more: &[(&str, &str)]) -> (Program, String) {
    let mut program = Program::start(folder, &["dev"], &[&EPHEMERAL, more].concat());
    let line = program.wait_for("The console is on ").to_owned();
    let url = line.split(' ').find(|word| word.starts_with("http://")).unwrap();
    let url = url.trim_end_matches(',').to_owned();
    program.wait_for("Ctrl-C");
    (program, url)
}

/// Writes into the journal what an older version of this program could not use, and this one can.
async fn plant_dead_letters(database: &Path) {
    let mut connection = SqliteConnectOptions::new().filename(database).connect().await.unwrap();
    for number in [1, 2] {
        let payload = json!({"type": "user.created", "timestamp": 1_790_000_000_000_i64, "data": {
            "id": format!("user_letter{number}"), "created_at": 1, "updated_at": 1,
            "first_name": "Secret", "email_addresses": []}});
        let statement =
            "INSERT INTO events (message_id, type, object_id, user_id, occurred_at_ms, received_at_ms,
            outcome, error, payload) VALUES ($1, 'user.created', $2, $2, 1790000000000, $3, 'dead', $4, $5)";
        sqlx::query(statement)
            .bind(format!("msg_<b>letter{number}"))
            .bind(format!("user_letter{number}"))
            .bind(roster::clock::now_ms())
            .bind("`data.first_name` must be a string")
            .bind(payload.to_string())
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn the_page_shows_the_demo_and_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let (program, url) = dev(folder.path(), &[("ROSTER_OPS_TOKEN", TOKEN)]);
    let browser = Browser::start().await;
    browser.resize(1280, 900).await;
    browser.prefer("light").await;
    browser.open(&url).await;
    browser.until("document.getElementById('verdict').textContent === 'In sync'").await;
    browser.until("document.getElementById('rows-users').textContent === '17'").await;
    browser.until("document.querySelectorAll('#events tbody tr').length > 50").await;
    assert!(browser.text("#no-passes").await.contains("CLERK_SECRET_KEY"));
    for (selector, wanted) in [("#line", "live"), ("#dead-count", "0"), ("#last-pass", "off")] {
        assert_eq!(browser.text(selector).await, wanted, "{selector}");
    }
    browser.picture("light.png").await;

    // What comes in is there within moments, with nothing of what it says; and it is text, not markup.
    plant_dead_letters(&folder.path().join(".roster-dev/roster.db")).await;
    browser.until("document.getElementById('verdict').textContent === 'Needs attention'").await;
    browser.until("document.querySelectorAll('#dead tbody tr').length === 2").await;
    let whole = browser.run("return document.documentElement.outerHTML").await;
    let whole = whole.as_str().unwrap();
    assert!(whole.contains("msg_&lt;b&gt;letter1") && whole.contains("must be a string"));
    for personal in ["Secret", "Ada", "Okafor", "@"] {
        assert!(!browser.text("main").await.contains(personal), "{personal}");
    }

    // Filters, by hand.
    browser.press("/").await;
    browser.press("user_letter2").await;
    browser.until("document.querySelectorAll('#events tbody tr').length === 1").await;
    browser.run("const all = document.getElementById('subject'); all.value = ''; all.dispatchEvent(new Event('input'))").await;
    browser.run("const one = document.getElementById('outcome'); one.value = 'dead'; one.dispatchEvent(new Event('change'))").await;
    browser.until("document.querySelectorAll('#events tbody tr').length === 2").await;

    // Actions need the token.
    assert_eq!(browser.run("return document.querySelectorAll('[data-retry]').length").await, json!(0));
    browser.run("document.activeElement.blur()").await;
    browser.press("u").await;
    browser.press("not-the-token\u{e007}").await;
    browser.until("document.getElementById('token-error').textContent === 'That is not the token.'").await;
    browser.run("document.getElementById('token').value = ''").await;
    browser.press(TOKEN).await;
    browser.press("\u{e007}").await;
    browser.until("document.querySelectorAll('[data-retry]').length === 2").await;
    browser.prefer("dark").await;
    browser.picture("dark.png").await;
    browser.click("[data-retry='msg_<b>letter1']").await;
    browser.until("document.getElementById('toast').textContent.includes('applied')").await;
    browser.until("document.querySelectorAll('#dead tbody tr').length === 1").await;
    browser.click("#retry-all").await;
    browser.until("document.getElementById('verdict').textContent === 'In sync'").await;
    browser.until("document.getElementById('rows-users').textContent === '19'").await;

    // A phone: nothing sticks out, and it can all be reached.
    browser.resize(390, 844).await;
    browser.prefer("light").await;
    browser.until("document.documentElement.scrollWidth <= innerWidth").await;
    browser.picture("phone.png").await;
    // The refused token is what the browser itself complains of.
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().all(|one| one["message"].as_str().unwrap().contains("/console/token")),
        "{complaints:?}"
    );

    // The end of the service is the end of the stream, at once.
    program.terminate();
    browser.until("document.getElementById('line').textContent === 'offline'").await;
    assert_eq!(program.wait().code(), Some(0));
    browser.close().await;
}

#[tokio::test]
async fn without_a_token_the_page_is_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let (_program, url) = dev(folder.path(), &[]);
    plant_dead_letters(&folder.path().join(".roster-dev/roster.db")).await;
    let browser = Browser::start().await;
    browser.open(&url).await;
    browser.until("document.querySelectorAll('#dead tbody tr').length === 2").await;
    for hidden in ["#unlock", "#pass-tools", "#dead-tools"] {
        let script = format!("return document.querySelector('{hidden}').checkVisibility()");
        assert_eq!(browser.run(&script).await, json!(false), "{hidden}");
    }
    assert_eq!(browser.text("#read-only").await, "read-only");
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
    browser.close().await;
}

/// Clerk runs in here, and has to answer while the browser is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_are_started_watched_and_plotted() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate("ins_test").unwrap();
    let pem = key.public_pem().unwrap();
    let clerk = Shared::new(Instance::new(key, 1, roster::clock::now_ms()));
    let mut users = Vec::new();
    for number in 0..30 {
        let user = NewUser::named("Member", &number.to_string(), &format!("{number}@example.com"));
        users.push(clerk.lock().create_user(user).id().to_owned());
    }
    let server = Server::start(clerk.clone()).await.unwrap();
    let api = server.url();
    let environment = [
        ("ROSTER_OPS_TOKEN", TOKEN),
        ("ROSTER_LOG", "info"),
        ("ROSTER_LOG_FORMAT", "json"),
        ("CLERK_JWT_KEY", &pem),
        ("CLERK_API_URL", &api),
        ("CLERK_SECRET_KEY", SECRET_KEY),
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ROSTER_RECONCILE_CRON", "0 0 29 2 *"),
        ("ROSTER_RECONCILE_FULL_CRON", "0 0 29 2 *"),
    ];
    let mut program = Program::start(folder.path(), &["serve"], &[&EPHEMERAL[..], &environment].concat());
    let line: Value = serde_json::from_str(program.wait_for("operators' listener")).unwrap();
    let ops = format!("http://{}", line["address"].as_str().unwrap());
    program.wait_for(r#""message":"pass""#);

    let browser = Browser::start().await;
    browser.resize(1280, 900).await;
    browser.open(&ops).await;
    browser.until("document.querySelectorAll('#passes tbody tr').length === 1").await;
    assert!(browser.text("#passes tbody").await.contains("completed"));
    browser.click("#unlock").await;
    browser.press(TOKEN).await;
    browser.press("\u{e007}").await;
    browser.until("document.getElementById('pass-tools').checkVisibility()").await;

    // Clerk has news that no webhook tells of.
    clerk.lock().advance(60_000);
    clerk.lock().create_user(NewUser::named("Late", "Comer", "late@example.com"));
    browser.click("[data-pass=incremental]").await;
    program.wait_for(r#""action":"pass""#);
    browser.until("document.querySelectorAll('#passes tbody tr').length === 2").await;
    browser.until("document.querySelector('#passes tbody tr').textContent.includes('completed')").await;
    browser.until("document.querySelectorAll('#plot g').length === 2").await;
    assert_eq!(browser.run("return document.querySelectorAll('#plot g:last-of-type .missing')[0].height.baseVal.value > 1").await, json!(true));

    // Most of it goes: the brake holds, and is lifted by hand.
    clerk.lock().advance(60_000);
    for user in &users[..20] {
        clerk.lock().delete_user(user).unwrap();
    }
    browser.click("[data-pass=full]").await;
    browser.until("document.querySelector('#passes tbody tr').textContent.includes('braked')").await;
    browser.until("document.getElementById('reasons').textContent.includes('allow deletes')").await;
    browser.picture("braked.png").await;
    browser.click("[data-pass=deletes]").await;
    browser.click("#deletes-dialog button[type=submit]").await;
    browser.until("document.querySelector('#passes tbody tr').textContent.includes('completed')").await;
    browser.until("document.getElementById('rows-users').textContent === '11'").await;
    browser.click("#passes tbody tr button").await;
    browser.until("document.querySelectorAll('#passes tr.more').length === 4").await;
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
    browser.close().await;
}
