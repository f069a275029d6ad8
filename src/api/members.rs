//! The routes that read: two lists of the caller's organization, and one member of it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;

use super::caller::{Admin, Caller};
use super::params::{List, Params};
use super::problem::{Code, Problem};
use super::{Api, body, caching};
use crate::domain::UserId;

/// `GET /api/v1/entities/users`
pub(super) async fn users(
    caller: Caller,
    State(api): State<Arc<Api>>,
    uri: Uri,
) -> Result<Response, Problem> {
    list(&api, &caller, List::Users, &uri).await
}

/// `GET /api/admin/getUsersInOrg`
pub(super) async fn admin(
    Admin(caller): Admin,
    State(api): State<Arc<Api>>,
    uri: Uri,
) -> Result<Response, Problem> {
    list(&api, &caller, List::Admin, &uri).await
}

async fn list(api: &Api, caller: &Caller, list: List, uri: &Uri) -> Result<Response, Problem> {
    let params = Params::parse(uri.query().unwrap_or_default(), list)?;
    // Asked before the list, so that the list is never older than it says.
    let as_of_ms = api.store.as_of_ms().await?;
    let page = api.store.members(&caller.list(list, &params)).await?;
    let json = match list {
        List::Users => body::users(&page.members, caller.organization_id()),
        List::Admin => body::admin_users(&page.members),
    };
    let link = page.next.as_ref().and_then(|next| params.link(list, next));
    Ok(caching::tagged(json.map_err(unwritable)?, link, as_of_ms))
}

/// `GET /api/v1/entities/users/{userId}`
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
