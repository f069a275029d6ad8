use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};

use roster::app::Claim;

use super::folder;

/// The real program, in an empty folder, with nothing of our environment.
fn roster(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).current_dir(folder());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn wrong_usage_ends_with_two() {
    for arguments in [&["serve", "--nonsense"][..], &["nonsense"], &[], &["serve", "--listen"]] {
        assert_eq!(roster(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_wrong_configuration_ends_with_two_and_names_everything() {
    let environment = [("ROSTER_LISTEN", "nowhere"), ("CLERK_SECRET_KEY", "hush"), ("CLERK_JWT_KEY", "hush")];
    let output = roster(&["serve", "--database-url", "mysql://u:hush@h/db"], &environment);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for expected in [
        "has 4 errors",
        "DATABASE_URL (flag)",
        "ROSTER_LISTEN (environment)",
        "CLERK_SECRET_KEY",
        "CLERK_JWT_KEY",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
    assert!(!errors.contains("hush"), "{errors}");
}

#[test]
fn help_names_every_command_and_the_long_help_every_variable() {
    let short = text(&roster(&["-h"], &[]).stdout);
    assert!(short.contains("serve") && short.contains("completions"), "{short}");
    let long = roster(&["serve", "--help"], &[("CLERK_SECRET_KEY", "hush")]);
    let long = text(&long.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in roster::config::SETTINGS {
        assert!(long.contains(&format!("[env: {}]", setting.variable)), "{}", setting.variable);
    }
    assert!(!long.contains("hush"), "{long}");
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = roster(&["completions", shell], &[]);
        assert!(output.status.success() && text(&output.stdout).contains("roster"), "{shell}");
    }
}

#[test]
fn a_second_service_on_one_database_is_declined() {
    let database = folder().join("one.db");
    let _first = Claim::take(&database).unwrap();
    let url = format!("sqlite://{}", database.display());
    let output = roster(&["serve", "--listen", "127.0.0.1:0"], &[("DATABASE_URL", &url)]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("another `roster serve` uses"), "{errors}");
}

#[test]
fn health_asks_the_service_that_is_configured() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let answers = std::thread::spawn(move || {
        for answer in ["HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let length = stream.read(&mut head).unwrap();
            assert!(head[..length].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(format!("{answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
        }
    });
    // What else is configured, right or wrong, does not matter here.
    let environment = [("PORT", port.as_str()), ("CLERK_SECRET_KEY", "wrong")];
    assert_eq!(roster(&["health"], &environment).status.code(), Some(0));
    assert_eq!(roster(&["health"], &environment).status.code(), Some(1));
    answers.join().unwrap();
    assert_eq!(roster(&["health"], &environment).status.code(), Some(1), "nobody listens any more");
}

/// `script` gives the command a terminal.
#[cfg(target_os = "linux")]
#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let doctor = format!("{} doctor", env!("CARGO_BIN_EXE_roster"));
    let on_a_terminal = |no_color: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", &doctor, "/dev/null"]).env("NO_COLOR", no_color).current_dir(folder());
        command.stdin(std::process::Stdio::null());
        text(&command.output().expect("Debian has `script` in bsdutils").stdout)
    };
    assert!(on_a_terminal("").contains("\u{1b}[33mwarn\u{1b}[0m"), "{:?}", on_a_terminal(""));
    assert!(!on_a_terminal("1").contains('\u{1b}'));
    assert!(!text(&roster(&["doctor"], &[]).stdout).contains('\u{1b}'));
}
