//! How the program is configured, started and stopped.

mod command;
mod configuration;
mod connections;
mod example;
mod files;
mod lifecycle;
mod manifests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty folder of this test's own.
fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("running-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}
