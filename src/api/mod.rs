//! The public listener's routes. (signatures first)
pub mod problem;

use std::sync::Arc;

use crate::clerk::session_token::Verifier;
use crate::domain::Role;
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
}

/// Every route of the public listener, with its layers.
pub fn router(api: Api) -> axum::Router {
    let _ = api;
    todo!()
}
