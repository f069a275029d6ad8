//! The public listener: Clerk's webhooks come in, members of the caller's organization go out.
//!
//! A request passes `edge` (its id, its time limit, how its errors look), meets its route, and, where it
//! reads, is first turned into a `caller::Caller`. Only a caller makes a member query, and the
//! organization in it is the token's, so no route can answer about another one.
//!
//! This room knows neither SQL nor what Clerk's payloads look like.

mod body;
mod caching;
mod caller;
mod coding;
mod cursor;
mod delivery;
mod docs;
pub(crate) mod edge;
mod health;
mod members;
pub mod openapi;
mod params;
pub mod problem;
mod request_id;

use std::sync::Arc;

use axum::Router;
use axum::http::header::ALLOW;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};

use self::params::List;
use self::problem::{Code, Problem};
use crate::clerk::session_token::Verifier;
use crate::domain::Role;
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
    /// Roles that may use the admin endpoint.
    pub admin_roles: Arc<[Role]>,
    /// Takes webhooks.
    pub receiver: Arc<Receiver>,
    /// Closed until the first backfill is done.
    pub gate: Gate,
    /// Fetches organizations that nothing is known of; `None` without a secret key.
    pub read_through: Option<ReadThrough>,
}

/// Every route of the public listener, with its layers.
pub fn router(api: Api) -> Router {
    edge::around(edge::Listener::Public, routes()).with_state(Arc::new(api))
}

fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/webhooks/clerk", only("POST", post(delivery::receive)))
        .route(List::Users.path(), only("GET, HEAD", get(members::users)))
        .route("/api/v1/entities/users/{userId}", only("GET, HEAD", get(members::user)))
        .route(List::Admin.path(), only("GET, HEAD", get(members::admin)))
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
