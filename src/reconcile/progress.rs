//! Where a pass stands, so that the next one can go on exactly there.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::report::{Entities, Report};
use crate::clock;
use crate::domain::{Difference, Entity, Outcome, PassKind, PassOutcome};
use crate::store::{Applied, Store, StoreError, StoredPass, Unseen};

/// A pass, from its first page to its report. Kept with every page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) kind: PassKind,
    /// By Clerk's clock. What was observed before this moment, the walk has not seen.
    pub(super) started_at_ms: i64,
    pub(super) finished_at_ms: i64,
    /// By our own clock, for how long it can be resumed: Clerk's may show another time.
    pub(super) opened_at_ms: i64,
    pub(super) stage: Stage,
    /// Whether it fills a copy that was empty: until it is done, the copy is not Clerk's truth.
    #[serde(default = "yes")]
    pub(super) is_backfill: bool,
    pub(super) entities: Entities,
    /// Entities whose lists Clerk does not give out: their absence means nothing.
    pub(super) off: Vec<Entity>,
    /// Entities whose lists ended before their own count. Should the pass be resumed, they are walked again.
    pub(super) short: Vec<Entity>,
    /// How many objects Clerk says that it holds.
    pub(super) totals: HashMap<Entity, u64>,
    /// What of it the metrics have, while they do not have all of it: a service counts the rest of what a command found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uncounted: Option<Entities>,
    /// Rows that were observed in the very second in which the pass began, or later by some other clock, and
    /// that the walk has not shown yet: their time does not tell that.
    pub(super) suspects: Vec<(Entity, Unseen)>,
}

/// The part of a pass that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Stage {
    /// Walking the lists that did not come to their ends yet.
    Lists(BTreeMap<Entity, Position>),
    /// Looking for what is gone.
    Gone,
    /// Done.
    Done,
}

/// How far a list is walked, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Position {
    /// Users behind the last of these ids. They end the last page: Clerk may delete the very user that a cursor names.
    After(Vec<String>),
    /// Another entity, from `offset`. `anchor` is what stood before it: when something else stands there now, a
    /// deletion has moved the list.
    From { offset: u64, anchor: Option<Anchor> },
}

impl Position {
    /// Before the first page.
    fn start(entity: Entity) -> Self {
        match entity {
            Entity::Users => Self::After(Vec::new()),
            Entity::Organizations | Entity::Memberships | Entity::Invitations => {
                Self::From { offset: 0, anchor: None }
            }
        }
    }
}

/// The last object of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Anchor {
    pub(super) id: String,
    /// The list is ordered by this; what is not younger than the anchor has been seen with it.
    pub(super) created_at_ms: i64,
}

impl Progress {
    /// A pass of which nothing is done yet.
    pub(super) fn new(kind: PassKind, is_backfill: bool) -> Self {
        let started_at_ms = clock::now_ms();
        Self {
            kind,
            started_at_ms,
            finished_at_ms: started_at_ms,
            opened_at_ms: started_at_ms,
            stage: Stage::start(),
            is_backfill,
            entities: Entities::default(),
            off: Vec::new(),
            short: Vec::new(),
            totals: HashMap::new(),
            uncounted: None,
            suspects: Vec::new(),
        }
    }

    /// How many objects there are, by Clerk's word, however great.
    pub(super) fn total(&self) -> u64 {
        self.totals.values().fold(0, |all, total| all.saturating_add(*total))
    }

    /// Whether nothing of it is done yet.
    pub(super) fn is_new(&self) -> bool {
        self.stage == Stage::start() && self.entities == Entities::default()
    }

    /// Sets the moment from which on everything that is shown counts as seen.
    pub(super) fn begin(&mut self, started_at_ms: i64) {
        self.started_at_ms = started_at_ms;
        self.finished_at_ms = started_at_ms;
    }

    /// Begins again with the lists of which Clerk did not show all: it may do so now.
    pub(super) fn resume(&mut self) {
        let again: Vec<_> = self.off.drain(..).chain(self.short.drain(..)).collect();
        for entity in again {
            self.entities.of_mut(entity).seen = 0;
            self.stand(entity, Position::start(entity));
        }
    }

    /// Notes how far a list is walked.
    pub(super) fn stand(&mut self, entity: Entity, position: Position) {
        match &mut self.stage {
            Stage::Lists(positions) => _ = positions.insert(entity, position),
            Stage::Gone | Stage::Done => self.stage = Stage::Lists(BTreeMap::from([(entity, position)])),
        }
    }

    /// Notes that a list is walked to its end. After the last of them the pass looks for what is gone.
    pub(super) fn end(&mut self, entity: Entity) {
        if let Stage::Lists(positions) = &mut self.stage {
            positions.remove(&entity);
            if positions.is_empty() {
                self.stage = Stage::Gone;
            }
        }
    }

    /// Counts objects that Clerk has shown, by what became of each.
    pub(super) fn count(&mut self, entity: Entity, shown: &[Applied]) {
        let count = |is: fn(&Applied) -> bool| shown.iter().filter(|applied| is(applied)).count() as u64;
        let drift = self.entities.of_mut(entity);
        drift.seen += shown.len() as u64;
        drift.missing += count(|applied| applied.found == Difference::Missing);
        drift.stale += count(|applied| applied.found == Difference::Stale);
        drift.repaired +=
            count(|applied| applied.found != Difference::None && applied.outcome == Outcome::Applied);
    }

    /// The pass as it is kept; `outcome` is `None` while it can be resumed.
    pub(super) fn stored(&self, id: &str, outcome: Option<PassOutcome>) -> StoredPass {
        StoredPass {
            id: id.to_owned(),
            kind: self.kind,
            outcome,
            started_at_ms: self.started_at_ms,
            // Plain structs with text keys: writing them cannot fail.
            progress: serde_json::to_string(self).unwrap_or_default(),
        }
    }

    pub(super) fn report(&self, outcome: PassOutcome, dry_run: bool) -> Report {
        Report {
            kind: self.kind,
            outcome,
            dry_run,
            started_at: self.started_at_ms,
            finished_at: self.finished_at_ms,
            entities: self.entities,
        }
    }
}

/// Whether a pass that did not end had a copy to fill. One that cannot be read may have had.
pub(super) fn is_backfill(stored: &StoredPass) -> bool {
    serde_json::from_str::<Progress>(&stored.progress).map_or(true, |progress| progress.is_backfill)
}

fn yes() -> bool {
    true
}

/// When the last completed pass of either kind ended, whichever process ran it.
pub async fn last_success_ms(store: &Store) -> Result<Option<i64>, StoreError> {
    let last = store.last_completed_pass().await?;
    Ok(last.map(|pass| {
        let progress = serde_json::from_str::<Progress>(&pass.progress);
        progress.map_or(pass.started_at_ms, |progress| progress.finished_at_ms)
    }))
}

impl Stage {
    /// At the beginning of all lists.
    fn start() -> Self {
        Self::Lists(Entity::ALL.into_iter().map(|entity| (entity, Position::start(entity))).collect())
    }

    /// The word for it, for a person who watches.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Lists(_) => "Clerk's lists",
            Self::Gone => "what is gone",
            Self::Done => "done",
        }
    }
}
