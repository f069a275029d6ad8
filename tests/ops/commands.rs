//! The commands that look into a database, beside the service that runs on it.

use std::path::Path;
use std::process::{Command, Output};

use roster::sim::backend_api::SECRET_KEY;
use roster::sim::server::{Server, Shared};
use roster::sim::{Instance, NewUser};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::watched::{Watched, ada};
use crate::support::delivery::{Delivery, SECRET};
use crate::support::site::{USERS, clerk};

/// Runs a command in a folder, with nothing of our environment but what is given.
pub fn roster(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).current_dir(folder);
    command.output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The objects that a command prints, one a line.
fn objects(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A user whose event cannot be used, because one field has a wrong type.
pub fn unusable(user: &str) -> String {
    let data = json!({"id": user, "created_at": 1, "updated_at": 1, "first_name": "Mark", "banned": "no"});
    json!({"type": "user.created", "timestamp": 1_700_000_000_000_i64, "data": data}).to_string()
}

/// What an update of this program would do: the same letter can be understood.
pub async fn understand_dead_letters(folder: &Path) {
    let options = SqliteConnectOptions::new().filename(folder.join("roster.db"));
    let mut connection = options.connect().await.unwrap();
    let statement = r#"UPDATE events SET payload = replace(payload, '"banned":"no"', '"banned":false')"#;
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A service with Ada, and two dead letters about others.
async fn service(folder: &Path, clerk: &mut Instance) -> (Watched, String, String) {
    let watched = Watched::start(folder, clerk, &[]);
    let (user, organization) = ada(clerk);
    for event in clerk.take_events() {
        assert_eq!(watched.deliver(&Delivery::of(&event)).await, "200 applied");
    }
    for number in [1, 2] {
        let letter = Delivery::new(&format!("msg_dead{number}"), unusable(&format!("user_dead{number}")));
        assert_eq!(watched.deliver(&letter).await, "422 UNPROCESSABLE_EVENT");
    }
    (watched, user, organization)
}

#[tokio::test]
async fn the_journal_is_listed_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (_watched, user, _) = service(folder.path(), &mut clerk(1)).await;
    let events = |arguments: &[&str]| roster(folder.path(), &[&["events"], arguments].concat(), &[]);

    let all = objects(&events(&["list", "--json"]));
    assert_eq!(all.len(), 5);
    let dead = &all[0];
    let keys: Vec<_> = dead.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["error", "id", "occurredAt", "outcome", "receivedAt", "subject", "type"]);
    let line = text(&events(&["list", "--json", "--limit", "1"]).stdout);
    assert!(
        line.starts_with(
            r#"{"id":"msg_dead2","type":"user.created","outcome":"dead","subject":"user_dead2","#
        )
    );
    assert_eq!(dead["occurredAt"], "2023-11-14T22:13:20.000Z");
    assert_eq!(dead["error"], "`data.banned` must be true or false");

    let ids = |arguments: &[&str]| -> Vec<String> {
        let found = objects(&events(&[&["list", "--json"], arguments].concat()));
        found.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--outcome", "dead"]), ["msg_dead2", "msg_dead1"]);
    assert_eq!(ids(&["--subject", "user_dead1", "--type", "user.created"]), ["msg_dead1"]);
    assert_eq!(ids(&["--type", "organization.created", "--outcome", "dead"]), [""; 0]);
    assert_eq!(ids(&["--subject", &user]).len(), 2, "the user and the membership");

    let table = events(&["list", "--outcome", "dead"]);
    let table = text(&table.stdout);
    let rows: Vec<_> = table.lines().collect();
    assert!(rows[0].contains("received") && rows[0].contains("error"), "{table}");
    assert!(rows[1].contains("msg_dead2") && !table.contains('\u{1b}'), "{table}");

    let shown = events(&["show", "msg_dead1", "msg_nobody"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(text(&shown.stderr).contains("no event `msg_nobody`"), "{}", text(&shown.stderr));
    assert!(text(&shown.stdout).contains(r#""first_name":"Mark""#), "{}", text(&shown.stdout));
    let shown = objects(&events(&["show", "msg_dead1", "--json"]));
    assert_eq!(shown[0]["payload"]["data"]["id"], "user_dead1");
}

#[tokio::test]
async fn dead_letters_are_tried_again_beside_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(1);
    let (watched, user, organization) = service(folder.path(), &mut clerk).await;
    let retry = |arguments: &[&str]| roster(folder.path(), &[&["events", "retry"], arguments].concat(), &[]);
    let outcomes = |output: &Output| -> Vec<Value> {
        objects(output).iter().map(|event| event["outcome"].clone()).collect()
    };

    let still = retry(&["--all", "--json"]);
    assert_eq!((still.status.code(), outcomes(&still)), (Some(1), vec![json!("dead"), json!("dead")]));
    assert!(text(&still.stderr).contains("2 of them still cannot be used"), "{}", text(&still.stderr));
    assert_eq!(retry(&["msg_nobody"]).status.code(), Some(1));
    assert_eq!(retry(&[]).status.code(), Some(2));
    assert_eq!(retry(&["msg_dead1", "--all"]).status.code(), Some(2));

    understand_dead_letters(folder.path()).await;
    let one = retry(&["msg_dead1", "msg_nobody", "--json"]);
    assert_eq!((one.status.code(), outcomes(&one)), (Some(1), vec![json!("applied")]));
    let again = retry(&["msg_dead1", "--json"]);
    assert_eq!((again.status.code(), outcomes(&again)), (Some(0), vec![json!("duplicate")]));
    assert_eq!(text(&retry(&["--all"]).stderr), "");
    assert_eq!(retry(&["--all"]).status.code(), Some(0), "nothing is left to do");

    // Who was in the letters is in the read model, and the service sees it.
    let member = |number: u8| {
        json!({"type": "organizationMembership.created", "timestamp": 1, "data": {
            "id": format!("orgmem_{number}"), "role": "org:member", "created_at": 1, "updated_at": 1,
            "organization": {"id": organization}, "public_user_data": {"user_id": format!("user_dead{number}")}}})
    };
    for number in [1, 2] {
        let joined = Delivery::new(&format!("msg_joined{number}"), member(number).to_string());
        assert_eq!(watched.deliver(&joined).await, "200 applied");
        let path = format!("{USERS}/user_dead{number}");
        watched.list_becomes(200, &clerk, &path, &user, &organization).await;
        let sent_again = Delivery::new(&format!("msg_dead{number}"), unusable(&format!("user_dead{number}")));
        assert_eq!(watched.deliver(&sent_again).await, "200 duplicate", "it is settled");
    }
    let scrape = watched.scrape().await;
    assert!(scrape.sum("roster_dead_letters", &[]).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_person_is_erased_with_a_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(1);
    let (watched, user, organization) = service(folder.path(), &mut clerk).await;
    let erase = |id: &str| roster(folder.path(), &["events", "erase", id, "--json"], &[]);

    let nobody = erase("user_nobody");
    assert_eq!((nobody.status.code(), text(&nobody.stdout)), (Some(1), String::new()));
    assert_eq!(watched.list(&clerk, USERS, &user, &organization).await, 200);
    let erased = erase(&user);
    assert_eq!((erased.status.code(), text(&erased.stderr)), (Some(0), String::new()));
    let receipt = &objects(&erased)[0];
    assert_eq!(
        (&receipt["id"], &receipt["outcome"], &receipt["memberships"], &receipt["events"]),
        (&json!(user), &json!("erased"), &json!(1), &json!(2))
    );
    watched.list_becomes(403, &clerk, USERS, &user, &organization).await;
    // A letter is all that is known of this one.
    assert_eq!(objects(&erase("user_dead1"))[0]["events"], 1);
    let again = &objects(&erase(&user))[0];
    assert_eq!((&again["outcome"], &again["erasedAt"]), (&json!("already"), &receipt["erasedAt"]));

    let late = clerk.create_user(NewUser::named("Nobody", "Else", "else@example.com"));
    assert_eq!(watched.deliver(&Delivery::of(&late)).await, "200 applied");
    for file in ["roster.db", "roster.db-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains("ada@example.com"), "{file}");
    }
}

/// Somebody reads the database as it was before, so what is erased cannot leave the log yet.
#[tokio::test]
async fn an_erasure_that_a_reader_holds_up_says_that_it_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(1);
    let (_watched, user, _) = service(folder.path(), &mut clerk).await;
    let erase = || roster(folder.path(), &["events", "erase", &user, "--json"], &[]);
    let holds = || {
        let bytes = std::fs::read(folder.path().join("roster.db-wal")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains("ada@example.com")
    };
    let file = SqliteConnectOptions::new().filename(folder.path().join("roster.db"));
    let mut reader = file.connect().await.unwrap();
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("SELECT * FROM users").fetch_all(&mut *reading).await.unwrap();

    let held_up = erase();
    assert_eq!((held_up.status.code(), holds()), (Some(1), true));
    assert_eq!(objects(&held_up)[0]["outcome"], "erased");
    assert!(text(&held_up.stderr).contains("run this again"), "{}", text(&held_up.stderr));

    reading.rollback().await.unwrap();
    let again = erase();
    assert_eq!((again.status.code(), text(&again.stderr), holds()), (Some(0), String::new(), false));
    assert_eq!(objects(&again)[0]["outcome"], "already");
}

#[tokio::test]
async fn a_backup_is_whole_private_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(1);
    let (watched, user, organization) = service(folder.path(), &mut clerk).await;
    let backup = |file: &str| roster(folder.path(), &["backup", file], &[]);
    let first = backup("copy.db");
    assert_eq!((first.status.code(), text(&first.stderr)), (Some(0), String::new()));
    let copy = folder.path().join("copy.db");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let bytes = std::fs::read(&copy).unwrap();
    let second = backup("copy.db");
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("is there already"), "{}", text(&second.stderr));
    assert_eq!(std::fs::read(&copy).unwrap(), bytes);
    assert_eq!(backup("nowhere/copy.db").status.code(), Some(1));

    // What another backup is writing is left alone, what a dead one has left is not, and what is no copy is.
    let at = |name: &str| folder.path().join(name);
    let lock = std::fs::File::create(at("next.db.partial.lock")).unwrap();
    lock.lock().unwrap();
    std::fs::write(at("next.db.partial"), "SQLite format 3\0 and half of the rest").unwrap();
    for beside in ["-journal", "-wal", "-shm"] {
        std::fs::write(at(&format!("next.db.partial{beside}")), "left").unwrap();
    }
    let declined = backup("next.db");
    assert_eq!(declined.status.code(), Some(1));
    assert!(text(&declined.stderr).contains("another backup is writing"), "{}", text(&declined.stderr));
    assert!(at("next.db.partial").exists());
    drop(lock);
    let after = backup("next.db");
    assert_eq!((after.status.code(), text(&after.stderr)), (Some(0), String::new()));
    // Nor is what would be taken for the copy's, or for its maker's; a finished backup may have such a name.
    for beside in ["-wal", "-shm", "-journal", ".partial", ".partial-journal", ".partial.lock"] {
        let name = format!("mine.db{beside}");
        for letter in ["SQLite format 3\0 a whole one", "a letter"] {
            std::fs::write(at(&name), letter).unwrap();
            let declined = backup("mine.db");
            assert_eq!(declined.status.code(), Some(1), "{name}");
            let said = text(&declined.stderr);
            assert!(said.contains(&format!("{name} is there already")), "{said}");
            assert_eq!(std::fs::read_to_string(at(&name)).unwrap(), letter);
            assert!(!at("mine.db").exists());
        }
        std::fs::remove_file(at(&name)).unwrap();
    }
    for beside in ["-wal", "-shm", "-journal", ".lock"] {
        let declined = backup(&format!("./roster.db{beside}"));
        assert_eq!(declined.status.code(), Some(1), "{beside}");
        let said = text(&declined.stderr);
        assert!(said.contains("is a name for files beside the database"), "{said}");
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");

    // A service on the copy answers what the first one does.
    watched.program.kill();
    let other = tempfile::tempdir().unwrap();
    std::fs::rename(&copy, other.path().join("roster.db")).unwrap();
    let restored = Watched::start(other.path(), &clerk, &[]);
    assert_eq!(restored.list(&clerk, &format!("{USERS}/{user}"), &user, &organization).await, 200);
}

#[test]
fn what_only_looks_makes_no_database() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["events", "list"][..], &["events", "erase", "user_1"], &["backup", "copy.db"]] {
        let output = roster(folder.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("DATABASE_URL"), "{}", text(&output.stderr));
    }
    roster(folder.path(), &["doctor"], &[]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn manual_pages_are_printed_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let page = text(&roster(folder.path(), &["man"], &[]).stdout);
    assert!(page.contains(".TH roster 1") && page.contains("roster\\-doctor(1)"), "{page}");
    for setting in roster::config::SETTINGS {
        assert!(page.contains(&format!("[env: {}]", setting.variable)), "{}", setting.variable);
    }
    assert_eq!(roster(folder.path(), &["man", "--to", "man1"], &[]).status.code(), Some(0));
    let retry = std::fs::read_to_string(folder.path().join("man1/roster-events-retry.1")).unwrap();
    assert!(retry.contains("dead letter") && retry.contains("roster events retry \\-\\-all"), "{retry}");
}

/// The lines of the doctor, as `mark what`, and its exit code.
fn doctor(folder: &Path, environment: &[(&str, &str)]) -> (Vec<String>, Option<i32>, String) {
    let output = roster(folder, &["doctor"], environment);
    let printed = text(&output.stdout);
    assert!(!printed.contains('\u{1b}'), "{printed}");
    let short = |line: &str| line.get(..21).unwrap_or(line).split_whitespace().collect::<Vec<_>>().join(" ");
    (printed.lines().map(short).collect(), output.status.code(), printed)
}

/// Clerk runs in here, and has to answer while the program is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_what_is_wrong_and_says_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    // The simulated clock, too, must be right.
    let mut instance = clerk(1);
    instance.advance(roster::clock::now_ms() - instance.now_ms());
    let server = Server::start(Shared::new(instance)).await.unwrap();
    let (url, jwks) = (server.url(), server.jwks_url());
    let well = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("CLERK_JWKS_URL", &*jwks),
        ("CLERK_API_URL", &*url),
        ("CLERK_SECRET_KEY", SECRET_KEY),
        ("CLERK_AUTHORIZED_PARTIES", "https://app.example.com"),
    ];
    let look = |changes: &[(&'static str, &str)]| {
        let environment: Vec<_> = well
            .iter()
            .copied()
            .filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name))
            .chain(changes.iter().copied())
            .collect();
        tokio::task::block_in_place(|| doctor(folder.path(), &environment))
    };

    let (lines, code, printed) = look(&[]);
    assert_eq!(
        lines,
        ["ok configuration", "ok database", "ok key set", "ok webhook secret", "ok Clerk API", "ok clock"],
        "{printed}"
    );
    assert_eq!(code, Some(0));
    let (lines, code, printed) = look(&[("CLERK_SECRET_KEY", "")]);
    assert_eq!((&*lines[4], code), ("warn Clerk API", Some(0)), "{printed}");

    for (changes, line, expected) in [
        (
            &[("CLERK_WEBHOOK_SIGNING_SECRET", "")][..],
            "mend webhook secret",
            "CLERK_WEBHOOK_SIGNING_SECRET=whsec_",
        ),
        (&[("CLERK_SECRET_KEY", "sk_test_wrong")], "mend Clerk API", "CLERK_SECRET_KEY"),
        (&[("CLERK_JWKS_URL", "http://127.0.0.1:1/jwks")], "mend key set", "CLERK_PUBLISHABLE_KEY"),
        (&[("CLERK_JWKS_URL", ""), ("CLERK_SECRET_KEY", "")], "mend key set", "CLERK_PUBLISHABLE_KEY=pk_"),
        (&[("CLERK_INSTANCE_ID", "ins_other")], "mend Clerk API", "another instance"),
        (&[("DATABASE_URL", "sqlite://no/such/folder.db")], "mend database", "make it, or set DATABASE_URL"),
        (&[("ROSTER_LISTEN", "nowhere")], "mend configuration", "ROSTER_LISTEN=127.0.0.1:8080"),
    ] {
        let (lines, code, printed) = look(changes);
        assert!(
            lines.iter().any(|found| found == line) && printed.contains(expected),
            "{changes:?}: {printed}"
        );
        assert_eq!(code, Some(1), "{changes:?}: {printed}");
        assert!(!printed.contains(SECRET_KEY) && !printed.contains(SECRET), "{printed}");
    }

    std::fs::write(folder.path().join("roster.db"), "").unwrap();
    let (lines, code, printed) = look(&[]);
    assert_eq!((&*lines[1], code), ("ok database", Some(0)), "{printed}");
    let theirs = SqliteConnectOptions::new().filename(folder.path().join("roster.db"));
    let mut theirs = theirs.connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE \"Account\" (id TEXT)").execute(&mut theirs).await.unwrap();
    theirs.close().await.unwrap();
    let (lines, _, printed) = look(&[]);
    assert_eq!(lines[1], "mend database", "{printed}");
    assert!(printed.contains("tables that are not Roster's"), "{printed}");

    std::fs::write(
        folder.path().join("roster.db"),
        "this is not a database, and long enough to be sure of it",
    )
    .unwrap();
    let (lines, code, printed) = look(&[]);
    assert_eq!((&*lines[1], code), ("mend database", Some(1)), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_sees_a_wrong_clock_and_two_instances() {
    let folder = tempfile::tempdir().unwrap();
    // Its clock is an hour behind.
    let late = Server::start(Shared::new(clerk(1))).await.unwrap();
    let url = late.url();
    let environment = [("CLERK_API_URL", &*url), ("CLERK_SECRET_KEY", SECRET_KEY)];
    let (lines, code, printed) = tokio::task::block_in_place(|| doctor(folder.path(), &environment));
    assert_eq!((&*lines[5], code), ("mend clock", Some(1)), "{printed}");
    assert!(printed.contains("ahead of Clerk's"), "{printed}");

    let key = roster::sim::keys::SigningKey::generate("ins_other").unwrap();
    let other = Server::start(Shared::new(Instance::new(key, 1, 0))).await.unwrap();
    let jwks = other.jwks_url();
    let environment = [&environment[..], &[("CLERK_JWKS_URL", &*jwks)]].concat();
    let (lines, _, printed) = tokio::task::block_in_place(|| doctor(folder.path(), &environment));
    assert_eq!(lines[4], "mend Clerk API", "{printed}");
    assert!(printed.contains("keys of another instance"), "{printed}");
}
