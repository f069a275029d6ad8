use std::net::TcpListener;

use super::watched::Watched;
use crate::support::answer::Answer;
use crate::support::binary::Program;
use crate::support::site::clerk;

#[tokio::test]
async fn metrics_are_on_the_operators_listener_alone() {
    let folder = tempfile::tempdir().unwrap();
    let watched = Watched::start(folder.path(), &clerk(1), &[]);
    let metrics = format!("{}/metrics", watched.ops);

    let got = watched.ask("GET", &metrics).await;
    assert_eq!(got.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(got.header("x-request-id").is_some());
    let head = watched.ask("HEAD", &metrics).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), got.header("content-type"));
    let packed = Answer::of(watched.request("GET", &metrics).header("accept-encoding", "gzip")).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"), "as Prometheus asks for it");

    let posted = watched.ask("POST", &metrics).await;
    assert_eq!(posted.problem(), "405 METHOD_NOT_ALLOWED");
    assert_eq!(posted.header("allow"), Some("GET, HEAD"));
    for elsewhere in ["/healthz", "/console", "/api/v1/entities/users", "/webhooks/clerk"] {
        let answer = watched.ask("GET", &format!("{}{elsewhere}", watched.ops)).await;
        assert_eq!(answer.problem(), "404 NOT_FOUND", "{elsewhere}");
    }
    assert_eq!(watched.ask("GET", &format!("{}/metrics", watched.service)).await.problem(), "404 NOT_FOUND");

    watched.program.terminate();
    let Watched { program, ops, .. } = watched;
    assert_eq!(program.wait().code(), Some(0));
    assert!(std::net::TcpStream::connect(ops.trim_start_matches("http://")).is_err());
}

#[test]
fn a_taken_address_is_named_with_its_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let environment = [("ROSTER_LISTEN", "127.0.0.1:0"), ("ROSTER_OPS_LISTEN", &*address)];
    for (command, code) in [("serve", 1), ("dev", 2)] {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::start(folder.path(), &[command], &environment);
        let line = program.wait_for("error: ").to_owned();
        assert!(line.contains("ROSTER_OPS_LISTEN") && line.contains(&address), "{line}");
        assert_eq!(program.wait().code(), Some(code), "{command}");
    }
}

/// Prometheus itself listens on the usual address.
#[tokio::test]
async fn the_demo_takes_another_address_when_the_usual_one_is_taken() {
    // Somebody has it, be it this test or another program.
    let _taken = TcpListener::bind("127.0.0.1:9090");
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(folder.path(), &["dev"], &[("ROSTER_LISTEN", "127.0.0.1:0")]);
    let line = program.wait_for("metrics are on ").to_owned();
    let url = line.split(' ').find(|word| word.contains("/metrics")).unwrap().trim_end_matches('.');
    assert!(!url.contains(":9090/"), "{line}");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let text = Answer::of(client.get(url)).await.text();
    assert!(text.contains(r#"roster_read_model_rows{entity="users"}"#), "{text}");
}

#[test]
fn a_service_goes_on_when_the_usual_address_is_taken() {
    // Somebody has it, be it this test or another program.
    let _taken = TcpListener::bind("127.0.0.1:9090");
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(folder.path(), &["serve"], &[("ROSTER_LISTEN", "127.0.0.1:0")]);
    let line = program.wait_for("usual address is taken").to_owned();
    assert!(line.contains("ROSTER_OPS_LISTEN"), "{line}");
    program.wait_for("listening");
}
