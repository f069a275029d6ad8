//! The routes that read: two lists of the caller's organization, and one member of it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;

use super::body::{Array, Extras};
use super::caller::{Admin, Caller};
use super::openapi::parameters;
use super::params::{List, Params};
use super::problem::{Code, Problem};
use super::{Shared, body, caching};
use crate::clock;
use crate::domain::UserId;

/// The members of the caller's organization
///
/// Oldest account first. Any member may ask.
#[utoipa::path(
    get, path = "/api/v1/entities/users", operation_id = "listUsers", tag = "members",
    params(parameters::Users),
    responses((status = 200, description = "The members", body = Vec<body::User>)),
    security(("bearer" = []), ("session" = [])),
)]
pub(super) async fn users(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    list(&shared, &caller, List::Users, &Asked { method, uri, headers }).await
}

/// The members of the caller's organization, for its admins
///
/// By e-mail, without case; who has none comes last. Invitations too, when they are asked for.
#[utoipa::path(
    get, path = "/api/admin/getUsersInOrg", operation_id = "listUsersForAdmin", tag = "members",
    params(parameters::Admin),
    responses((status = 200, description = "Members, and invitations where asked for", body = Vec<body::AdminUser>)),
    security(("bearer" = []), ("session" = [])),
)]
pub(super) async fn admin(
    Admin(caller): Admin,
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    list(&shared, &caller, List::Admin, &Asked { method, uri, headers }).await
}

/// A request for a list.
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

async fn list(shared: &Shared, caller: &Caller, list: List, asked: &Asked) -> Result<Response, Problem> {
    let store = &shared.api.store;
    let as_of_ms = caller.as_of_ms();
    if let Some(snapshot) = caller.snapshot() {
        let unready = |error| Problem::new(Code::InternalError, "").caused_by(&error);
        snapshot.list.prepare(&asked.headers).await.map_err(unready)?;
        let answer = snapshot.list.answer(&asked.method, &asked.headers, shared.as_of.show(as_of_ms));
        return answer.ok_or_else(|| Problem::new(Code::InternalError, "the list is not ready"));
    }
    let params = Params::parse(asked.uri.query().unwrap_or_default(), list)?;
    let query = caller.list(list, &params);
    let (json, next) = if params.shown.is_some() || params.with_membership {
        // The admin's list with more in it than members, or more about them.
        let extras = Extras { activity: params.shown.is_some(), membership: params.with_membership };
        let page = store.entries(&query, params.shown, clock::now_ms()).await?;
        (body::entries(&page.entries, extras)?, page.next)
    } else {
        let mut array = Array::new(list, caller.organization_id());
        let next = store.each_member(&query, |member| array.push(&member)).await?;
        (array.finish()?, next)
    };
    let link = next.as_ref().and_then(|next| params.link(list, next));
    Ok(caching::tagged(json, link, as_of_ms))
}

/// One member of the caller's organization
#[utoipa::path(
    get, path = "/api/v1/entities/users/{userId}", operation_id = "getUser", tag = "members",
    params(parameters::OneUser),
    responses((status = 200, description = "The member", body = body::User)),
    security(("bearer" = []), ("session" = [])),
)]
pub(super) async fn user(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let nobody = || Problem::new(Code::NotFound, "No member of your organization has this id.");
    // What cannot be an id is nobody's.
    let Path(id) = path.map_err(|_| nobody())?;
    let user_id = UserId::parse(&id).map_err(|_| nobody())?;
    let store = &shared.api.store;
    let as_of_ms = store.as_of_ms();
    let page = store.members(&caller.one(user_id)).await?;
    let member = page.members.first().ok_or_else(nobody)?;
    let json = body::user(member, caller.organization_id())?;
    Ok(caching::tagged(json, None, as_of_ms))
}
