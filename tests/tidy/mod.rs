//! The tree keeps its own rules: which room knows what, how long a file is, who may ask for the time.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest a source file may be, in lines.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// Asserts that no file of a room says any of these words.
fn knows_nothing_of(room: &str, words: &[&str]) {
    let path = root().join("src").join(room);
    let files =
        if path.is_dir() { sources(&path) } else { vec![(path.clone(), fs::read_to_string(&path).unwrap())] };
    assert!(!files.is_empty(), "{room} is gone: change this test with it");
    for (path, text) in files {
        for word in words {
            assert!(!text.contains(word), "{} must know nothing of `{word}`", path.display());
        }
    }
}

#[test]
fn rooms_know_only_what_is_theirs() {
    let rooms =
        ["api", "app", "cli", "clerk", "config", "ops", "reconcile", "replay", "sim", "store", "webhook"];
    let all: Vec<_> = rooms.iter().map(|room| format!("crate::{room}")).collect();
    knows_nothing_of("domain", &all.iter().map(String::as_str).collect::<Vec<_>>());
    knows_nothing_of("domain", &["sqlx", "axum", "tokio::", "reqwest"]);
    knows_nothing_of("clerk", &["axum", "sqlx", "crate::store", "crate::api", "crate::webhook"]);
    knows_nothing_of("api", &["sqlx", "SELECT ", "crate::clerk::event", "crate::clerk::object"]);
    knows_nothing_of("reconcile", &["axum", "sqlx", "crate::api", "crate::webhook", "crate::app"]);
    knows_nothing_of("webhook", &["sqlx", "SELECT ", "crate::api"]);
    knows_nothing_of("ops", &["sqlx", "SELECT ", "crate::clerk::object"]);
    knows_nothing_of("store", &["axum", "crate::clerk", "crate::api", "crate::webhook", "crate::clock"]);
}

/// JSON would have nothing of its causes; `telemetry::causes` says them.
#[test]
fn no_error_is_logged_without_its_causes() {
    knows_nothing_of("", &["as &dyn std::error::Error"]);
}

#[test]
fn sql_lives_in_the_store_alone() {
    for room in ["api", "app", "cli", "clerk", "config", "domain", "ops", "reconcile", "replay", "webhook"] {
        knows_nothing_of(room, &["sqlx::query", "INSERT INTO", "UPDATE "]);
    }
}

#[test]
fn production_never_imports_the_simulated_clerk() {
    for room in [
        "api",
        "app",
        "clerk",
        "config",
        "domain",
        "ops",
        "reconcile",
        "replay",
        "store",
        "webhook",
        "main.rs",
    ] {
        knows_nothing_of(room, &["crate::sim", "roster::sim"]);
    }
}

#[test]
fn only_a_caller_makes_a_question() {
    let made = |text: &str| text.contains("MemberQuery {");
    let makers: Vec<_> = sources(&root().join("src"))
        .into_iter()
        .filter(|(_, text)| made(&text.replace("pub struct MemberQuery {", "")))
        .map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(makers, ["caller.rs"]);
}

#[test]
fn no_file_hides_a_second_room() {
    for folder in ["src", "tests"] {
        for (path, text) in sources(&root().join(folder)) {
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    for table in ["dependencies", "dev-dependencies"] {
        for name in manifest[table].as_table().unwrap().keys() {
            assert!(
                architecture.contains(&format!("`{name}`")),
                "ARCHITECTURE.md gives no reason for {name}"
            );
        }
    }
}

/// While instances are replaced one by one, the old program works on the new schema.
#[test]
fn a_migration_adds() {
    let takes_away = |text: &str| {
        ["DROP ", "RENAME ", "ALTER COLUMN "].iter().any(|word| text.to_uppercase().contains(word))
    };
    let mut before_the_first_release = false;
    for database in ["sqlite", "postgres"] {
        for entry in fs::read_dir(root().join("migrations").join(database)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name > "0008" {
                assert!(!takes_away(&text), "{}: an older instance may still need that", path.display());
            } else {
                before_the_first_release |= takes_away(&text);
            }
        }
    }
    assert!(before_the_first_release, "what a migration takes away is not recognized");
}
