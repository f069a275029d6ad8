//! The routes that read: two lists of the caller's organization, and one member of it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;

use super::body::Extras;
use super::caller::{Admin, Caller};
use super::openapi::parameters;
use super::params::{List, Params};
use super::problem::{Code, Problem};
use super::{Api, body, caching};
use crate::clock;
use crate::domain::{Activity, Shown, UserId};

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
    State(api): State<Arc<Api>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::parse(uri.query().unwrap_or_default(), List::Users)?;
    list(&api, &caller, List::Users, &params).await
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
    State(api): State<Arc<Api>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::parse(uri.query().unwrap_or_default(), List::Admin)?;
    if params.shown.is_some() || params.with_membership {
        return entries(&api, &caller, &params).await;
    }
    list(&api, &caller, List::Admin, &params).await
}

/// The admin's list with more in it than members, or more about them.
async fn entries(api: &Api, caller: &Caller, params: &Params) -> Result<Response, Problem> {
    let as_of_ms = api.store.as_of_ms().await?;
    let query = caller.list(List::Admin, params);
    let shown = params.shown.unwrap_or(Shown::Only(Activity::Active));
    let page = api.store.entries(&query, shown, clock::now_ms()).await?;
    let extras = Extras { activity: params.shown.is_some(), membership: params.with_membership };
    let json = body::entries(&page.entries, extras);
    let link = page.next.as_ref().and_then(|next| params.link(List::Admin, next));
    Ok(caching::tagged(json.map_err(unwritable)?, link, as_of_ms))
}

async fn list(api: &Api, caller: &Caller, list: List, params: &Params) -> Result<Response, Problem> {
    // Asked before the list, so that the list is never older than it says.
    let as_of_ms = api.store.as_of_ms().await?;
    let page = api.store.members(&caller.list(list, params)).await?;
    let json = match list {
        List::Users => body::users(&page.members, caller.organization_id()),
        List::Admin => body::admin_users(&page.members),
    };
    let link = page.next.as_ref().and_then(|next| params.link(list, next));
    Ok(caching::tagged(json.map_err(unwritable)?, link, as_of_ms))
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
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let nobody = || Problem::new(Code::NotFound, "No member of your organization has this id.");
    // What cannot be an id is nobody's.
    let Path(id) = path.map_err(|_| nobody())?;
    let user_id = UserId::parse(id).map_err(|_| nobody())?;
    let as_of_ms = api.store.as_of_ms().await?;
    let page = api.store.members(&caller.one(user_id)).await?;
    let member = page.members.first().ok_or_else(nobody)?;
    let json = body::user(member, caller.organization_id());
    Ok(caching::tagged(json.map_err(unwritable)?, None, as_of_ms))
}

#[expect(clippy::needless_pass_by_value, reason = "it is a function for `map_err`")]
fn unwritable(error: serde_json::Error) -> Problem {
    Problem::new(Code::InternalError, "").caused_by(&error)
}
