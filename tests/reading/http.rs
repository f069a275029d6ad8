//! What every route has in common: who is let in, how errors look, what may be kept.

use reqwest::Method;
use roster::clock;
use roster::domain::{Change, UserId};

use super::site::Site;
use crate::support::answer::Answer;

const USERS: &str = "/api/v1/entities/users";
const ADMIN: &str = "/api/admin/getUsersInOrg";
const READS: [&str; 3] = [USERS, "/api/v1/entities/users/user_ada", ADMIN];

/// All but the request id.
fn without_id(answer: &Answer) -> serde_json::Value {
    let mut problem = answer.json();
    problem["requestId"] = "-".into();
    problem
}

#[tokio::test]
async fn no_route_reads_without_a_good_token() {
    let site = Site::start().await;
    let good = site.token("ada", Some("org_1"), "admin");
    let refused = ["Bearer", "Bearer x", "bearer a.b.c", &format!("Bearer {good}x")];
    let cookie = format!("__session={good}");
    let webhook = site.send(Method::POST, "/webhooks/clerk", &[], Vec::new()).await;
    assert_eq!((webhook.problem().as_str(), webhook.header("www-authenticate")), ("401 UNAUTHORIZED", None));
    for path in READS {
        for authorization in refused {
            let answer = site.get(path, &[("authorization", authorization), ("cookie", &cookie)]).await;
            assert_eq!(answer.problem(), "401 UNAUTHORIZED");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(without_id(&answer), without_id(&webhook));
        }
        let bearer = format!("bEaReR {good}");
        let twice = site.get(path, &[("authorization", &bearer), ("authorization", &bearer)]).await;
        assert_eq!(twice.problem(), "401 UNAUTHORIZED");
        assert_eq!(site.get(path, &[]).await.problem(), "401 UNAUTHORIZED");
        assert_eq!(site.get(path, &[("authorization", &bearer)]).await.status, 200);
        assert_eq!(site.get(path, &[("authorization", "Basic x"), ("cookie", &cookie)]).await.status, 200);
    }
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let site = Site::start().await;
    let nowhere = format!("Bearer {}", site.token("ada", None, ""));
    let member = format!("Bearer {}", site.token("bob", Some("org_1"), "member"));
    let wrong = "?limit=0";
    for path in READS {
        let posted = site.send(Method::POST, &format!("{path}{wrong}"), &[], Vec::new()).await;
        assert_eq!(posted.problem(), "405 METHOD_NOT_ALLOWED");
        assert_eq!(posted.header("allow"), Some("GET, HEAD"));
        let answer = site.get(&format!("{path}{wrong}"), &[("authorization", &nowhere)]).await;
        assert_eq!(answer.problem(), "400 VALIDATION_ERROR");
        assert!(answer.json()["detail"].as_str().unwrap().contains("organization"));
    }
    let answer = site.get(&format!("{ADMIN}{wrong}"), &[("authorization", &member)]).await;
    assert_eq!(answer.problem(), "403 FORBIDDEN");
    assert_eq!(site.ada(&format!("{ADMIN}{wrong}")).await.problem(), "400 VALIDATION_ERROR");

    let put = site.send(Method::PUT, "/webhooks/clerk", &[], Vec::new()).await;
    assert_eq!((put.problem().as_str(), put.header("allow")), ("405 METHOD_NOT_ALLOWED", Some("POST")));
}

#[tokio::test]
async fn who_is_deleted_is_refused() {
    let site = Site::start().await;
    let id = UserId::parse("user_ada").unwrap();
    site.apply(vec![Change::UserDeleted { id, at_ms: clock::now_ms() }]).await;
    for path in READS {
        assert_eq!(site.ada(path).await.problem(), "403 FORBIDDEN");
    }
}

#[tokio::test]
async fn only_members_of_the_own_organization_are_found() {
    let site = Site::start().await;
    let list = site.ada(USERS).await.json();
    assert_eq!(site.ada(&format!("{USERS}/user_bob")).await.json(), list[1]);
    let long = "x".repeat(300);
    for id in ["user_dan", "user_nobody", "%FF", "%00", "us%C3%A9r", &long] {
        assert_eq!(site.ada(&format!("{USERS}/{id}")).await.problem(), "404 NOT_FOUND", "{id}");
    }
    for path in ["/", "/nowhere", "/api/v1/entities/users/", "/api/v1/entities/users/a/b", "/healthz/"] {
        assert_eq!(site.ada(path).await.problem(), "404 NOT_FOUND", "{path}");
    }
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let site = Site::start().await;
    let bearer = site.bearer_ada();
    for path in READS.into_iter().chain([&*format!("{USERS}?limit=1")]) {
        let first = site.get(path, &[("authorization", &bearer)]).await;
        let tag = first.header("etag").unwrap();
        assert_eq!(first.header("cache-control"), Some("private, no-cache"));
        assert_eq!(first.header("vary"), Some("Authorization, Cookie, Accept-Encoding"));
        for method in [Method::GET, Method::HEAD] {
            let sent = [("authorization", bearer.as_str()), ("if-none-match", tag)];
            let again = site.send(method, path, &sent, Vec::new()).await;
            assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
            for name in ["etag", "cache-control", "vary", "link", "roster-as-of"] {
                assert_eq!(again.header(name), first.header(name), "{name}");
            }
            for name in ["content-type", "content-length", "content-encoding", "transfer-encoding"] {
                assert_eq!(again.header(name), None, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    let site = Site::start().await;
    let bearer = site.bearer_ada();
    let gone = format!("{USERS}/nobody");
    for path in READS.into_iter().chain(["/healthz", "/readyz", "/nowhere", &gone]) {
        for coding in ["identity", "zstd"] {
            let sent =
                [("authorization", bearer.as_str()), ("accept-encoding", coding), ("x-request-id", "r-1")];
            let mut get = site.get(path, &sent).await;
            let mut head = site.send(Method::HEAD, path, &sent, Vec::new()).await;
            assert_eq!((head.status, head.body.len()), (get.status, 0));
            for headers in [&mut get.headers, &mut head.headers] {
                headers.remove("date");
            }
            assert_eq!(get.headers, head.headers, "{path}");
            assert_eq!(get.header("x-request-id"), Some("r-1"));
        }
    }
}

#[tokio::test]
async fn a_large_list_is_compressed() {
    let site = Site::start().await;
    for number in 0..20 {
        let name = format!("x{number}");
        let place = super::site::membership(&name, "org_1", "member");
        site.apply(vec![super::site::user(&name, 7), place]).await;
    }
    let bearer = site.bearer_ada();
    let plain = site.get(USERS, &[("authorization", &bearer), ("accept-encoding", "identity")]).await;
    let tag = plain.header("etag").unwrap().trim_matches('"');
    for coding in ["zstd", "br", "gzip"] {
        let mut sent = vec![("authorization", bearer.as_str()), ("accept-encoding", coding)];
        let packed = site.get(USERS, &sent).await;
        assert_eq!(packed.header("content-encoding"), Some(coding));
        assert_eq!(packed.header("etag"), Some(format!("\"{tag}-{coding}\"").as_str()));
        assert_eq!(packed.headers.get_all("vary").iter().count(), 1);
        assert!(packed.body.len() < plain.body.len() / 2);
        let head = site.send(Method::HEAD, USERS, &sent, Vec::new()).await;
        assert_eq!(head.header("content-encoding"), Some(coding));
        assert_eq!(head.header("content-length"), None);
        let weak = format!("W/\"{tag}\"");
        sent.push(("if-none-match", &weak));
        let same = site.get(USERS, &sent).await;
        assert_eq!((same.status.as_u16(), same.header("etag")), (304, packed.header("etag")));
    }
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_refused_and_the_sender_hears_it() {
    let site = Site::start().await;
    for (bytes, expected) in [
        (1024 * 1024, "401 UNAUTHORIZED"),
        (1024 * 1024 + 1, "413 PAYLOAD_TOO_LARGE"),
        (6 * 1024 * 1024, "413 PAYLOAD_TOO_LARGE"),
    ] {
        let answer = site.send(Method::POST, "/webhooks/clerk", &[], vec![b'x'; bytes]).await;
        assert_eq!(answer.problem(), expected);
    }
}

#[tokio::test]
async fn a_lost_database_is_unavailable() {
    let site = Site::start().await;
    assert_eq!(site.get("/readyz", &[]).await.json()["status"], "ready");
    site.database.store.close().await;
    let ready = site.get("/readyz", &[]).await;
    assert_eq!(ready.problem(), "503 UNAVAILABLE");
    assert!(ready.json()["detail"].as_str().unwrap().contains("database unreachable"));
    for path in READS {
        let answer = site.ada(path).await;
        assert_eq!(answer.problem(), "503 UNAVAILABLE");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(site.get("/healthz", &[]).await.status, 200);
}
