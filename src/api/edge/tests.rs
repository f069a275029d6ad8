use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, LINK, VARY, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;

const LARGE_BYTES: usize = 4096;

fn app() -> Router {
    let tagged = |bytes: usize| async move {
        caching::tagged(vec![b'x'; bytes], Some(HeaderValue::from_static("</next>")), None)
    };
    let routes = Router::new()
        .route("/large", get(move || tagged(LARGE_BYTES)))
        .route("/edge", get(move || tagged(1024)))
        .route("/small", get(move || tagged(1023)))
        .route("/panic", get(async || -> Response { panic!("of a secret") }))
        .route("/slow", get(std::future::pending::<Response>))
        .route("/refuse", get(async || Problem::new(Code::Unauthorized, "of a secret")))
        .fallback(async || Problem::new(Code::NotFound, "There is no such route."));
    around(Listener::Public, routes)
}

async fn send(method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

async fn problem(path: &str) -> String {
    let (status, headers, body) = send(Method::GET, path, &[("x-request-id", "r-1")]).await;
    assert_eq!(headers[CONTENT_TYPE], PROBLEM_JSON);
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    assert_eq!(headers["x-request-id"], "r-1");
    assert_eq!(headers[CONTENT_LENGTH], body.len().to_string());
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains(&format!("\"status\":{}", status.as_u16())));
    text
}

#[tokio::test]
async fn every_error_is_a_problem_with_its_request_id() {
    insta::assert_snapshot!(problem("/nowhere").await, @r#"{"type":"about:blank","title":"Not Found","status":404,"code":"NOT_FOUND","detail":"There is no such route.","requestId":"r-1"}"#);
    insta::assert_snapshot!(problem("/refuse").await, @r#"{"type":"about:blank","title":"Unauthorized","status":401,"code":"UNAUTHORIZED","detail":"The request was not authenticated; send valid credentials.","requestId":"r-1"}"#);
    insta::assert_snapshot!(problem("/panic").await, @r#"{"type":"about:blank","title":"Internal Server Error","status":500,"code":"INTERNAL_ERROR","detail":"Something went wrong here; if it stays, tell the operator the request id.","requestId":"r-1"}"#);
    let (_, headers, _) = send(Method::GET, "/refuse", &[]).await;
    assert!(!headers.contains_key(WWW_AUTHENTICATE));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_unavailable() {
    let (status, headers, _) = send(Method::GET, "/slow", &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key("retry-after"));
}

#[tokio::test]
async fn an_answer_is_compressed_from_one_kibibyte_on() {
    for (path, coding) in [("/large", Some("zstd")), ("/edge", Some("zstd")), ("/small", None)] {
        let (_, headers, body) = send(Method::GET, path, &[("accept-encoding", "gzip, br, zstd")]).await;
        assert_eq!(headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap()), coding, "{path}");
        assert_eq!(body.len() < 1000, coding.is_some());
        let vary: Vec<_> = headers.get_all(VARY).iter().collect();
        assert_eq!(vary, ["Authorization, Cookie, Accept-Encoding"]);
        let tag = headers[ETAG].to_str().unwrap();
        assert_eq!(tag.ends_with("-zstd\""), coding.is_some(), "{tag}");
    }
    for refused in ["identity;q=0", "*;q=0", "identity"] {
        let (status, headers, body) =
            send(Method::GET, "/large", &[(ACCEPT_ENCODING.as_str(), refused)]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, LARGE_BYTES));
        assert!(!headers.contains_key(CONTENT_ENCODING));
    }
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let (_, plain, _) = send(Method::GET, "/large", &[]).await;
    let tag = plain[ETAG].to_str().unwrap();
    for method in [Method::GET, Method::HEAD] {
        let (status, headers, body) =
            send(method, "/large", &[(IF_NONE_MATCH.as_str(), tag), ("accept-encoding", "br")]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "etag", "link", "vary", "x-request-id"]);
        assert_eq!(headers[ETAG], format!("\"{}-br\"", tag.trim_matches('"')));
        assert_eq!(headers[LINK], "</next>");
    }
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    for (path, coding) in
        [("/large", "identity"), ("/large", "gzip"), ("/refuse", "gzip"), ("/nowhere", "gzip")]
    {
        let sent = [("x-request-id", "r-1"), ("accept-encoding", coding)];
        let (_, got, _) = send(Method::GET, path, &sent).await;
        let (_, head, body) = send(Method::HEAD, path, &sent).await;
        assert_eq!(got, head, "{path} {coding}");
        assert!(body.is_empty());
    }
}
