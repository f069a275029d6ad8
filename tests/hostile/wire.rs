//! Connections that do not speak as they should, or do not stop, or do not begin.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::delivery::Delivery;
use crate::support::site::Site;

/// Nothing that is waited for takes so long unless it never comes.
const PATIENCE: Duration = Duration::from_mins(1);
/// The first bytes of HTTP/2, and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// How many large bodies are taken in at the same time, as `api/delivery.rs` says.
const PLACES: usize = 64;

fn address(site: &Site) -> SocketAddr {
    site.url().trim_start_matches("http://").parse().unwrap()
}

async fn connect(site: &Site) -> TcpStream {
    TcpStream::connect(address(site)).await.unwrap()
}

/// Everything that comes until the other side closes. A reset is an end too.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "it does not close: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// What is answered to bytes after which nothing comes.
async fn said_to(site: &Site, bytes: &[u8]) -> String {
    let mut stream = connect(site).await;
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let write = async {
        // It may close before it has read everything.
        let _ = writer.write_all(bytes).await;
        let _ = writer.shutdown().await;
    };
    let read = timeout(PATIENCE, async {
        let _ = reader.read_to_end(&mut answer).await;
    });
    let ((), read) = tokio::join!(write, read);
    assert!(read.is_ok(), "it does not close");
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.match_indices("HTTP/1.1 ").map(|(at, text)| &answer[at + text.len()..][..3]).collect()
}

#[tokio::test]
async fn requests_behind_one_another_are_answered_in_their_order() {
    let site = Site::start().await;
    let requests: Vec<_> = (0..50)
        .map(|number| {
            let path = if number % 2 == 0 { "/healthz" } else { "/nowhere" };
            let close = if number == 49 { "Connection: close\r\n" } else { "" };
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: r{number}\r\n{close}\r\n")
        })
        .collect();
    let answer = said_to(&site, requests.concat().as_bytes()).await;
    assert_eq!(statuses(&answer), ["200", "404"].repeat(25));
    let ids: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    assert_eq!(ids, (0..50).map(|number| format!("r{number}")).collect::<Vec<_>>());
}

/// Also what is refused before there is a request says what is wrong, and has a name in the log.
fn is_a_problem(name: &str, status: &str, answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let header = |header: &str| {
        let header = format!("{header}: ");
        head.lines().find_map(|line| line.strip_prefix(&header)).unwrap_or_else(|| panic!("{name}: {answer}"))
    };
    assert_eq!(header("content-type"), "application/problem+json", "{name}");
    assert_eq!(header("content-length"), body.len().to_string(), "{name}");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["requestId"], header("x-request-id"), "{name}");
    assert_eq!(problem["status"].to_string(), status, "{name}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{name}: {answer}");
}

/// The framing of a request must be beyond doubt: whoever stands in front may see another end of it.
#[tokio::test]
async fn what_is_not_http_is_refused_and_harms_nobody() {
    let site = Site::start().await;
    let post = "POST /webhooks/clerk HTTP/1.1\r\nHost: a\r\n";
    let get = "GET /healthz HTTP/1.1\r\nHost: a\r\n";
    let second = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = "a".repeat(1 << 20);
    for (name, request, expected) in [
        ("two lengths", format!("{post}Content-Length: 3\r\nContent-Length: 40\r\n\r\nabc{second}"), "400"),
        ("a list of lengths", format!("{post}Content-Length: 3, 40\r\n\r\nabc{second}"), "400"),
        ("a negative length", format!("{post}Content-Length: -1\r\n\r\n{second}"), "400"),
        ("a length with a sign", format!("{post}Content-Length: +3\r\n\r\nabc"), "400"),
        ("a length beyond all numbers", format!("{post}Content-Length: 99999999999999999999\r\n\r\n"), "400"),
        ("a length in words", format!("{post}Content-Length: three\r\n\r\n"), "400"),
        ("another coding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "400"),
        ("chunked is not last", format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), "400"),
        (
            "a chunk beyond all numbers",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"),
            "400",
        ),
        ("a chunk in no numbers", format!("{post}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), "400"),
        ("a body cut short", format!("{post}Content-Length: 40\r\n\r\nabc"), "400"),
        ("NUL in a header", format!("{get}A: a\0b\r\n\r\n"), "400"),
        ("a space in a header's name", format!("{get}A b: c\r\n\r\n"), "400"),
        ("a header without a name", format!("{get}: c\r\n\r\n"), "400"),
        ("no colon", format!("{get}abc\r\n\r\n"), "400"),
        ("NUL in the path", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400"),
        ("a space in the path", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400"),
        ("no path", "GET HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400"),
        ("a version of the future", "GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), "400"),
        ("a megabyte of path", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "4"),
        ("a megabyte of one header", format!("{get}A: {long}\r\n\r\n"), "431"),
        ("a megabyte of headers", format!("{get}{}\r\n", "A: b\r\n".repeat(170_000)), "431"),
        ("a megabyte of name", format!("{get}{long}: b\r\n\r\n"), "431"),
        (
            "a cookie of sixty kilobytes",
            format!(
                "GET /api/v1/entities/users HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: __session={}\r\n\r\n",
                &long[..60_000]
            ),
            "401",
        ),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned(), "400"),
        ("somebody else's protocol", "EHLO example.com\r\n".to_owned(), "400"),
        (
            "a tunnel",
            "CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
            "4",
        ),
        ("a star", "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), "404"),
        (
            "somebody else's address",
            "GET http://example.com/nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
            "404",
        ),
    ] {
        let answer = said_to(&site, request.as_bytes()).await;
        let statuses = statuses(&answer);
        // Sometimes nothing is answered to what was no request; what is answered is answered once.
        assert!(statuses.len() <= 1 && !answer.contains("\"ok\""), "{name}: {answer}");
        assert!(statuses.iter().all(|status| status.starts_with(expected)), "{name}: {answer}");
        for status in statuses {
            is_a_problem(name, status, &answer);
        }
    }
    // One that speaks the older version is answered in it.
    let older =
        said_to(&site, b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\nEHLO a\r\n\r\n").await;
    let (_, refusal) = older.split_once("HTTP/1.0 400 ").expect(&older);
    is_a_problem("an older version", "400", refusal);
    // A length beside chunks: the chunks count, and the connection is not used again.
    let both = format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{second}");
    let answer = said_to(&site, both.as_bytes()).await;
    assert!(matches!(*statuses(&answer), ["400" | "401"] | ["401", "200"]), "{answer}");
    assert_eq!(site.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn frames_that_are_not_http_2_and_streams_that_are_reset_at_once_harm_nobody() {
    let site = Site::start().await;
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // `GET / HTTP` with `:authority: a`.
    let head = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
    let mut resets = PREFACE.to_vec();
    for stream in (1..20_000).step_by(2) {
        resets.extend(frame(1, 5, stream, &head));
        resets.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    let mut endless_head = [PREFACE, &frame(1, 0, 1, &head)].concat();
    for _ in 0..1_000 {
        // A header that goes on and on: `a: aaaa…`.
        let more = [&[0, 1, b'a', 0x7f, 0x81, 7][..], &[b'a'; 1024]].concat();
        endless_head.extend(frame(9, 0, 1, &more));
    }
    let huge_frame = [PREFACE, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat();
    let bomb = [PREFACE, &frame(1, 5, 1, &[0xbe; 4000])].concat();
    let settings: Vec<u8> = [PREFACE.to_vec(), frame(4, 0, 0, &[]).repeat(50_000)].concat();
    let pings: Vec<u8> = [PREFACE.to_vec(), frame(6, 0, 0, &[0; 8]).repeat(50_000)].concat();
    let garbage = [PREFACE, &[0xaa; 10_000]].concat();
    for bytes in [resets, endless_head, huge_frame, bomb, settings, pings, garbage] {
        said_to(&site, &bytes).await;
        assert_eq!(site.get("/healthz", "").await.status, 200);
    }
}

/// Takes the fifteen seconds that a body may take; all of them wait at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_too_slow_is_not_waited_for() {
    let site = Site::start().await;
    let drip = async |begin: &str, drop: &str| {
        let mut stream = connect(&site).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let (mut reader, mut writer) = stream.into_split();
        let writing = async {
            while writer.write_all(drop.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        tokio::select! {
            _ = timeout(PATIENCE, reader.read_to_end(&mut answer)) => {}
            () = writing => {}
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{begin}: {:?}", begun.elapsed());
        String::from_utf8_lossy(&answer).into_owned()
    };
    let chunked = "POST /webhooks/clerk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let declared = "POST /webhooks/clerk HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n";
    let (chunks, body, head, nothing, preface) = tokio::join!(
        drip(chunked, "1\r\nx\r\n"),
        drip(declared, "x"),
        drip("GET /healthz HTTP/1.1\r\n", "A: b\r\n"),
        drip("", ""),
        drip(std::str::from_utf8(&PREFACE[..16]).unwrap(), ""),
    );
    for answer in [chunks, body] {
        assert_eq!(statuses(&answer), ["400"], "{answer}");
        assert!(answer.contains("did not arrive in time"), "{answer}");
    }
    for answer in [head, nothing, preface] {
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_as_soon_as_it_is_too_large() {
    let site = Site::start().await;
    let mut stream = connect(&site).await;
    let head = "POST /webhooks/clerk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    let mut sent = 0;
    while stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 1 << 16;
        assert!(sent < 256 << 20, "it takes in whatever comes");
    }
}

/// Memory is held for so many large bodies and no more, and small ones need none of these places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_with_large_bodies_do_not_keep_small_ones_out() {
    let site = Site::start().await;
    let event = |id: &str, filling: usize| {
        let mut event = crate::delivery::payloads::user(id);
        event["data"]["external_id"] = "x".repeat(filling).into();
        event.to_string()
    };
    let large = event("user_large", 100_000);
    assert_eq!(site.deliver_as("msg_0", large.clone()).await, "200 applied");
    let half = format!(
        "POST /webhooks/clerk HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let mut strangers: FuturesUnordered<_> = (0..PLACES + 16)
        .map(async |_| {
            let mut stream = connect(&site).await;
            stream.write_all(half.as_bytes()).await.unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.unwrap();
            assert_eq!(&status, b"HTTP/1.1 503");
        })
        .collect();
    for _ in 0..16 {
        timeout(PATIENCE, strangers.next()).await.unwrap().unwrap();
    }
    // Whoever was not told to come again has a place now.
    let refused = site.post(&Delivery::new("msg_0", large.clone())).await;
    assert_eq!(refused.problem(), "503 UNAVAILABLE");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(site.deliver_as("msg_1", event("user_small", 1_000)).await, "200 applied");
    drop(strangers);
    let begun = Instant::now();
    while site.post(&Delivery::new("msg_0", large.clone())).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "their places are not given back");
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_is_closed_on_both_sides() {
    let site = Site::start().await;
    let mut stream = connect(&site).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(until_closed(&mut stream).await.ends_with(r#"{"status":"ok"}"#));
}
