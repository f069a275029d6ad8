//! The console: one page that says whether the copy is in sync, and what to do when it is not.
//!
//! The page holds everything that it needs and asks nobody but this listener. Reading it needs no token, so it
//! shows ids, types and counts, and nothing of what events say. Its numbers are those of `/metrics`.
//!
//! Other sites may be open in the same browser. They cannot read an answer (nothing allows them to), frame the
//! page, or come as a name that points here; and what changes something needs a token in a header, which a
//! browser never adds by itself.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{actions, stream};
use crate::api::only;
use crate::api::problem::{Code, Problem};
use crate::reconcile::hydrate::Hydrator;
use crate::reconcile::schedule::{Gate, Trigger};
use crate::store::Store;

const PAGE: &str = include_str!("console/page.html");
const STYLE: &str = include_str!("console/style.css");
const SCRIPT: &str = include_str!("console/script.js");

/// How many pages may watch at a time. Each of them asks the database every second.
const WATCHERS: usize = 16;

/// What the console shows, and what it may do.
#[derive(Debug, Clone)]
pub struct Console {
    /// The journal and the passes.
    pub store: Store,
    /// `ROSTER_OPS_TOKEN`; without it the page is read-only.
    pub token: Option<SecretString>,
    /// Starts passes; `None` without a secret key.
    pub trigger: Option<Trigger>,
    /// Closed until the first backfill is done.
    pub gate: Gate,
    /// `CLERK_INSTANCE_ID`
    pub instance_id: Option<String>,
    /// Fetches users who are missing; `None` without a secret key.
    pub hydrator: Option<Hydrator>,
    /// The address of the listener.
    pub address: IpAddr,
}

/// The console, being served.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) console: Console,
    pub(super) watchers: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
    page: String,
    policy: HeaderValue,
}

/// The routes of the console.
pub(super) fn routes(console: Console, stop: CancellationToken) -> anyhow::Result<Router> {
    let policy = policy().context("the console's policy is no header")?;
    let page = PAGE.replace("/* style */", STYLE).replace("/* script */", SCRIPT);
    let watchers = Arc::new(Semaphore::new(WATCHERS));
    let serving = Arc::new(Serving { console, watchers, stop, page, policy });
    Ok(Router::new()
        .route("/", only("GET, HEAD", get(show)))
        .route("/console/stream", only("GET, HEAD", get(stream::watch)))
        .route("/console/events", only("GET, HEAD", get(stream::events)))
        .route("/console/token", only("POST", post(actions::check_token)))
        .route("/console/events/{id}/retry", only("POST", post(actions::retry_one)))
        .route("/console/dead-letters/retry", only("POST", post(actions::retry_all)))
        .route("/console/passes", only("POST", post(actions::start_pass)))
        .layer(from_fn_with_state(Arc::clone(&serving), guard))
        .with_state(serving))
}

/// Only what stands in the page runs, and it speaks to this listener only.
fn policy() -> anyhow::Result<HeaderValue> {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    Ok(HeaderValue::try_from(policy)?)
}

/// `GET /`
async fn show(State(serving): State<Arc<Serving>>) -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], serving.page.clone()).into_response()
}

async fn guard(State(serving): State<Arc<Serving>>, request: Request, next: Next) -> Response {
    let mut response = if is_ours(serving.console.address, request.uri(), request.headers()) {
        next.run(request).await
    } else {
        Problem::new(
            Code::Forbidden,
            "This listener is for this machine: ask for localhost or an address, not for another name.",
        )
        .into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, serving.policy.clone());
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// On loopback only this machine asks, so another name in the request is one that somebody has pointed here,
/// for a page of theirs to read this one. Elsewhere any name may be right.
fn is_ours(address: IpAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    if !address.is_loopback() {
        return true;
    }
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    let host = authority.or_else(|| headers.get(HOST)?.to_str().ok());
    let Some(host) = host.and_then(|host| host.parse::<axum::http::uri::Authority>().ok()) else {
        return false;
    };
    let host = host.host().trim_end_matches('.').to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_points_to_loopback_is_not_ours() {
        let asked = |address: &str, host: &'static str| {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            is_ours(address.parse().unwrap(), &Uri::from_static("/"), &headers)
        };
        for host in
            ["localhost:9090", "LOCALHOST", "127.0.0.1:9090", "[::1]:9090", "roster.localhost", "10.1.2.3"]
        {
            assert!(asked("127.0.0.1", host), "{host}");
        }
        for host in ["evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"] {
            assert!(!asked("127.0.0.1", host), "{host}");
        }
        assert!(asked("10.1.2.3", "roster-ops:9090"));
        assert!(!is_ours("::1".parse().unwrap(), &Uri::from_static("/"), &HeaderMap::new()));
    }
}
