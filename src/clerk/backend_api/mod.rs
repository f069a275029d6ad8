//! Clerk's Backend API, as far as we ask it: users, organizations, memberships, invitations, the instance.
//!
//! Only `GET`, one version of the API, and one rate for all calls, whoever makes them: an app shares its limit with
//! us and must not notice. Offsets grow slow and skip rows when something is deleted, so what is not in a
//! list is not yet gone; only `None` from the call for that one object says so.

mod error;
mod limiter;
mod page;
mod request;

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::Context as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Url, retry};
use secrecy::SecretString;
use serde::Deserialize;

use crate::clock;
use crate::domain::{Change, Entity, InvitationId, OrganizationId, UserId};
use limiter::{Lane, Limiter};
use page::Objects;
use request::{Asked, Caller};

pub use error::ApiError;
pub use page::{Fetched, InstanceInfo, Page};
pub use request::Patience;

/// The longest page. Beyond it Clerk answers with ten objects and says nothing.
pub const MAX_PAGE: u32 = 500;
/// How many ids Clerk takes in one request.
pub const MAX_IDS: usize = 100;

const VERSION_HEADER: HeaderName = HeaderName::from_static("clerk-api-version");
const VERSION: HeaderValue = HeaderValue::from_static("2026-05-12");

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// What was made first. New objects come at the end, so they shift nothing.
    OldestFirst,
    /// What was made last.
    NewestFirst,
}

impl Order {
    fn as_str(self) -> &'static str {
        match self {
            Self::OldestFirst => "+created_at",
            Self::NewestFirst => "-created_at",
        }
    }
}

/// Asks Clerk. Clones share the connections and the rate.
#[derive(Debug, Clone)]
pub struct BackendApi {
    base: Url,
    caller: Arc<Caller>,
    lane: Lane,
}

type Query<'a> = Vec<(&'static str, &'a str)>;

impl BackendApi {
    /// Prepares to ask the API at `api_url` (`/v1/…` is added), at most so often in ten seconds.
    pub fn new(api_url: &str, secret_key: SecretString, rate_per_10s: u32) -> anyhow::Result<Self> {
        Self::with_patience(api_url, secret_key, rate_per_10s, Patience::default())
    }

    /// The same, with other time limits and tries.
    pub fn with_patience(
        api_url: &str,
        secret_key: SecretString,
        rate_per_10s: u32,
        patience: Patience,
    ) -> anyhow::Result<Self> {
        let base = Url::parse(api_url).ok().filter(|url| !url.cannot_be_a_base()).context(
            "the address of Clerk's API is not a URL; set CLERK_API_URL to one, for example https://api.clerk.com",
        )?;
        let client = super::http_client(&base)
            .connect_timeout(patience.connect_timeout)
            .timeout(patience.timeout)
            // Retries are ours: each of them must pass the limiter.
            .retry(retry::never())
            .default_headers(HeaderMap::from_iter([(VERSION_HEADER, VERSION)]))
            .build()
            .context("could not prepare the HTTP client")?;
        let limiter = Limiter::new(rate_per_10s);
        let caller = Arc::new(Caller { client, key: secret_key, limiter, patience });
        Ok(Self { base, caller, lane: Lane::Background })
    }

    /// For a caller who is waiting: goes before the pages of a pass, at the same rate.
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self { lane: Lane::Urgent, ..self.clone() }
    }

    /// Users, oldest account first. `starting_after` is [`Page::last_id`] of the page before.
    pub async fn users_page(
        &self,
        limit: u32,
        starting_after: Option<&str>,
    ) -> Result<Fetched<Page>, ApiError> {
        let limit = limit.clamp(1, MAX_PAGE).to_string();
        let mut query = vec![("limit", limit.as_str()), ("order_by", Order::OldestFirst.as_str())];
        query.extend(starting_after.map(|id| ("starting_after", id)));
        self.page(Entity::Users, &["users"], &query).await
    }

    /// Users, the last changed first.
    pub async fn users_updated_page(&self, limit: u32, offset: u64) -> Result<Fetched<Page>, ApiError> {
        let (limit, offset) = (limit.clamp(1, MAX_PAGE).to_string(), offset.to_string());
        let query = [("limit", limit.as_str()), ("offset", &offset), ("order_by", "-updated_at")];
        self.page(Entity::Users, &["users"], &query).await
    }

    /// The users with these ids, in no particular order; ids that Clerk does not know are left out. The time is
    /// that of the first request.
    pub async fn users_by_ids(&self, ids: &[UserId]) -> Result<Fetched<Page>, ApiError> {
        self.in_batches(Entity::Users, &["users"], ids).await
    }

    /// How many users there are.
    pub async fn users_count(&self) -> Result<Fetched<u64>, ApiError> {
        #[derive(Deserialize)]
        struct Count {
            total_count: u64,
        }
        let read = |body: &[u8], _| page::parse::<Count>(body).map(|count| count.total_count);
        self.get(&["users", "count"], &[], Asked { is_feature: false, is_single: false }, read).await
    }

    /// One user; `None` when Clerk says that there is none.
    pub async fn user(&self, id: &UserId) -> Result<Fetched<Option<Change>>, ApiError> {
        self.single(Entity::Users, &["users", id.as_str()], id.as_str()).await
    }

    /// Organizations.
    pub async fn organizations_page(
        &self,
        limit: u32,
        offset: u64,
        order: Order,
    ) -> Result<Fetched<Page>, ApiError> {
        self.list(Entity::Organizations, &["organizations"], limit, offset, order).await
    }

    /// One organization; `None` when Clerk says that there is none.
    pub async fn organization(&self, id: &OrganizationId) -> Result<Fetched<Option<Change>>, ApiError> {
        self.single(Entity::Organizations, &["organizations", id.as_str()], id.as_str()).await
    }

    /// How many members an organization has, by Clerk's own count; `None` when it does not say.
    pub async fn members_count(&self, id: &OrganizationId) -> Result<Fetched<Option<u64>>, ApiError> {
        #[derive(Deserialize)]
        struct Counted {
            members_count: Option<u64>,
        }
        let read = |body: &[u8], _| page::parse::<Counted>(body).map(|counted| counted.members_count);
        let asked = Asked { is_feature: true, is_single: false };
        self.get(&["organizations", id.as_str()], &[("include_members_count", "true")], asked, read).await
    }

    /// Memberships of all organizations.
    pub async fn memberships_page(
        &self,
        limit: u32,
        offset: u64,
        order: Order,
    ) -> Result<Fetched<Page>, ApiError> {
        self.list(Entity::Memberships, &["organization_memberships"], limit, offset, order).await
    }

    /// Memberships of one organization, oldest first.
    pub async fn organization_memberships_page(
        &self,
        organization_id: &OrganizationId,
        limit: u32,
        offset: u64,
    ) -> Result<Fetched<Page>, ApiError> {
        let path = ["organizations", organization_id.as_str(), "memberships"];
        self.list(Entity::Memberships, &path, limit, offset, Order::OldestFirst).await
    }

    /// The memberships of these users in one organization; users who have none are left out. The time is that
    /// of the first request.
    pub async fn organization_memberships_of(
        &self,
        organization_id: &OrganizationId,
        user_ids: &[UserId],
    ) -> Result<Fetched<Page>, ApiError> {
        let path = ["organizations", organization_id.as_str(), "memberships"];
        self.in_batches(Entity::Memberships, &path, user_ids).await
    }

    /// Invitations to all organizations, with those that are no longer open.
    pub async fn invitations_page(
        &self,
        limit: u32,
        offset: u64,
        order: Order,
    ) -> Result<Fetched<Page>, ApiError> {
        self.list(Entity::Invitations, &["organization_invitations"], limit, offset, order).await
    }

    /// One invitation; `None` when Clerk says that there is none, or no such organization.
    pub async fn invitation(
        &self,
        organization_id: &OrganizationId,
        id: &InvitationId,
    ) -> Result<Fetched<Option<Change>>, ApiError> {
        let path = ["organizations", organization_id.as_str(), "invitations", id.as_str()];
        self.single(Entity::Invitations, &path, id.as_str()).await
    }

    /// The instance that the key belongs to.
    pub async fn instance(&self) -> Result<Fetched<InstanceInfo>, ApiError> {
        let read = |body: &[u8], _| page::parse(body);
        self.get(&["instance"], &[], Asked { is_feature: false, is_single: false }, read).await
    }

    async fn list(
        &self,
        entity: Entity,
        path: &[&str],
        limit: u32,
        offset: u64,
        order: Order,
    ) -> Result<Fetched<Page>, ApiError> {
        let (limit, offset) = (limit.clamp(1, MAX_PAGE).to_string(), offset.to_string());
        let query = [("limit", limit.as_str()), ("offset", &offset), ("order_by", order.as_str())];
        self.page(entity, path, &query).await
    }

    async fn page(
        &self,
        entity: Entity,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Fetched<Page>, ApiError> {
        let asked = Asked { is_feature: is_feature(entity), is_single: false };
        let read = move |body: &[u8], observed_at_ms| Objects { entity, observed_at_ms }.read_page(body);
        self.get(path, query, asked, read).await
    }

    async fn in_batches(
        &self,
        entity: Entity,
        path: &[&str],
        user_ids: &[UserId],
    ) -> Result<Fetched<Page>, ApiError> {
        let mut all: Option<Fetched<Page>> = None;
        for batch in user_ids.chunks(MAX_IDS) {
            let ids: Vec<_> = batch.iter().map(signed).collect();
            let limit = MAX_PAGE.to_string();
            let mut query: Query<'_> = vec![("limit", &limit)];
            query.extend(ids.iter().map(|id| ("user_id", id.as_ref())));
            let fetched = self.page(entity, path, &query).await?;
            match &mut all {
                Some(all) => all.value.append(fetched.value),
                None => all = Some(fetched),
            }
        }
        Ok(all.unwrap_or_else(|| Fetched { value: Page::default(), observed_at_ms: clock::now_ms() }))
    }

    async fn single(
        &self,
        entity: Entity,
        path: &[&str],
        id: &str,
    ) -> Result<Fetched<Option<Change>>, ApiError> {
        let asked = Asked { is_feature: is_feature(entity), is_single: true };
        let id = id.to_owned();
        let read =
            move |body: &[u8], observed_at_ms| Objects { entity, observed_at_ms }.read_single(body, &id);
        let fetched = self.caller.get(self.url(path, &[]), asked, self.lane, read).await?;
        Ok(Fetched { value: fetched.value.transpose()?, observed_at_ms: fetched.observed_at_ms })
    }

    async fn get<T: Send + 'static>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        asked: Asked,
        read: impl Fn(&[u8], i64) -> Result<T, ApiError> + Clone + Send + 'static,
    ) -> Result<Fetched<T>, ApiError> {
        let fetched = self.caller.get(self.url(path, query), asked, self.lane, read).await?;
        let Fetched { value, observed_at_ms } = fetched;
        // Only single objects can be gone.
        let value = value.ok_or_else(|| ApiError::garbage("no answer"))?;
        Ok(Fetched { value, observed_at_ms })
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            // A plus sign is written as %2B: a bare one would be read as a space.
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// An id as a filter takes it. Clerk reads a sign before it as "with" or "without", so an id that begins with one
/// needs another.
fn signed(id: &UserId) -> Cow<'_, str> {
    let text = id.as_str();
    if text.starts_with(['+', '-']) { format!("+{text}").into() } else { text.into() }
}

/// Whether objects of this kind can be switched off for an instance.
fn is_feature(entity: Entity) -> bool {
    entity != Entity::Users
}
