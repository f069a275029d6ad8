//! The console without a browser: what it shows as it happens, and who may do what.

use std::time::{Duration, Instant};

use reqwest::Response;
use roster::sim::NewUser;
use serde_json::Value;

use super::commands::{understand_dead_letters, unusable};
use super::watched::{Watched, ada};
use crate::support::answer::Answer;
use crate::support::delivery::Delivery;
use crate::support::site::clerk;

const TOKEN: &str = "a-long-random-text";
const RIGHT: (&str, &str) = ("authorization", "Bearer a-long-random-text");
const LETTER: &str = "/console/events/msg_%2F%20letter/retry";

/// Server-sent events, as they come.
struct Stream {
    answer: Response,
    text: String,
}

impl Stream {
    async fn open(watched: &Watched) -> Self {
        let answer = watched.request("GET", &format!("{}/console/stream", watched.ops)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// The next message of a name.
    async fn next(&mut self, name: &str) -> Value {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(content) = message.strip_prefix(&format!("event: {name}\ndata: ")) {
                    return serde_json::from_str(content).unwrap();
                }
            }
            let chunk = self.answer.chunk().await.unwrap().expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn the_stream_shows_what_happens_and_ends_with_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(1);
    let watched = Watched::start(folder.path(), &clerk, &[]);
    let mut stream = Stream::open(&watched).await;
    let status = stream.next("status").await;
    assert_eq!((&status["lastEventAt"], &status["actions"]), (&Value::Null, &Value::Bool(false)));
    assert_eq!(stream.next("passes").await, serde_json::json!([]));

    let event = clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com"));
    assert_eq!(watched.deliver(&Delivery::of(&event)).await, "200 applied");
    let events = stream.next("events").await;
    assert_eq!((events.as_array().unwrap().len(), &events[0]["subject"]), (1, &event.id().into()));
    assert_eq!(
        watched.deliver(&Delivery::new("msg_letter", unusable("user_1"))).await,
        "422 UNPROCESSABLE_EVENT"
    );
    assert_eq!(stream.next("status").await["deadLetters"], 1);
    let dead = stream.next("dead").await;
    assert_eq!((&dead[0]["id"], &dead[0]["outcome"]), (&"msg_letter".into(), &"dead".into()));
    // Only what is new comes again, and nothing of what it says.
    let events = stream.next("events").await;
    assert_eq!(events.as_array().unwrap().len(), 1, "{events}");
    for personal in ["Ada", "ada@example.com", "Mark"] {
        assert!(!format!("{dead}{events}").contains(personal), "{personal}");
    }
    let look = |query: &str| format!("{}/console/events?{query}", watched.ops);
    let found = watched.ask("GET", &look("outcome=dead&subject=user_1")).await;
    let found: Value = serde_json::from_str(&found.text()).unwrap();
    assert_eq!(
        (found["events"].as_array().unwrap().len(), &found["events"][0]["id"]),
        (1, &"msg_letter".into())
    );

    let asked = Instant::now();
    watched.program.terminate();
    while stream.answer.chunk().await.unwrap().is_some() {}
    assert_eq!(watched.program.wait().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "the stream kept it: {:?}", asked.elapsed());
}

#[tokio::test]
async fn actions_need_the_token_and_are_logged() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(1);
    let mut watched = Watched::start(folder.path(), &clerk, &[("ROSTER_OPS_TOKEN", TOKEN)]);
    ada(&mut clerk);
    assert_eq!(
        watched.deliver(&Delivery::new("msg_/ letter", unusable("user_1"))).await,
        "422 UNPROCESSABLE_EVENT"
    );
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let request = watched.request(method, &format!("{}{path}", watched.ops));
        Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    };
    for (path, headers, problem) in [
        (LETTER, &[][..], "401 UNAUTHORIZED"),
        (LETTER, &[("authorization", "Bearer wrong")], "401 UNAUTHORIZED"),
        (LETTER, &[("authorization", "Bearer")], "401 UNAUTHORIZED"),
        (LETTER, &[("authorization", TOKEN)], "401 UNAUTHORIZED"),
        (LETTER, &[("cookie", "token=a-long-random-text")], "401 UNAUTHORIZED"),
        ("/console/token", &[], "401 UNAUTHORIZED"),
        ("/console/dead-letters/retry", &[], "401 UNAUTHORIZED"),
        ("/console/passes", &[], "401 UNAUTHORIZED"),
        ("/console/passes", &[RIGHT], "400 VALIDATION_ERROR"),
        ("/console/events/msg_nobody/retry", &[RIGHT], "404 NOT_FOUND"),
        ("/console/events/%FF/retry", &[RIGHT], "404 NOT_FOUND"),
        ("/console/events/%FF/retry", &[], "401 UNAUTHORIZED"),
        (LETTER, &[RIGHT, ("host", "evil.example")], "403 FORBIDDEN"),
    ] {
        let answer = ask("POST", path, headers).await;
        assert_eq!(answer.problem(), problem, "{path} {headers:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, (answer.status == 401).then_some("Bearer"), "{path}");
    }
    let passes = watched.request("POST", &format!("{}/console/passes", watched.ops)).header(RIGHT.0, RIGHT.1);
    let passes = passes.header("content-type", "application/json").body(r#"{"kind":"full"}"#);
    assert_eq!(Answer::of(passes).await.problem(), "404 NOT_FOUND", "there is no secret key");
    let preflight = ask("OPTIONS", LETTER, &[("origin", "https://evil.example")]).await;
    assert_eq!(preflight.problem(), "405 METHOD_NOT_ALLOWED");
    assert_eq!(ask("GET", LETTER, &[RIGHT]).await.problem(), "405 METHOD_NOT_ALLOWED");
    assert_eq!(ask("POST", "/console/token", &[RIGHT]).await.status, 204);

    let still = ask("POST", LETTER, &[RIGHT]).await;
    assert!(
        still.text().contains(r#""outcome":"dead""#) && still.text().contains("banned"),
        "{}",
        still.text()
    );
    understand_dead_letters(folder.path()).await;
    assert!(
        ask("POST", "/console/dead-letters/retry", &[RIGHT]).await.text().contains(r#""outcome":"applied""#)
    );
    assert!(ask("POST", LETTER, &[RIGHT]).await.text().contains(r#""outcome":"duplicate""#));
    let line = watched.program.wait_for(r#""id":"msg_/ letter","outcome":"applied""#).to_owned();
    assert!(line.contains("msg_/ letter") && line.contains(r#""action":"retry""#), "{line}");
    assert!(!watched.program.seen().iter().any(|line| line.contains(TOKEN)));
}

#[tokio::test]
async fn without_a_configured_token_no_token_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let watched = Watched::start(folder.path(), &clerk(1), &[]);
    for given in ["", "Bearer", "Bearer ", RIGHT.1] {
        let request =
            watched.request("POST", &format!("{}{LETTER}", watched.ops)).header("authorization", given);
        assert_eq!(Answer::of(request).await.problem(), "403 FORBIDDEN", "{given:?}");
    }
}

#[tokio::test]
async fn the_page_is_alone_with_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let watched = Watched::start(folder.path(), &clerk(1), &[]);
    let page = watched.ask("GET", &format!("{}/", watched.ops)).await;
    assert_eq!((page.status.as_u16(), page.header("x-frame-options")), (200, Some("DENY")));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let text = page.text();
    assert!(!text.contains("https://") && !text.contains("/* script */") && !text.contains(" style="));
    let elsewhere = watched.request("GET", &format!("{}/", watched.ops)).header("host", "evil.example");
    assert_eq!(Answer::of(elsewhere).await.problem(), "403 FORBIDDEN");
    // Scrapers come under any name.
    let scraped =
        watched.request("GET", &format!("{}/metrics", watched.ops)).header("host", "roster-ops:9090");
    assert_eq!(Answer::of(scraped).await.status, 200);

    // Watching is bounded, and a page that leaves makes room.
    let mut watching = Vec::new();
    for _ in 0..16 {
        watching.push(Stream::open(&watched).await);
    }
    let stream = format!("{}/console/stream", watched.ops);
    assert_eq!(watched.ask("HEAD", &stream).await.status, 503);
    drop(watching);
    let deadline = Instant::now() + Duration::from_secs(30);
    while watched.ask("HEAD", &stream).await.status != 200 {
        assert!(Instant::now() < deadline, "no room is made");
    }
}
