//! The description of the API: reviewed when it changes, never poorer than it was, served and printed alike.

mod breaks;

use std::path::PathBuf;
use std::process::Command;

use reqwest::Method;
use roster::api::openapi;
use serde_json::Value;

use self::breaks::breaks;
use crate::support::site::Site;

const UPDATE: &str = "UPDATE_OPENAPI";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/openapi.json")
}

fn reviewed() -> String {
    std::fs::read_to_string(file()).unwrap_or_default()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let (now, reviewed) = (format!("{}\n", openapi::json()), reviewed());
    if std::env::var_os(UPDATE).is_some() {
        if !reviewed.is_empty() {
            assert_keeps_its_promises(&parsed(&reviewed), &parsed(&now));
        }
        std::fs::write(file(), now).unwrap();
        return;
    }
    assert!(
        now == reviewed,
        "the API's description has changed; look at the difference after\n    \
         {UPDATE}=1 cargo test --test roster openapi::the_document\n\
         and make the client anew: (cd clients/typescript && npm run generate)"
    );
}

/// Who means to break callers takes the lines out of the file by hand, and says so in the changelog.
#[test]
fn no_caller_is_broken() {
    assert_keeps_its_promises(&parsed(&reviewed()), &parsed(openapi::json()));
}

fn assert_keeps_its_promises(reviewed: &Value, now: &Value) {
    let broken = breaks(reviewed, now);
    assert!(broken.is_empty(), "callers rely on what tests/openapi/openapi.json has: {broken:#?}");
}

#[tokio::test]
async fn it_is_served_and_printed_alike() {
    let site = Site::start().await;
    let served = site.get("/openapi.json", "").await;
    assert_eq!((served.status.as_u16(), served.header("content-type")), (200, Some("application/json")));
    assert_eq!(served.header("cache-control"), Some("public, no-cache"));
    let tag = served.header("etag").unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for method in [Method::GET, Method::HEAD] {
        let request = client.request(method, format!("{}/openapi.json", site.url()));
        let again = request.header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), 304);
    }
    let printed = Command::new(env!("CARGO_BIN_EXE_roster")).arg("openapi").env_clear().output().unwrap();
    assert!(printed.status.success());
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), format!("{}\n", served.text()));
    assert_eq!(served.json()["openapi"], "3.1.0");
}

#[tokio::test]
async fn the_page_is_whole_and_asks_no_other_host() {
    let site = Site::start().await;
    let page = site.get("/docs", "").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("http"), "{policy}");
    let text = page.text();
    let links: Vec<_> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|attribute| text.split(attribute).skip(1))
        .map(|rest| rest.split_once('"').unwrap().0)
        .collect();
    assert_eq!(links.len(), 5, "{links:?}");
    for link in links {
        let part = site.get(link, "").await;
        assert_eq!(part.status, 200, "{link}");
        assert!(part.header("etag").is_some() && !part.body.is_empty(), "{link}");
        assert_eq!(part.header("x-content-type-options"), Some("nosniff"), "{link}");
    }
    for nothing in ["/docs/index.html", "/docs/swagger-initializer.js", "/docs/%2e%2e", "/docs/%FF"] {
        assert_eq!(site.get(nothing, "").await.problem(), "404 NOT_FOUND", "{nothing}");
    }
}
