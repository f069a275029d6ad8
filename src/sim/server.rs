//! The instance on the network: its key set, where the front end and where the backend look for it, and its
//! Backend API.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;

use super::backend_api::{self, Controls, Hangup};
use super::instance::Instance;

/// An instance that is served while it is changed.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<Instance>>);

impl Shared {
    /// Shares an instance.
    pub fn new(instance: Instance) -> Self {
        Self(Arc::new(Mutex::new(instance)))
    }

    /// The instance, for as long as the guard lives. What changes is served from the next request on.
    pub fn lock(&self) -> MutexGuard<'_, Instance> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server on a free port of the loopback; it stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    controls: Controls,
    task: JoinHandle<()>,
}

impl Server {
    /// Begins to serve the instance.
    pub async fn start(instance: Shared) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let controls = Controls::default();
        let router = Router::new()
            .route("/.well-known/jwks.json", get(jwks))
            .route("/v1/jwks", get(jwks))
            .with_state(instance.clone())
            .merge(backend_api::router(instance, controls.clone()));
        let task = tokio::spawn(accept(listener, router));
        Ok(Self { address, controls, task })
    }

    /// Its base address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The knobs and the log of the Backend API.
    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    /// Where the key set is.
    pub fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.url())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves until it is dropped, and then hangs up on everybody.
async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone()));
                }
                Err(error) => tracing::warn!(%error, "the simulated Clerk could not take a connection"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let service = service_fn(|request| {
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request).await;
            // An error instead of a response closes the connection.
            match response.extensions().get::<Hangup>() {
                Some(Hangup) => Err(io::Error::other("this is a simulated fault")),
                None => Ok(response),
            }
        }
    });
    let io = TokioIo::new(stream);
    if let Err(error) = auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await {
        tracing::debug!(error = &*error, "a connection to the simulated Clerk broke");
    }
}

async fn jwks(State(instance): State<Shared>) -> impl IntoResponse {
    let jwks = instance.lock().jwks().to_string();
    ([(CONTENT_TYPE, "application/json")], jwks)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::sim::keys::SigningKey;

    #[tokio::test]
    async fn a_rotated_key_is_served_at_once() {
        let instance = Shared::new(Instance::new(SigningKey::generate("ins_test").unwrap(), 1, 0));
        let server = Server::start(instance.clone()).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let modulus = async |path: &str| -> Value {
            let text =
                client.get(format!("{}{path}", server.url())).send().await.unwrap().text().await.unwrap();
            serde_json::from_str::<Value>(&text).unwrap()["keys"][0]["n"].clone()
        };
        let before = modulus("/.well-known/jwks.json").await;
        assert_eq!(before, modulus("/v1/jwks").await);
        instance.lock().rotate_key(SigningKey::generate("ins_test").unwrap());
        assert_ne!(before, modulus("/.well-known/jwks.json").await);
    }
}
