//! Applies changes to the read model: the one door for writes.
//!
//! Deliveries and passes both end here, many in one transaction: load the states they are about, merge
//! (`domain::merge` decides), let fall what falls with a deleted parent, save what grew, and let everything that is
//! derived follow: who is listed, the journal, and the erasure of deleted people.
//!
//! Invariant: the same changes, in any order and any number of times, leave the same rows
//! (`tests/store/convergence.rs`).

use std::collections::BTreeSet;

use super::connection::Connection;
use super::error::StoreError;
use super::journal::{self, Delivery, Entry};
use super::model::Model;
use super::passes::{self, StoredPass};
use super::project;
use super::rows::Script;
use super::writer::BUDGET_KIB;
use crate::domain::difference::difference;
use crate::domain::merge::Effect;
use crate::domain::{Change, Difference, OrganizationId, Outcome};

/// What a caller wants written.
pub(super) enum Work {
    /// An event that was understood.
    Delivery {
        /// For the journal.
        delivery: Delivery,
        /// What it says.
        changes: Vec<Change>,
    },
    /// An event that was not understood.
    DeadLetter {
        /// For the journal.
        delivery: Delivery,
        /// Why not.
        error: String,
    },
    /// What a pass found.
    Pass {
        /// What it says.
        changes: Vec<Change>,
        /// Where it stands then.
        checkpoint: Option<PassCheckpoint>,
    },
}

/// Where a pass stands when its changes are written, by what became of each of them.
pub(super) type PassCheckpoint = Box<dyn Fn(&[Applied]) -> StoredPass + Send + Sync>;

impl Work {
    /// For the journal, if it came as an event.
    pub(super) fn delivery(&self) -> Option<&Delivery> {
        match self {
            Self::Delivery { delivery, .. } | Self::DeadLetter { delivery, .. } => Some(delivery),
            Self::Pass { .. } => None,
        }
    }

    /// About how much memory it takes while it waits, and never more than there is for all: it would wait for ever.
    pub(super) fn kib(&self) -> u32 {
        const CHANGE: usize = 2;
        let payload = self.delivery().and_then(|delivery| delivery.payload.as_ref()).map_or(0, String::len);
        let kib = 1 + payload / 1024 + self.changes().len() * CHANGE;
        u32::try_from(kib.min(BUDGET_KIB)).unwrap_or(u32::MAX)
    }

    /// As how many deliveries it counts when the log is to be written back: many changes of a pass write the same pages.
    pub(super) fn weight(&self) -> usize {
        const CHANGES: usize = 16;
        1 + self.changes().len() / CHANGES
    }

    /// What it says.
    pub(super) fn changes(&self) -> &[Change] {
        match self {
            Self::Delivery { changes, .. } | Self::Pass { changes, .. } => changes,
            Self::DeadLetter { .. } => &[],
        }
    }
}

/// What became of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// How what was known differed.
    pub found: Difference,
    /// Whether the read model changed.
    pub outcome: Outcome,
}

/// What a batch came to.
pub(super) struct Written {
    /// For each piece of work the outcome of a delivery, or what became of each change of a pass.
    pub(super) outcomes: Vec<Vec<Applied>>,
    /// The version of these, when there are any.
    pub(super) version: Option<i64>,
    /// That of the batch before.
    pub(super) version_before: i64,
    /// Whether personal data was blanked.
    pub(super) erased: bool,
    /// Organizations of which an answer may be another one now.
    pub(super) touched: BTreeSet<OrganizationId>,
    /// When the newest event of those that were applied happened.
    pub(super) last_applied_ms: Option<i64>,
}

/// Writes a batch within the caller's transaction.
pub(super) async fn batch(db: &mut Connection, work: &[&Work]) -> Result<Written, StoreError> {
    let (mut model, mut settled) = Model::load(db, work).await?;
    let mut entries = Vec::with_capacity(work.len());
    let mut outcomes = Vec::with_capacity(work.len());
    let mut checkpoints = Vec::new();
    for work in work {
        let outcome = |outcome| Applied { found: Difference::None, outcome };
        match work {
            Work::Delivery { delivery, .. } if settled.contains(&delivery.message_id) => {
                outcomes.push(vec![outcome(Outcome::Duplicate)]);
            }
            Work::Delivery { delivery, changes } => {
                let effect = changes.iter().map(|change| model.merge(change.clone())).max();
                let applied = outcome(outcome_of(effect.unwrap_or(Effect::None)));
                settled.insert(delivery.message_id.clone());
                entries.push(Entry { delivery, outcome: applied.outcome.as_str(), error: None });
                outcomes.push(vec![applied]);
            }
            Work::DeadLetter { delivery, error } => {
                let again = settled.contains(&delivery.message_id);
                if !again {
                    entries.push(Entry { delivery, outcome: journal::DEAD, error: Some(error) });
                }
                outcomes.push(Vec::from_iter(again.then_some(outcome(Outcome::Duplicate))));
            }
            Work::Pass { changes, checkpoint } => {
                let apply = |change: &Change| {
                    let found = difference(change, model.known(change).as_ref());
                    Applied { found, outcome: outcome_of(model.merge(change.clone())) }
                };
                let applied: Vec<_> = changes.iter().map(apply).collect();
                checkpoints.extend(checkpoint.as_ref().map(|checkpoint| checkpoint(&applied)));
                outcomes.push(applied);
            }
        }
    }
    let mut script = Script::default();
    // First: who is a member is found as it was before the batch, and what the batch saves says whether it fell.
    model.let_fall(&mut script);
    script.then();
    let members = model.save(&mut script);
    passes::record(&mut script, &checkpoints);
    let last_applied_ms = journal::record(&mut script, entries, |delivery| model.is_erased(delivery));
    let (erased_users, nameless) = (model.erased_users(), model.accepted_by_nobody_known());
    journal::erase(&mut script, &erased_users, &nameless);
    let members = project::members(&script.run(db).await?.take(members))?;
    let (touched, version) = model.project(db, members).await?;
    let (touched, erased) = (touched.all(), !erased_users.is_empty() || model.forgets_nameless());
    let version_before = model.last_version();
    Ok(Written { outcomes, version, version_before, erased, touched, last_applied_ms })
}

fn outcome_of(effect: Effect) -> Outcome {
    if effect == Effect::None { Outcome::Stale } else { Outcome::Applied }
}
