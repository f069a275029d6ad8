//! The whole program under load, beside what it should be compared with, in one run: `cargo bench --bench load`.
//!
//! Every server is the real thing in a process of its own: Roster's release build on a SQLite file or on
//! PostgreSQL, nginx with a static file, and the Node service of `benches/node/`. `benches/README.md` says what each row is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark may panic, and its figures are not money"
)]

mod client;
#[allow(dead_code, unreachable_pub, reason = "the tests use all of it")]
#[path = "../../tests/support/cluster.rs"]
mod cluster;
mod data;
mod disk;
mod machine;
mod measure;
mod plot;
mod process;
mod report;
mod response;
mod rows;
mod servers;
#[path = "../town/mod.rs"]
mod town;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use measure::Turns;
use rows::ROWS;
use town::Town;
use town::clerk::Clerk;

/// What every row needs to know.
pub(crate) struct Bench {
    clerk: Clerk,
    turns: Turns,
    /// Where most rows happen.
    town: Town,
    /// Ascending.
    sizes: [Town; 3],
    /// In turn, in the row of that name.
    tokens: usize,
    /// That reads are spread over.
    organizations: usize,
}

impl Bench {
    fn full() -> Self {
        Self {
            clerk: Clerk::new(),
            turns: Turns { rounds: 7, time: Duration::from_secs(2) },
            town: Town { users: 200_000, large: 50_000 },
            sizes: [20_000, 200_000, 1_000_000].map(|users| Town { users, large: 0 }),
            tokens: 1_000,
            organizations: 5_000,
        }
    }

    /// Says whether everything works, and not much more.
    fn quick() -> Self {
        Self {
            turns: Turns { rounds: 3, time: Duration::from_millis(500) },
            town: Town { users: 20_000, large: 5_000 },
            sizes: [2_000, 20_000, 100_000].map(|users| Town { users, large: 0 }),
            tokens: 200,
            organizations: 500,
            ..Self::full()
        }
    }
}

/// A file of `benches/node/`.
pub(crate) fn node(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/node").join(file)
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (flags, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.starts_with("--"));
    let known = |name: &str| ROWS.iter().any(|(row, _)| *row == name);
    if !flags.iter().all(|flag| *flag == "--quick" || *flag == "--save")
        || !names.iter().all(|name| known(name))
    {
        let rows: Vec<_> = ROWS.iter().map(|(row, _)| *row).collect();
        eprintln!("usage: cargo bench --bench load -- [--quick] [--save] [ROW…]\nrows: {}", rows.join(" "));
        std::process::exit(2);
    }
    let is_quick = flags.iter().any(|flag| *flag == "--quick");
    let is_full = names.is_empty() && !is_quick;
    install_node_packages();
    let bench = if is_quick { Bench::quick() } else { Bench::full() };
    let machine = machine::describe();
    println!("{machine}\n");
    let mut sections = Vec::new();
    for (row, measure) in ROWS {
        if names.is_empty() || names.iter().any(|name| *name == row) {
            for section in measure(&bench) {
                println!("{}", section.markdown());
                sections.push(section);
            }
        }
    }
    if is_full || flags.iter().any(|flag| *flag == "--save") {
        save(&sections, &machine);
    }
}

fn save(sections: &[report::Section], machine: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    fs::create_dir_all(&folder).unwrap();
    let tables: Vec<_> = sections.iter().map(report::Section::markdown).collect();
    let tables = tables.join("\n");
    let text =
        format!("# Results of `cargo bench --bench load`\n\n{machine}\n\n![As bars](load.svg)\n\n{tables}");
    fs::write(folder.join("load.md"), text).unwrap();
    fs::write(folder.join("load.svg"), plot::svg(sections, machine)).unwrap();
    println!("written to {}", folder.display());
}

/// What the lock file says, once.
fn install_node_packages() {
    let age = |file: &str| fs::metadata(node(file)).and_then(|file| file.modified()).ok();
    if age("node_modules/.package-lock.json") < age("package-lock.json") {
        let installed =
            Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(node("")).status();
        assert!(
            installed.is_ok_and(|status| status.success()),
            "`npm ci` failed; Node 20 or newer is needed"
        );
    }
}
