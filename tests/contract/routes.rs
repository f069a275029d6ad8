use reqwest::Method;

use crate::reading::site::Site;

/// Every route, the methods that it answers, and what somebody without a token or a signature gets there.
const ROUTES: [(&str, &str, u16); 10] = [
    ("/webhooks/clerk", "POST", 401),
    ("/api/v1/entities/users", "GET, HEAD", 401),
    ("/api/v1/entities/users/user_ada", "GET, HEAD", 401),
    ("/api/admin/getUsersInOrg", "GET, HEAD", 401),
    ("/api/v1/changes", "GET, HEAD", 401),
    ("/healthz", "GET, HEAD", 200),
    ("/readyz", "GET, HEAD", 200),
    ("/openapi.json", "GET, HEAD", 200),
    ("/docs", "GET, HEAD", 200),
    ("/docs/start.js", "GET, HEAD", 200),
];

/// What is no route, close to one or not.
const ELSEWHERE: [&str; 11] = [
    "/",
    "/api",
    "/API/v1/entities/users",
    "/api/v1/entities/users/",
    "/api/v1/entities/users/user_ada/",
    "/api/admin/getusersinorg",
    "/webhooks/clerk/",
    "//healthz",
    "/docs/",
    "/docs/a/b",
    "/metrics",
];

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

#[tokio::test]
async fn every_route_and_method_without_a_token() {
    let site = Site::start().await;
    for method in METHODS {
        let verb = Method::from_bytes(method.as_bytes()).unwrap();
        for (path, allow, without_token) in ROUTES {
            let answer = site.send(verb.clone(), path, &[], Vec::new()).await;
            let case = format!("{method} {path}");
            let answered = allow.split(", ").any(|one| one == method);
            let status = if answered { without_token } else { 405 };
            assert_eq!(answer.status, status, "{case}");
            assert_eq!(answer.header("allow"), (!answered).then_some(allow), "{case}");
            let reads = answered && status == 401 && method != "POST";
            assert_eq!(answer.header("www-authenticate"), reads.then_some("Bearer"), "{case}");
            if method == "HEAD" {
                assert!(answer.body.is_empty(), "{case}");
            } else if status != 200 {
                let code = if status == 405 { "METHOD_NOT_ALLOWED" } else { "UNAUTHORIZED" };
                assert_eq!(answer.problem(), format!("{status} {code}"), "{case}");
            }
        }
        for path in ELSEWHERE {
            let answer = site.send(verb.clone(), path, &[], Vec::new()).await;
            assert_eq!(answer.status, 404, "{method} {path}");
            if method != "HEAD" {
                assert_eq!(answer.problem(), "404 NOT_FOUND", "{method} {path}");
            }
        }
    }
}

/// The description tells of every route, and of no other; of the page's parts it says nothing.
#[test]
fn the_document_tells_of_every_route() {
    let document: serde_json::Value = serde_json::from_str(roster::api::openapi::json()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let mut told: Vec<_> = paths
        .iter()
        .map(|(path, item)| {
            let methods: Vec<_> = item.as_object().unwrap().keys().map(String::as_str).collect();
            (path.replace("{userId}", "user_ada"), if methods == ["get"] { "GET, HEAD" } else { "POST" })
        })
        .collect();
    let routes = ROUTES.into_iter().filter(|(path, ..)| !path.starts_with("/docs/"));
    let mut routes: Vec<_> = routes.map(|(path, allow, _)| (path.to_owned(), allow)).collect();
    told.sort();
    routes.sort();
    assert_eq!(told, routes);
}

/// A route that is made and not asked above would be a hole in this test.
#[test]
fn the_table_is_whole() {
    let router = include_str!("../../src/api/mod.rs");
    assert_eq!(router.matches(".route(").count(), ROUTES.len(), "a route is missing in ROUTES");
    for other in [".nest(", ".merge(", ".route_service(", ".fallback_service("] {
        assert!(!router.contains(other), "routes are made with `{other}` too: count them");
    }
}
