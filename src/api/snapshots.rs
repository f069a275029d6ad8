//! Lists that are kept ready, and what is known of those who ask.
//!
//! A snapshot is one default list of one organization, and what the read model knows of everybody who has, or
//! had, a membership there: whoever asks for the list is judged by it without asking the database. It is never
//! changed, only replaced. The store's generation tells whether it is current; see `store/generation.rs`.
//!
//! The two lists of an organization are two snapshots, so that nobody pays for a list that nobody asks for.
//! A list is built once, however many wait for it, and what is too large to be kept is shared by those who wait.
//! While it is built only its bytes are held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, counter};
use moka::sync::Cache;
use tokio::sync::OnceCell;

use super::body::Array;
use super::params::List;
use super::problem::Problem;
use super::ready::Ready;
use crate::domain::{Member, MemberQuery, OrganizationId, Standing, StoredMembership, UserId};
use crate::store::{Store, StoreError};

/// Of how many callers who ask for parts of a list, or follow it, we remember what is known of them. One takes some 300 bytes.
const CALLERS: u64 = 16_384;

/// One list may take so much of the cache.
const LARGEST_SHARE: u64 = 4;
/// What nobody asks for goes, so that what it says of people does not stay for ever.
const IDLE: Duration = Duration::from_hours(1);
/// About what is kept of a person beside the list.
const STANDING_BYTES: usize = 160;
const ENTRY_BYTES: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    organization_id: OrganizationId,
    list: List,
}

/// One list of one organization at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Taken before the database was asked.
    generation: u64,
    /// By user id.
    standings: Box<[(UserId, Standing)]>,
    /// The list.
    pub(super) list: Ready,
}

type Flight = Arc<OnceCell<Arc<Snapshot>>>;

/// All that are kept.
#[derive(Debug)]
pub(super) struct Snapshots {
    kept: Cache<Key, Arc<Snapshot>>,
    /// Being built, by the generation that they will have: who has seen a newer one waits for a newer flight.
    /// With each, how many wait for it.
    flights: Mutex<HashMap<(Key, u64), (usize, Flight)>>,
    /// What is known of callers whose list is not kept, with the generation that it is of.
    callers: Cache<(OrganizationId, UserId), (u64, Standing)>,
    hits: Counter,
    misses: Counter,
}

impl Snapshots {
    /// Keeps so many MiB of them; with none, every list is built when it is asked for.
    pub(super) fn new(mebibytes: u32) -> Self {
        let capacity_kib = u64::from(mebibytes) * 1024;
        let heaviest = capacity_kib / LARGEST_SHARE;
        let weigh = move |_: &Key, snapshot: &Arc<Snapshot>| {
            let kib = snapshot.kib();
            // What is heavier than the whole cache is not kept.
            if u64::from(kib) > heaviest { u32::MAX } else { kib }
        };
        let kept = Cache::builder().max_capacity(capacity_kib).weigher(weigh).time_to_idle(IDLE).build();
        let callers = if mebibytes == 0 { 0 } else { CALLERS };
        let callers = Cache::builder().max_capacity(callers).time_to_idle(IDLE).build();
        let asked =
            |outcome| counter!("roster_cache_requests_total", "cache" => "snapshots", "outcome" => outcome);
        Self { kept, flights: Mutex::default(), callers, hits: asked("hit"), misses: asked("miss") }
    }

    /// The current snapshot, if it is kept.
    pub(super) fn current(
        &self,
        store: &Store,
        organization_id: &OrganizationId,
        list: List,
    ) -> Option<Arc<Snapshot>> {
        let key = Key { organization_id: organization_id.clone(), list };
        self.kept_at(&key, store.generation(organization_id))
    }

    /// Counts an answer that came from what [`Self::current`] knew.
    pub(super) fn count_hit(&self) {
        self.hits.increment(1);
    }

    /// The current snapshot of a whole list; builds it when it is not kept.
    pub(super) async fn get(
        &self,
        store: &Store,
        whole: &MemberQuery,
        list: List,
    ) -> Result<Arc<Snapshot>, Problem> {
        let key = Key { organization_id: whole.organization_id.clone(), list };
        let generation = store.generation(&key.organization_id);
        if let Some(kept) = self.kept_at(&key, generation) {
            self.hits.increment(1);
            return Ok(kept);
        }
        self.misses.increment(1);
        let flight = Waiting::on(self, (key.clone(), generation));
        let built = flight
            .cell
            .get_or_try_init(async || {
                // The last flight may have landed just now.
                if let Some(kept) = self.kept_at(&key, generation) {
                    return Ok(kept);
                }
                let built = Arc::new(Snapshot::build(store, whole, list).await?);
                self.kept.insert(key, Arc::clone(&built));
                Ok::<_, Problem>(built)
            })
            .await?;
        Ok(Arc::clone(built))
    }

    /// What is known of a caller in its organization; asks the database when nobody has asked since it changed.
    pub(super) async fn standing(
        &self,
        store: &Store,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<Standing, StoreError> {
        let generation = store.generation(organization);
        let key = (organization.clone(), user.clone());
        if let Some((_, kept)) = self.callers.get(&key).filter(|(of, _)| *of >= generation) {
            return Ok(kept);
        }
        let standing = store.standing(organization, user).await?;
        // One without a membership here is not kept: what becomes of that user does not touch this organization, so
        // nothing would drop it.
        if standing.membership.is_some() {
            self.callers.insert(key, (generation, standing.clone()));
        }
        Ok(standing)
    }

    /// Generations only grow, and what is of a later one than was asked for is current too.
    fn kept_at(&self, key: &Key, generation: u64) -> Option<Arc<Snapshot>> {
        self.kept.get(key).filter(|snapshot| snapshot.generation >= generation)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<(Key, u64), (usize, Flight)>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for a flight. The last one takes it off the board, also when all have hung up.
struct Waiting<'a> {
    snapshots: &'a Snapshots,
    name: (Key, u64),
    cell: Flight,
}

impl<'a> Waiting<'a> {
    fn on(snapshots: &'a Snapshots, name: (Key, u64)) -> Self {
        let cell = {
            let mut flights = snapshots.flights();
            let (waiting, cell) = flights.entry(name.clone()).or_default();
            *waiting += 1;
            Arc::clone(cell)
        };
        Self { snapshots, name, cell }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut flights = self.snapshots.flights();
        let Some((waiting, _)) = flights.get_mut(&self.name) else { return };
        *waiting -= 1;
        if *waiting == 0 {
            flights.remove(&self.name);
        }
    }
}

impl Snapshot {
    /// What is known of a caller; `None` for one of whose membership nothing is known here.
    pub(super) fn standing(&self, user: &UserId) -> Option<&Standing> {
        let at = self.standings.binary_search_by(|(id, _)| id.cmp(user)).ok()?;
        self.standings.get(at).map(|(_, standing)| standing)
    }

    async fn build(store: &Store, whole: &MemberQuery, list: List) -> Result<Self, Problem> {
        // Before anything is asked: what is written meanwhile makes this one stale.
        let generation = store.generation(&whole.organization_id);
        let mut array = Array::new(list, &whole.organization_id);
        let mut standings = Vec::new();
        let show = |member: Member| {
            array.push(&member);
            let membership = StoredMembership::Active {
                role: member.role,
                updated_at_ms: member.membership_updated_at_ms,
            };
            let standing = Standing {
                user_banned: member.user.banned,
                membership: Some(membership),
                ..Standing::default()
            };
            standings.push((member.user.id, standing));
        };
        let unlisted = store.roll(whole, show).await?;
        let json = array.finish()?;
        let organization = unlisted.organization;
        for (_, standing) in &mut standings {
            standing.organization_known = organization.organization_known;
            standing.organization_deleted = organization.organization_deleted;
        }
        standings.extend(unlisted.users);
        standings.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self { generation, standings: standings.into(), list: Ready::new(json) })
    }

    fn kib(&self) -> u32 {
        let bytes = ENTRY_BYTES + self.list.bytes() + self.standings.len() * STANDING_BYTES;
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
    }
}
