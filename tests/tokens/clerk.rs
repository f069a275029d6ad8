//! A key set's address on a local port that can be slow, wrong, or away.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use roster::clerk::session_token::Verifier;
use roster::config::KeySource;
use roster::sim::keys::SigningKey;
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::watch;

use super::make::verifier;

pub(super) struct FakeClerk {
    address: SocketAddr,
    inside: Arc<Inside>,
}

struct Inside {
    answer: Mutex<(u16, Vec<u8>)>,
    requests: watch::Sender<usize>,
    held: watch::Sender<bool>,
    authorization: Mutex<Option<String>>,
}

impl FakeClerk {
    pub(super) async fn start(keys: &[&SigningKey]) -> Self {
        let inside = Arc::new(Inside {
            answer: Mutex::new((200, Vec::new())),
            requests: watch::Sender::new(0),
            held: watch::Sender::new(false),
            authorization: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let clerk = Self { address, inside };
        clerk.serves(keys);
        clerk
    }

    /// From now on the set holds these keys.
    pub(super) fn serves(&self, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.answers(200, json!({ "keys": keys }).to_string());
    }

    pub(super) fn answers(&self, status: u16, body: impl Into<Vec<u8>>) {
        *self.inside.answer.lock().unwrap() = (status, body.into());
    }

    pub(super) fn is_away(&self) {
        self.answers(503, "");
    }

    /// Requests come in, but none is answered until `release`.
    pub(super) fn hold(&self) {
        self.inside.held.send_replace(true);
    }

    pub(super) fn release(&self) {
        self.inside.held.send_replace(false);
    }

    /// How many requests have come so far.
    pub(super) fn requests(&self) -> usize {
        *self.inside.requests.borrow()
    }

    /// Waits until so many requests have come.
    pub(super) async fn has_seen(&self, requests: usize) {
        self.inside.requests.subscribe().wait_for(|seen| *seen >= requests).await.unwrap();
    }

    pub(super) fn last_authorization(&self) -> Option<String> {
        self.inside.authorization.lock().unwrap().clone()
    }

    pub(super) fn source(&self, bearer: Option<&str>) -> KeySource {
        let url = format!("http://{}/.well-known/jwks.json", self.address);
        KeySource::Jwks { url, bearer: bearer.map(SecretString::from) }
    }

    pub(super) fn verifier(&self) -> Verifier {
        verifier(self.source(None))
    }
}

async fn answer(State(inside): State<Arc<Inside>>, headers: HeaderMap) -> Response<Body> {
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    *inside.authorization.lock().unwrap() = authorization;
    inside.requests.send_modify(|seen| *seen += 1);
    inside.held.subscribe().wait_for(|held| !held).await.unwrap();
    let (status, body) = inside.answer.lock().unwrap().clone();
    // The place that a redirect points to would answer with the same; it must not be asked.
    Response::builder().status(status).header("location", "/elsewhere").body(body.into()).unwrap()
}
