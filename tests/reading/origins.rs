//! Pages of other origins: the named ones may read every answer, errors too, the others none.

use reqwest::Method;

use super::site::{FRONT_END, Site};
use crate::support::answer::Answer;

const USERS: &str = "/api/v1/entities/users";

fn seen(answer: &Answer) -> [Option<&str>; 3] {
    ["access-control-allow-origin", "access-control-expose-headers", "access-control-allow-credentials"]
        .map(|name| answer.header(name))
}

#[tokio::test]
async fn a_named_front_end_reads_answers_and_errors() {
    let site = Site::start().await;
    let bearer = site.bearer_ada();
    let plain = site.get(USERS, &[("authorization", &bearer)]).await;
    assert_eq!(seen(&plain), [None; 3]);
    let headers = [("authorization", bearer.as_str()), ("origin", FRONT_END)];
    // The second time the list is ready.
    let mut answers = vec![site.get(USERS, &headers).await];
    for _ in 0..2 {
        answers.push(site.send_whole(Method::GET, USERS, &headers).await);
    }
    let tag = plain.header("etag").unwrap();
    let known = [headers[0], headers[1], ("if-none-match", tag)];
    answers.push(site.send_whole(Method::GET, USERS, &known).await);
    assert_eq!(answers.last().unwrap().status, 304);
    answers.push(site.get(USERS, &[("origin", FRONT_END)]).await);
    answers.push(site.get("/nowhere", &[("origin", FRONT_END)]).await);
    for answer in &answers {
        let may_see = "ETag, Link, Retry-After, Roster-As-Of, X-Request-Id";
        assert_eq!(seen(answer), [Some(FRONT_END), Some(may_see), None], "{}", answer.status);
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert_eq!(*vary.last().unwrap(), "Origin");
    }
    for answer in &answers[..3] {
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &plain.body));
    }
}

#[tokio::test]
async fn a_browser_that_asks_first_is_answered() {
    let site = Site::start().await;
    let ask = |origin: &'static str| {
        [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "authorization"),
        ]
    };
    for path in [USERS, "/api/admin/getUsersInOrg", "/api/v1/changes"] {
        let answer = site.send(Method::OPTIONS, path, &ask(FRONT_END), Vec::new()).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(FRONT_END));
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD"));
        assert!(answer.header("access-control-allow-headers").unwrap().contains("Authorization"));
        assert!(answer.header("x-request-id").is_some());
    }
    for origin in ["https://evil.example.com", "null", "https://app.example.com.evil.com"] {
        let answer = site.send(Method::OPTIONS, USERS, &ask(origin), Vec::new()).await;
        assert_eq!(answer.problem(), "405 METHOD_NOT_ALLOWED", "{origin}");
        assert_eq!(seen(&answer), [None; 3]);
        let read = [("authorization", &*site.bearer_ada()), ("origin", origin)];
        assert_eq!(seen(&site.get(USERS, &read).await), [None; 3], "{origin}");
    }
    // Without the question it is no browser's.
    let answer = site.send(Method::OPTIONS, USERS, &ask(FRONT_END)[..1], Vec::new()).await;
    assert_eq!(answer.problem(), "405 METHOD_NOT_ALLOWED");
}
