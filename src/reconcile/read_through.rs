//! Fetches an organization that somebody asks about and that nothing is known of.
//!
//! A token can be ahead of every webhook: the organization was made a second ago, or years before the first
//! event. Its members are then fetched at once, by one flight for each organization, whoever waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::hydrate::{self, FetchError};
use crate::clerk::backend_api::{ApiError, BackendApi, MAX_PAGE};
use crate::domain::{Change, OrganizationId, UserId};
use crate::store::Store;
use crate::telemetry::causes;

/// How long it is remembered that an organization was fetched, or that Clerk knows none of this id.
const REMEMBERED: Duration = Duration::from_mins(10);
/// How long a failed flight keeps the next one waiting.
const COOL_DOWN: Duration = Duration::from_secs(5);
/// How often the members are read at most before it is given up that their number stays the same.
const WALKS: usize = 3;
/// How many organizations are remembered.
const MOST: usize = 100_000;

/// Fetches unknown organizations.
#[derive(Debug, Clone)]
pub struct ReadThrough {
    store: Store,
    api: BackendApi,
    patience: Duration,
    flights: Arc<Mutex<HashMap<OrganizationId, Flight>>>,
}

#[derive(Debug, Clone)]
enum Flight {
    /// Under way; the channel closes when it has landed.
    Up(watch::Receiver<()>),
    /// What it brought is in the store.
    Landed(Instant),
    /// It brought nothing.
    Failed(Instant),
}

impl Flight {
    fn counts(&self) -> bool {
        match self {
            // One that ended in a panic is closed as well, and has not landed.
            Self::Up(landing) => landing.has_changed().is_ok(),
            Self::Landed(at) => at.elapsed() < REMEMBERED,
            Self::Failed(at) => at.elapsed() < COOL_DOWN,
        }
    }
}

impl ReadThrough {
    /// A caller waits for a flight no longer than `patience`.
    pub fn new(store: Store, api: &BackendApi, patience: Duration) -> Self {
        Self { store, api: api.urgent(), patience, flights: Arc::default() }
    }

    /// Waits until the organization has been fetched; false when it takes too long, or did not work.
    pub async fn fetch(&self, organization: &OrganizationId) -> bool {
        let landing = match self.flight(organization) {
            Flight::Landed(_) => return true,
            Flight::Failed(_) => return false,
            Flight::Up(landing) => landing,
        };
        let mut landing = landing;
        // The sender is dropped when the flight has landed.
        let landed = tokio::time::timeout(self.patience, async { while landing.changed().await.is_ok() {} });
        landed.await.is_ok() && matches!(self.flights().get(organization), Some(Flight::Landed(_)))
    }

    /// The flight for an organization; starts one when there is none that counts.
    fn flight(&self, organization: &OrganizationId) -> Flight {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(organization).filter(|flight| flight.counts()) {
            return flight.clone();
        }
        if flights.len() >= MOST {
            flights.retain(|_, flight| flight.counts());
        }
        let (take_off, landing) = watch::channel(());
        let flight = Flight::Up(landing);
        flights.insert(organization.clone(), flight.clone());
        drop(flights);
        // On its own, so that a caller who gives up does not end it for all the others.
        let this = self.clone();
        let organization = organization.clone();
        tokio::spawn(async move {
            let landed = match this.bring(&organization).await {
                Ok(members) => {
                    if let Some(members) = members {
                        info!(%organization, members, "an unknown organization was fetched");
                    } else {
                        info!(%organization, "Clerk knows no such organization either");
                    }
                    Flight::Landed(Instant::now())
                }
                Err(error) => {
                    warn!(%organization, error = %causes(&error), "an unknown organization was not fetched");
                    Flight::Failed(Instant::now())
                }
            };
            this.flights().insert(organization, landed);
            drop(take_off);
        });
        flight
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<OrganizationId, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches an organization, its memberships and its users. Answers how many members it has; `None` when Clerk has no
    /// such organization.
    async fn bring(&self, id: &OrganizationId) -> Result<Option<usize>, FetchError> {
        let organization = match self.api.organization(id).await {
            Ok(organization) => organization.value,
            Err(error @ ApiError::FeatureOff { .. }) => {
                debug!(%error, "organizations cannot be asked for");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Some(organization) = organization else { return Ok(None) };
        let members = self.bring_members(id).await?;
        // Last, because from now on the organization counts as known.
        self.store.apply(vec![organization]).await?;
        Ok(Some(members))
    }

    /// Fetches the memberships of an organization, and its users. Answers how many. Whoever leaves meanwhile moves all
    /// who came later, one of them onto a page that was read already, so they are read again then. When somebody else
    /// joins before the next page, nobody notices; the next full pass does.
    async fn bring_members(&self, id: &OrganizationId) -> Result<usize, FetchError> {
        for _ in 0..WALKS {
            if let Some(members) = self.walk(id).await? {
                return Ok(members);
            }
        }
        let what = "members leave while their list is read, again and again".to_owned();
        Err(ApiError::Garbage { what }.into())
    }

    /// Fetches them page by page, the oldest first; `None` when there are fewer of them on the way.
    async fn walk(&self, id: &OrganizationId) -> Result<Option<usize>, FetchError> {
        let (mut members, mut offset, mut before) = (0, 0, None);
        loop {
            let page = self.api.organization_memberships_page(id, MAX_PAGE, offset).await?.value;
            if page.total_count < before {
                return Ok(None);
            }
            before = page.total_count;
            if page.received == 0 && page.total_count.is_some_and(|total| offset < total) {
                let what = "a list of members ends before its own count".to_owned();
                return Err(ApiError::Garbage { what }.into());
            }
            offset += page.received as u64;
            members += page.changes.len();
            let users: Vec<UserId> = page.changes.iter().filter_map(Change::member).cloned().collect();
            hydrate::fetch(&self.store, &self.api, &users).await?;
            let ended = page.received == 0 || page.total_count.is_none_or(|total| offset >= total);
            self.store.apply(page.changes).await?;
            if ended {
                return Ok(Some(members));
            }
        }
    }
}
