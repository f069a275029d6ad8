//! Growing out of a file, and back into one.

use std::path::Path;
use std::process::{Command, Output};

use roster::config::Database;
use secrecy::ExposeSecret as _;

use super::fleet::Story;
use crate::support::cluster::Cluster;
use crate::support::database::{Rows, server_database};
use crate::support::site::Site;

fn url(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => format!("sqlite:{}", path.display()),
        Database::Postgres(url) => url.expose_secret().to_owned(),
    }
}

fn move_site(from: &Database, to: &Database) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.args(["migrate-store", "--from", &url(from), "--to", &url(to)]).env_clear();
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

async fn everything(database: &Database) -> Vec<String> {
    let rows = Rows::in_database(database).await;
    let everything = rows.everything().await;
    rows.close().await;
    everything
}

/// A site that something has happened to, and its folder.
async fn site() -> (tempfile::TempDir, Database) {
    let site = Site::start().await;
    for event in &Story::new().events {
        site.deliver(event).await;
    }
    let folder = site.stop().await;
    let file = Database::Sqlite(folder.path().join("roster.db"));
    (folder, file)
}

fn beside(folder: &Path, name: &str) -> Database {
    Database::Sqlite(folder.join(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_is_the_same_row_by_row_after_a_move_to_a_server_and_back() {
    let (folder, file) = site().await;
    let server = server_database().await;
    let moved = move_site(&file, &server);
    assert!(moved.status.success(), "{}", said(&moved));
    let before = everything(&file).await;
    assert!(before.len() > 1_000);
    assert_eq!(everything(&server).await, before);

    let again = move_site(&file, &server);
    assert_eq!(again.status.code(), Some(1), "the target holds a site: {}", said(&again));
    assert_eq!(everything(&server).await, before);

    let back = beside(folder.path(), "back.db");
    let moved = move_site(&server, &back);
    assert!(moved.status.success(), "{}", said(&moved));
    assert_eq!(everything(&back).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_cut_off_goes_on_and_nobody_serves_half_a_site() {
    let (_folder, file) = site().await;
    let server = server_database().await;
    assert!(move_site(&file, &server).status.success());
    // As it is left by a move that stopped in the memberships.
    let cut = "INSERT INTO sequences VALUES ('moving', 1);
        DELETE FROM memberships WHERE id > (SELECT MAX(id) FROM (SELECT id FROM memberships ORDER BY id LIMIT 9) AS x);
        DELETE FROM invitations; DELETE FROM members; DELETE FROM events; DELETE FROM changes;
        UPDATE sequences SET value = 0 WHERE name = 'version'";
    let url = url(&server);
    let (_, database) = url.rsplit_once('/').unwrap();
    Cluster::shared().run(database, cut).await;

    let mut serve = Command::new(env!("CARGO_BIN_EXE_roster"));
    serve.arg("serve").env_clear().env("DATABASE_URL", &url);
    serve.env("ROSTER_LISTEN", "127.0.0.1:0").env("ROSTER_OPS_LISTEN", "127.0.0.1:0");
    let served = serve.output().unwrap();
    assert_eq!(served.status.code(), Some(1), "{}", said(&served));
    assert!(said(&served).contains("migrate-store"), "{}", said(&served));

    let moved = move_site(&file, &server);
    assert!(moved.status.success(), "{}", said(&moved));
    assert_eq!(everything(&server).await, everything(&file).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_is_served_is_not_moved() {
    let server = server_database().await;
    let site = Site::start().await;
    let file = Database::Sqlite(site.folder().join("roster.db"));
    assert_eq!(move_site(&file, &server).status.code(), Some(2));
    let on_server = Site::start_with(|config| config.database = server.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(move_site(&server, &beside(folder.path(), "new.db")).status.code(), Some(2));
    on_server.stop().await;
    site.stop().await;
}
