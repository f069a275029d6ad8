use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::support::binary::Program;

/// An address that stays free while the demo restarts: below the range from which the system hands out ports
/// to connections and to the other tests.
fn address() -> String {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let free = (first..first + 1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    format!("127.0.0.1:{}", free.unwrap())
}

fn dev(folder: &Path, address: &str, arguments: &[&str]) -> Program {
    let environment = [("ROSTER_LISTEN", address), ("ROSTER_OPS_LISTEN", "127.0.0.1:0")];
    let mut program = Program::start(folder, &[&["dev"], arguments].concat(), &environment);
    program.wait_for("Ctrl-C");
    program
}

/// The lines to copy, as they are printed.
fn lines(program: &Program) -> Vec<String> {
    program.seen().iter().filter(|line| line.starts_with("curl ")).cloned().collect()
}

/// Pastes a line into a shell; returns what it prints.
fn paste(line: &str) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-c", line]);
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        shell.env_remove(proxy);
    }
    let output = shell.output().expect("bash must be installed");
    assert!(output.status.success(), "curl must be installed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn people(line: &str) -> usize {
    let printed = paste(line);
    let people: Vec<serde_json::Value> =
        serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"));
    people.len()
}

#[test]
fn the_printed_lines_work_in_a_shell_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let address = address();
    let first = dev(folder.path(), &address, &[]);
    let printed = lines(&first);
    assert_eq!(printed.len(), 3, "{:#?}", first.seen());
    for line in &printed {
        assert_eq!(people(line), 13, "{line}");
    }

    let database = [
        ("DATABASE_URL", "sqlite://.roster-dev/roster.db"),
        ("ROSTER_LISTEN", "127.0.0.1:0"),
        ("ROSTER_OPS_LISTEN", "127.0.0.1:0"),
        ("ROSTER_LOG_FORMAT", "json"),
    ];
    let serve = Program::start(folder.path(), &["serve"], &database);
    assert_eq!(serve.wait().code(), Some(2), "the demo has the database");

    first.terminate();
    assert_eq!(first.wait().code(), Some(0));
    let second = dev(folder.path(), &address, &[]);
    assert!(second.seen().iter().any(|line| line.contains("there already")), "{:#?}", second.seen());
    for line in printed.iter().chain(&lines(&second)) {
        assert_eq!(people(line), 13, "{line}");
    }

    second.kill();
    let anew = dev(folder.path(), &address, &["--reset"]);
    assert!(paste(&printed[0]).contains(r#""code":"UNAUTHORIZED""#), "the old key is forgotten");
    for line in lines(&anew) {
        assert_eq!(people(&line), 13, "{line}");
    }
}
