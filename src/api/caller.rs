//! Who asks, and what they may see.
//!
//! A [`Caller`] exists only for a verified token that names an organization and that the read model does not
//! contradict. It is the only maker of a [`MemberQuery`], so a handler that does not ask for a caller has no
//! way to read anything.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use tracing::Level;

use super::Shared;
use super::params::{List, Params};
use super::problem::{Code, Problem};
use super::snapshots::Snapshot;
use crate::clerk::session_token::TokenError;
use crate::clock;
use crate::domain::{Contradiction, Filter, MemberQuery, Order, OrganizationId, Role, Standing, UserId};
use crate::store::{Follower, Store, StoreError};

const SESSION_COOKIE: &[u8] = b"__session";

/// As long as the key set waits before it may be fetched again.
const KEYS_RETRY_AFTER_S: u32 = 30;

/// An organization is usually fetched within a second or two.
const FETCH_RETRY_AFTER_S: u32 = 1;

/// A member of one organization.
pub(super) struct Caller {
    organization_id: OrganizationId,
    user_id: UserId,
    role: Option<Role>,
    issued_at_ms: i64,
    expires_at_ms: i64,
    /// Up to when the copy was known to be true before it was asked for this caller.
    as_of_ms: Option<i64>,
    /// The whole list that it asks for, when that is what it asks for.
    snapshot: Option<Arc<Snapshot>>,
}

/// A caller who may use the admin endpoint.
pub(super) struct Admin(pub(super) Caller);

impl Caller {
    /// The organization that the token names.
    pub(super) fn organization_id(&self) -> &OrganizationId {
        &self.organization_id
    }

    /// Who asks.
    pub(super) fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// The list that is ready for it.
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_deref()
    }

    /// Up to when the copy was known to be true before it was asked for this caller: the list that is ready for it
    /// is never older.
    pub(super) fn as_of_ms(&self) -> Option<i64> {
        self.as_of_ms
    }

    /// The question for a list.
    pub(super) fn list(&self, list: List, params: &Params) -> MemberQuery {
        MemberQuery {
            organization_id: self.organization_id.clone(),
            order: list.order(),
            after: params.after.clone(),
            limit: params.limit,
            ids: params.ids.clone(),
            filter: params.filter(),
        }
    }

    /// The question for one member.
    pub(super) fn one(&self, user_id: UserId) -> MemberQuery {
        MemberQuery {
            organization_id: self.organization_id.clone(),
            order: Order::Account,
            after: None,
            limit: None,
            ids: Some(vec![user_id]),
            filter: Filter::default(),
        }
    }

    /// Follows the members of its organization from now on.
    pub(super) fn follow(&self, store: &Store) -> Follower {
        store.follow(&self.organization_id, &self.user_id)
    }

    /// When its token ends.
    pub(super) fn expires_at_ms(&self) -> i64 {
        self.expires_at_ms
    }

    /// What is known of it now; `None` when that contradicts its token.
    pub(super) async fn standing(&self, shared: &Shared) -> Result<Option<Standing>, StoreError> {
        let snapshots = &shared.snapshots;
        let standing = snapshots.standing(&shared.api.store, &self.organization_id, &self.user_id).await?;
        let stands = standing.role(self.role.as_ref(), self.issued_at_ms).is_ok();
        Ok(stands.then_some(standing))
    }

    async fn identify(parts: &Parts, shared: &Shared, list: List) -> Result<Self, Problem> {
        let api = &shared.api;
        let token = token(&parts.headers).map_err(|reason| Problem::new(Code::Unauthorized, reason))?;
        let claims = api.verifier.verify(token, clock::now_ms()).await?;
        let organization = claims.organization.ok_or_else(|| {
            Problem::new(
                Code::ValidationError,
                "The session has no active organization; choose one and use the token that follows.",
            )
        })?;
        let refused = |contradiction: Contradiction| {
            Problem::new(Code::Forbidden, "Your access to this organization has ended; sign in again.")
                .caused_by(&contradiction)
        };
        let judge = async |snapshot: Option<&Snapshot>| {
            let standing = match snapshot.and_then(|snapshot| snapshot.standing(&claims.user_id)) {
                Some(known) => known.clone(),
                None => shared.snapshots.standing(&api.store, &organization.id, &claims.user_id).await?,
            };
            let role = standing.role(organization.role.as_ref(), claims.issued_at_ms).map_err(refused)?;
            Ok::<_, Problem>((standing, role))
        };
        // Parameters are checked after the caller; who names a wrong one gets no list.
        let asks_for_nothing_else =
            |query| Params::parse(query, list).is_ok_and(|params| params.asks_for_nothing_else());
        let asks_for_all =
            parts.uri.path() == list.path() && parts.uri.query().is_none_or(asks_for_nothing_else);
        let look = async || {
            let as_of_ms = api.store.as_of_ms();
            let mut snapshot = shared.snapshots.current(&api.store, &organization.id, list);
            // Only who asks for the whole list makes one be built, and only an admin that of the admins.
            if asks_for_all {
                let whole = whole(organization.id.clone(), list);
                if list == List::Admin && snapshot.is_none() {
                    let (standing, role) = judge(None).await?;
                    if !api.must_fetch(&standing) && !api.is_admin(role.as_ref()) {
                        return Err(no_admin());
                    }
                }
                snapshot = Some(shared.snapshots.get(&api.store, &whole, list).await?);
            }
            let (standing, role) = judge(snapshot.as_deref()).await?;
            Ok::<_, Problem>((standing, role, snapshot.filter(|_| asks_for_all), as_of_ms))
        };
        let (standing, mut role, mut snapshot, mut as_of_ms) = look().await?;
        if let Some(read_through) = &api.read_through
            && api.must_fetch(&standing)
        {
            if !read_through.fetch(&organization.id).await {
                let detail = "This organization is not known yet and is being fetched; try again.";
                // A fetch that failed has said so itself.
                let problem = Problem::new(Code::Unavailable, detail).retry_after(FETCH_RETRY_AFTER_S);
                return Err(problem.logged_at(Level::INFO));
            }
            (_, role, snapshot, as_of_ms) = look().await?;
        }
        Ok(Self {
            organization_id: organization.id,
            user_id: claims.user_id,
            role,
            issued_at_ms: claims.issued_at_ms,
            expires_at_ms: claims.expires_at_ms,
            as_of_ms,
            snapshot,
        })
    }
}

fn no_admin() -> Problem {
    Problem::new(Code::Forbidden, "Only an admin of the organization may ask this.")
}

/// The question for a whole list, which is asked for everybody who may see it.
fn whole(organization_id: OrganizationId, list: List) -> MemberQuery {
    MemberQuery {
        organization_id,
        order: list.order(),
        after: None,
        limit: None,
        ids: None,
        filter: Filter::default(),
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused(reason) => Self::new(Code::Unauthorized, reason),
            TokenError::KeysUnavailable => {
                Self::new(Code::Unavailable, "Tokens cannot be checked now; try again.")
                    .retry_after(KEYS_RETRY_AFTER_S)
                    .caused_by(&error)
            }
        }
    }
}

/// Takes the token out of a request: `Authorization: Bearer`, else the `__session` cookie. A bearer token
/// that is there wins, good or bad; another scheme is somebody else's business.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, &'static str> {
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    let authorization = authorizations.next();
    if authorizations.next().is_some() {
        return Err("more than one Authorization header");
    }
    let token = authorization.and_then(bearer).or_else(|| session_cookie(headers)).ok_or("no token")?;
    std::str::from_utf8(token).map_err(|_| "the token is not text")
}

fn bearer(authorization: &HeaderValue) -> Option<&[u8]> {
    let value = authorization.as_bytes().trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end)?;
    scheme.eq_ignore_ascii_case(b"Bearer").then(|| rest.trim_ascii())
}

/// The first one counts: browsers send the most specific first. HTTP/2 may split cookies over several lines.
fn session_cookie(headers: &HeaderMap) -> Option<&[u8]> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b';')).find_map(|cookie| {
        let value = cookie.trim_ascii().strip_prefix(SESSION_COOKIE)?.strip_prefix(b"=")?;
        Some(value.trim_ascii())
    })
}

impl Caller {
    async fn of(parts: &Parts, shared: &Shared, list: List) -> Result<Self, Response> {
        Self::identify(parts, shared, list).await.map_err(|problem| {
            let unauthorized = problem.code == Code::Unauthorized;
            let mut response = problem.into_response();
            if unauthorized {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        })
    }
}

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        Self::of(parts, shared, List::Users).await
    }
}

impl FromRequestParts<Arc<Shared>> for Admin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let caller = Caller::of(parts, shared, List::Admin).await?;
        if shared.api.is_admin(caller.role.as_ref()) {
            return Ok(Self(caller));
        }
        Err(no_admin().into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[(&str, &str)]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        token(&headers).map(str::to_owned)
    }

    #[test]
    fn a_bearer_token_wins_even_when_it_is_empty() {
        let cookie = ("cookie", "__session=c");
        assert_eq!(found(&[("authorization", "Bearer t")]), Ok("t".to_owned()));
        assert_eq!(found(&[("authorization", "bEARER   t "), cookie]), Ok("t".to_owned()));
        assert_eq!(found(&[("authorization", "Bearer"), cookie]), Ok(String::new()));
        assert_eq!(found(&[("authorization", "Bearer \u{e9}"), cookie]), Ok("\u{e9}".to_owned()));
    }

    #[test]
    fn any_other_scheme_leaves_it_to_the_cookie() {
        let cookie = ("cookie", "a=\"x\"; __session_x=d;__session=c=; __session=e");
        for other in ["Basic abc", "Bearertoken", "", "t"] {
            assert_eq!(found(&[("authorization", other), cookie]), Ok("c=".to_owned()), "{other}");
        }
        assert_eq!(found(&[("cookie", "a=1"), ("cookie", "__session=c")]), Ok("c".to_owned()));
        assert_eq!(found(&[("authorization", "Basic abc")]), Err("no token"));
        assert_eq!(found(&[("cookie", "__session; x__session=1")]), Err("no token"));
    }

    #[test]
    fn two_authorizations_are_refused() {
        let twice = [("authorization", "Bearer t"), ("authorization", "Bearer t"), ("cookie", "__session=c")];
        assert_eq!(found(&twice), Err("more than one Authorization header"));
    }
}
