use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::town::{SECRET, Town, acknowledged};

/// The longest that open requests are waited for, and a little for the rest.
const DRAIN: Duration = Duration::from_secs(30);

/// A delivery whose head is there, and whose body is still to come.
struct Begun {
    stream: BufReader<TcpStream>,
    rest: Vec<u8>,
}

impl Begun {
    /// Returns once the service has begun to read the body: it says so, being asked.
    fn new(service: &str, number: usize) -> Self {
        let address = service.trim_start_matches("http://");
        let body = format!(
            r#"{{"type":"user.created","timestamp":1,"data":{{"id":"user_begun{number}","created_at":1,"updated_at":1}}}}"#
        );
        let id = format!("msg_begun{number}");
        let at_s = roster::clock::now_ms() / 1000;
        let webhook = svix::webhooks::Webhook::new(SECRET).unwrap();
        let signature = webhook.sign(&id, at_s, body.as_bytes()).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DRAIN)).unwrap();
        write!(
            stream,
            "POST /webhooks/clerk HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
             svix-id: {id}\r\nsvix-timestamp: {at_s}\r\nsvix-signature: {signature}\r\n\r\n",
            body.len()
        )
        .unwrap();
        let mut begun = Self { stream: BufReader::new(stream), rest: body.into_bytes() };
        assert_eq!(begun.line(), "HTTP/1.1 100 Continue");
        assert_eq!(begun.line(), "");
        begun
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends the rest, and reads to the end of the connection.
    fn finish(mut self) -> String {
        self.stream.get_mut().write_all(&self.rest).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn a_stop_under_load_loses_nothing_and_answers_what_has_begun() {
    let mut town = Town::new(7);
    let mut program = town.serve();
    let service = program.wait_until_it_listens();
    let begun: Vec<_> = (0..4).map(|number| Begun::new(&service, number)).collect();
    let events = town.live(600);
    let deliveries = town.send(&service, events.clone());
    for _ in 0..60 {
        program.wait_for(r#""message":"delivery""#);
    }

    let asked = Instant::now();
    program.terminate();
    program.wait_for("stopping");
    for begun in begun {
        let answer = begun.finish();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"outcome":"applied"}"#), "{answer}");
    }
    assert_eq!(program.wait().code(), Some(0));
    assert!(asked.elapsed() < DRAIN, "{:?}", asked.elapsed());
    let delivered = town.runtime.block_on(deliveries).unwrap();
    let acknowledged = acknowledged(&delivered);
    assert!(acknowledged.len() < events.len(), "the stop came after the load");

    assert!(!town.folder().join("roster.db-wal").exists(), "the log was put away");
    let journal = town.journal();
    for id in acknowledged.iter().map(String::as_str).chain(["msg_begun0", "msg_begun3"]) {
        assert!(journal.contains_key(id), "{id}");
    }
    let mut program = town.serve();
    let service = program.wait_until_it_listens();
    let again = town.send(&service, events);
    for delivered in town.runtime.block_on(again).unwrap() {
        assert_eq!(delivered.status(), 200, "{delivered:?}");
    }
    assert_eq!(town.answers(&service), town.truth());
}

#[test]
fn a_second_signal_waits_for_nobody() {
    let town = Town::new(9);
    let mut program = town.serve();
    let service = program.wait_until_it_listens();
    let begun = Begun::new(&service, 0);
    let asked = Instant::now();
    program.terminate();
    program.wait_for("stopping");
    program.terminate();
    assert_eq!(program.wait().code(), Some(1));
    // Not the 25 s that the request would have had.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    drop(begun);
}

#[test]
fn a_second_service_on_the_file_is_declined_and_the_first_goes_on() {
    let mut town = Town::new(8);
    let mut first = town.serve();
    let service = first.wait_until_it_listens();
    let mut second = town.serve();
    second.wait_for("another `roster serve`");
    assert_eq!(second.wait().code(), Some(2));
    let events = town.live(3);
    let deliveries = town.send(&service, events);
    assert!(town.runtime.block_on(deliveries).unwrap().iter().all(|one| one.status() == 200));
    assert_eq!(town.answers(&service), town.truth());
}
