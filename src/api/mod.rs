//! The public listener: Clerk's webhooks come in, members of the caller's organization go out.
//!
//! A request passes `edge` (its id, its time limit, how its errors look), meets its route, and, where it
//! reads, is first turned into a `caller::Caller`. Only a caller makes a member query, and the
//! organization in it is the token's, so no route can answer about another one. `warm` answers what is ready
//! before any of that.
//!
//! This room knows neither SQL nor what Clerk's payloads look like.

mod body;
mod caching;
mod caller;
mod changes;
mod coding;
mod cors;
mod cursor;
mod delivery;
mod docs;
pub(crate) mod edge;
mod fixed;
mod health;
mod members;
pub mod openapi;
mod params;
pub mod problem;
mod ready;
mod request_id;
mod snapshots;
mod streams;
mod warm;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use axum::http::Request;
use axum::http::header::ALLOW;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use axum::routing::{MethodRouter, get, post};
use axum::{BoxError, Router};
use futures_util::future::Either;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

use self::cors::Cors;
use self::params::List;
use self::problem::{Code, Problem};
use self::ready::AsOf;
use self::snapshots::Snapshots;
use self::streams::Streams;
use self::warm::Warm;
use crate::clerk::session_token::Verifier;
use crate::config::Config;
use crate::domain::{Role, Standing};
use crate::reconcile::read_through::ReadThrough;
use crate::reconcile::schedule::Gate;
use crate::store::Store;
use crate::webhook::Receiver;

/// What the routes need.
#[derive(Clone)]
pub struct Api {
    /// The read model.
    pub store: Store,
    /// Checks session tokens.
    pub verifier: Arc<Verifier>,
    /// Origins whose pages may read the answers.
    pub origins: Vec<String>,
    /// Roles that may use the admin endpoint.
    pub admin_roles: Arc<[Role]>,
    /// Takes webhooks.
    pub receiver: Arc<Receiver>,
    /// Closed until the first backfill is done.
    pub gate: Gate,
    /// Fetches organizations that nothing is known of; `None` without a secret key.
    pub read_through: Option<ReadThrough>,
    /// Ends the answers that would never end.
    pub stop: CancellationToken,
}

impl Api {
    /// Whether an organization has to be fetched before anything is said of it.
    fn must_fetch(&self, standing: &Standing) -> bool {
        self.read_through.is_some() && (!standing.organization_known || self.gate.is_closed())
    }

    fn is_admin(&self, role: Option<&Role>) -> bool {
        role.is_some_and(|role| self.admin_roles.contains(role))
    }
}

/// What the routes share.
struct Shared {
    api: Api,
    snapshots: Snapshots,
    as_of: AsOf,
    streams: Arc<Streams>,
    ping: health::Ping,
    told: health::Told,
    /// How many more large bodies may be on their way in.
    large_bodies: Arc<Semaphore>,
}

/// Every route of the public listener, with its layers and a cache of the usual size.
pub fn router(api: Api) -> Router {
    Public::new(api, Config::default().cache_mb).router
}

/// The public listener: the short way of the hot route, and every other request's way.
#[derive(Clone)]
pub struct Public {
    warm: Arc<Warm>,
    cors: Cors,
    router: Router,
}

impl Public {
    /// Keeps so many MiB of lists ready.
    pub fn new(api: Api, cache_mb: u32) -> Self {
        let cors = Cors::new(&api.origins);
        let shared = Arc::new(Shared {
            api,
            snapshots: Snapshots::new(cache_mb),
            as_of: AsOf::default(),
            streams: Arc::default(),
            ping: health::Ping::default(),
            told: health::Told::default(),
            large_bodies: Arc::new(Semaphore::new(delivery::LARGE_AT_ONCE)),
        });
        let router = edge::around(edge::Listener::Public, routes()).with_state(Arc::clone(&shared));
        let router = router.layer(from_fn_with_state(cors.clone(), cors::pass));
        Self { warm: Arc::new(Warm::new(shared)), cors, router }
    }
}

impl<B> Service<Request<B>> for Public
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.warm.answer(&request) {
            Some(mut response) => {
                self.cors.show(request.headers(), &mut response);
                Either::Left(ready(Ok(response)))
            }
            None => Either::Right(self.router.call(request)),
        }
    }
}

fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/webhooks/clerk", only("POST", post(delivery::receive)))
        .route(List::Users.path(), only("GET, HEAD", get(members::users)))
        .route("/api/v1/entities/users/{userId}", only("GET, HEAD", get(members::user)))
        .route(List::Admin.path(), only("GET, HEAD", get(members::admin)))
        .route("/api/v1/changes", only("GET, HEAD", get(changes::follow)))
        .route("/healthz", only("GET, HEAD", get(health::healthz)))
        .route("/readyz", only("GET, HEAD", get(health::readyz)))
        .route(openapi::PATH, only("GET, HEAD", get(openapi::serve)))
        .route("/docs", only("GET, HEAD", get(docs::page)))
        .route("/docs/{file}", only("GET, HEAD", get(docs::part)))
        .fallback(async || Problem::new(Code::NotFound, "There is no such route."))
}

/// Refuses every other method of a route. The refusal is no part of the handler, so it comes before the
/// handler's extractors, and with them the token, are looked at.
pub(crate) fn only<S: Clone + Send + Sync + 'static>(
    allow: &'static str,
    methods: MethodRouter<S>,
) -> MethodRouter<S> {
    methods.fallback(async move || {
        let problem = Problem::new(Code::MethodNotAllowed, format!("This route answers {allow}."));
        ([(ALLOW, allow)], problem).into_response()
    })
}
