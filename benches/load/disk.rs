//! What the disk and SQLite can do at best, for comparison with durable writes.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::node;

/// How often a second a page can be appended and known to be on the disk.
pub(crate) fn syncs_per_second(folder: &Path, time: Duration) -> f64 {
    let mut file = File::create(folder.join("syncs")).unwrap();
    let (page, begun) = ([7; 4_096], Instant::now());
    let mut syncs = 0_u32;
    while begun.elapsed() < time {
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    f64::from(syncs) / begun.elapsed().as_secs_f64()
}

/// How many rows a second SQLite takes, each in a durable transaction of its own.
pub(crate) fn inserts_per_second(folder: &Path, time: Duration) -> f64 {
    let mut command = Command::new("node");
    command.arg(node("insert.mjs")).arg(folder.join("inserts.db")).arg(time.as_secs_f64().to_string());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
