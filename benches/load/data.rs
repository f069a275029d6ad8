//! The database files. Filling one takes a minute, so it is kept in `target/` until the schema or the people change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roster::config::Database;
use roster::domain::Change;
use roster::store::Store;
use tempfile::TempDir;

use super::cluster::Cluster;
use super::node;
use crate::town::Town;

/// How many changes go through the store's door at once.
const AT_ONCE: usize = 2_000;

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("load");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A new folder on the disk that is measured.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in(folder()).unwrap()
}

/// A folder with a copy of the town's `roster.db`.
pub(crate) fn roster_folder(town: Town) -> TempDir {
    copy(&kept(town, "roster", |file| fill(town, file)), "roster.db")
}

/// A folder with a copy of the town's `node.db`: the same people, in the tables of the Node service.
pub(crate) fn node_folder(town: Town) -> TempDir {
    let source = kept(town, "roster", |file| fill(town, file));
    let file = kept(town, "node", |file| {
        let mut command = Command::new("node");
        assert!(command.arg(node("fill.mjs")).args([file, &source]).status().unwrap().success());
    });
    copy(&file, "node.db")
}

/// A server with its usual settings, on the disk that is measured, and its database with the town's people.
pub(crate) fn on_postgres(town: Town) -> (Cluster, String) {
    let cluster = Cluster::start_in(&folder(), &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(cluster.database());
    let source = roster_folder(town);
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.args(["migrate-store", "--from", "sqlite://roster.db", "--to", &cluster.url(&database)]);
    let moved = command.env_clear().current_dir(source.path()).output().unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    // Otherwise it would be done while somebody is measured.
    for housekeeping in ["VACUUM ANALYZE", "CHECKPOINT"] {
        runtime.block_on(cluster.run(&database, housekeeping));
    }
    (cluster, database)
}

fn copy(file: &Path, name: &str) -> TempDir {
    let folder = scratch();
    let to = folder.path().join(name);
    fs::copy(file, &to).unwrap();
    // What is still to be written must not be written while somebody is measured.
    fs::File::open(to).unwrap().sync_all().unwrap();
    folder
}

fn kept(town: Town, kind: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let file = folder().join(format!("{kind}-{}-{}-{}.db", town.users, town.large, fingerprint()));
    if !file.exists() {
        eprintln!("filling {}", file.display());
        let place = scratch();
        let new = place.path().join("new.db");
        make(&new);
        let log = fs::metadata(new.with_extension("db-wal")).map_or(0, |log| log.len());
        assert_eq!(log, 0, "the file is not complete without its log");
        fs::rename(new, &file).unwrap();
    }
    file
}

fn fill(town: Town, file: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&Database::Sqlite(file.to_owned())).await.unwrap();
        let mut changes = town.changes();
        loop {
            let some: Vec<Change> = changes.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            store.apply(some).await.unwrap();
        }
        store.close().await;
    });
}

/// Of everything that decides what is in a file.
fn fingerprint() -> String {
    let mut sources = Vec::new();
    for folder in ["migrations/sqlite", "benches/town", "benches/node"] {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|kind| kind == "sql") || file.ends_with("mod.rs"));
        files.sort();
        sources.extend(files.into_iter().flat_map(|file| fs::read(file).unwrap()));
    }
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, &sources).as_ref()[..9])
}
