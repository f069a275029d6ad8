//! `roster dev --lose`: events are withheld, one printed line mends the lists.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::binary::Program;

const EPHEMERAL: [(&str, &str); 2] = [("ROSTER_LISTEN", "127.0.0.1:0"), ("ROSTER_OPS_LISTEN", "127.0.0.1:0")];

fn dev(folder: &Path, arguments: &[&str]) -> Program {
    let mut program = Program::start(folder, &[&["dev"], arguments].concat(), &EPHEMERAL);
    program.wait_for("Ctrl-C");
    program
}

/// Pastes a line into a shell in a folder; returns what it prints.
fn paste(folder: &Path, line: &str) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-c", line]).current_dir(folder);
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        shell.env_remove(proxy);
    }
    let output = shell.output().expect("bash must be installed");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn lines<'a>(program: &'a Program, begin: &'a str) -> Vec<&'a String> {
    program.seen().iter().filter(|line| line.starts_with(begin)).collect()
}

/// What the printed lines print, line by line.
fn lists(folder: &Path, program: &Program) -> Vec<Value> {
    let lines = lines(program, "curl ");
    lines.into_iter().map(|line| serde_json::from_str(&paste(folder, line)).unwrap()).collect()
}

/// The rows of a drift table: `seen missing stale gone repaired refused` of each entity.
fn table(printed: &str) -> Vec<Vec<u64>> {
    let numbers = |line: &str| line.split_whitespace().filter_map(|cell| cell.parse().ok()).collect();
    printed.lines().map(numbers).filter(|row: &Vec<u64>| row.len() == 6).collect()
}

#[test]
fn the_printed_line_mends_what_was_lost() {
    let whole = tempfile::tempdir().unwrap();
    let truth = lists(whole.path(), &dev(whole.path(), &[]));
    assert_eq!(truth.len(), 3);

    // A folder whose name a shell would take apart.
    let folder = tempfile::Builder::new().prefix("it's a demo ").tempdir().unwrap();
    let demo = dev(folder.path(), &["--lose", "20%"]);
    let before = lists(folder.path(), &demo);
    assert_ne!(before, truth, "what was lost is missed");

    let reconcile = lines(&demo, "DATABASE_URL=");
    assert_eq!(reconcile.len(), 1, "{:#?}", demo.seen());
    let printed = paste(folder.path(), reconcile[0]);
    let rows = table(&printed);
    assert_eq!(rows.len(), 4, "{printed}");
    assert!(rows.iter().any(|row| row[1] + row[2] + row[3] > 0), "{printed}");
    assert!(rows.iter().all(|row| row[4] == row[1] + row[2] + row[3] && row[5] == 0), "{printed}");
    // What another process writes is seen within a second.
    let deadline = Instant::now() + Duration::from_secs(1);
    while lists(folder.path(), &demo) != truth {
        assert!(Instant::now() < deadline, "the lists are right again");
    }

    let again = table(&paste(folder.path(), reconcile[0]));
    assert!(again.iter().all(|row| row[1..] == [0; 5]), "{again:?}");
    demo.terminate();
    assert_eq!(demo.wait().code(), Some(0));
}

#[test]
fn whatever_is_lost_comes_back() {
    let whole = tempfile::tempdir().unwrap();
    let truth = lists(whole.path(), &dev(whole.path(), &[]));
    for lose in ["5", "50%", "90"] {
        let folder = tempfile::tempdir().unwrap();
        let demo = dev(folder.path(), &["--lose", lose]);
        for line in lines(&demo, "DATABASE_URL=") {
            paste(folder.path(), line);
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        while lists(folder.path(), &demo) != truth {
            assert!(Instant::now() < deadline, "{lose}");
        }
    }
}
