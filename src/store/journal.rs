//! The journal: what came in, and what became of it.
//!
//! It remembers message ids, so that a message is applied once, and keeps what could not be used as dead
//! letters. A payload is stripped before it gets here, and blanked when the person it speaks of is deleted.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::connection::{Connection, Pool, Row};
use super::error::StoreError;
use super::rows::{Asked, Script, Statement, cell, ids};
use crate::domain::{InvitationId, MembershipId, Outcome, UserId};

/// The outcome of a delivery that could not be used.
pub(super) const DEAD: &str = "dead";

/// One signed event, on its way into the journal.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `svix-id`
    pub message_id: String,
    /// Clerk's name of the event.
    pub event_type: &'static str,
    /// The id of the object that it is about, as far as it could be read.
    pub object_id: Option<String>,
    /// The user that it is about, as far as it could be read.
    pub user_id: Option<UserId>,
    /// When it happened, in Unix milliseconds.
    pub occurred_at_ms: Option<i64>,
    /// When it came in, in Unix milliseconds.
    pub received_at_ms: i64,
    /// What it says, stripped to what we use; JSON.
    pub payload: Option<String>,
}

impl Delivery {
    /// The invitation that it is about.
    pub(super) fn invitation_id(&self) -> Option<InvitationId> {
        let id =
            self.object_id.as_ref().filter(|_| self.event_type.starts_with("organizationInvitation."))?;
        InvitationId::parse(id).ok()
    }

    /// The membership that it is about.
    pub(super) fn membership_id(&self) -> Option<MembershipId> {
        let id =
            self.object_id.as_ref().filter(|_| self.event_type.starts_with("organizationMembership."))?;
        MembershipId::parse(id).ok()
    }
}

/// A delivery and what became of it.
pub(super) struct Entry<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) outcome: &'static str,
    pub(super) error: Option<&'a str>,
}

static SETTLED: Statement<1> = Statement::new(
    "SELECT e.message_id FROM (VALUES {rows}) AS r CROSS JOIN events e
    WHERE e.message_id = r.column1 AND e.outcome IN ('applied', 'stale')",
);

pub(super) fn load_settled<'a>(
    script: &mut Script<'a>,
    deliveries: impl Iterator<Item = &'a Delivery>,
) -> Asked {
    script.add(&SETTLED, ids(deliveries.map(|delivery| delivery.message_id.as_str())))
}

/// Which of the messages were applied, or stale, before.
pub(super) fn settled(rows: &[Row]) -> Result<HashSet<String>, StoreError> {
    rows.iter().map(|row| Ok(row.try_get("message_id")?)).collect()
}

static RECORD: Statement<9> = Statement::new(
    "INSERT INTO events (message_id, type, object_id, user_id, occurred_at_ms, received_at_ms, outcome, error,
        payload)
    VALUES {rows}
    ON CONFLICT (message_id) DO UPDATE SET type = excluded.type, object_id = excluded.object_id,
        user_id = excluded.user_id, occurred_at_ms = excluded.occurred_at_ms,
        received_at_ms = excluded.received_at_ms, outcome = excluded.outcome, error = excluded.error,
        payload = excluded.payload",
);

static ADVANCE: Statement<2> = Statement::new(
    "INSERT INTO progress (name, at_ms) VALUES {rows}
    ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms WHERE excluded.at_ms > progress.at_ms",
);

/// Writes the entries of a batch; the payload of one that `is_erased` is left out. Answers when the newest event of
/// those that were applied happened.
pub(super) fn record<'a>(
    script: &mut Script<'a>,
    entries: Vec<Entry<'a>>,
    is_erased: impl Fn(&Delivery) -> bool,
) -> Option<i64> {
    let applied = entries.iter().filter(|entry| entry.outcome == Outcome::Applied.as_str());
    let last_applied_ms = applied.filter_map(|entry| entry.delivery.occurred_at_ms).max();
    // Within one batch the last word on a message counts, and a statement may touch a row only once.
    let entries: BTreeMap<_, _> =
        entries.into_iter().map(|entry| (entry.delivery.message_id.as_str(), entry)).collect();
    let rows = entries.into_values().map(|Entry { delivery, outcome, error }| {
        [
            cell(delivery.message_id.as_str()),
            cell(delivery.event_type),
            cell(delivery.object_id.as_deref()),
            cell(delivery.user_id.as_ref()),
            cell(delivery.occurred_at_ms),
            cell(delivery.received_at_ms),
            cell(outcome),
            cell(error),
            cell(delivery.payload.as_deref().filter(|_| !is_erased(delivery))),
        ]
    });
    script.add(&RECORD, rows);
    script.add(&ADVANCE, last_applied_ms.map(|at_ms| [cell("last_applied_event"), cell(at_ms)]));
    last_applied_ms
}

static ERASE_USERS: Statement<1> = Statement::new(
    "UPDATE events SET payload = NULL WHERE payload IS NOT NULL AND user_id IN (VALUES {rows})",
);
static ERASE_INVITATIONS: Statement<1> = Statement::new(
    "UPDATE events SET payload = NULL WHERE payload IS NOT NULL AND user_id IS NULL
    AND object_id IN (SELECT i.id FROM invitations i WHERE i.user_id IN (VALUES {rows}))",
);
static ERASE_MEMBERSHIPS: Statement<1> = Statement::new(
    "UPDATE events SET payload = NULL WHERE payload IS NOT NULL AND user_id IS NULL
    AND object_id IN (SELECT m.id FROM memberships m WHERE m.user_id IN (VALUES {rows}))",
);

static ERASE_NAMELESS: Statement<1> = Statement::new(
    "UPDATE events SET payload = NULL WHERE payload IS NOT NULL AND user_id IS NULL
    AND object_id IN (VALUES {rows})",
);

/// Blanks what the journal says of deleted users, of their memberships (a dead letter may not name its user),
/// of the invitations that they accepted, and of invitations that nobody knows whom to forget with.
pub(super) fn erase<'a>(
    script: &mut Script<'a>,
    users: &BTreeSet<&'a UserId>,
    nameless: &BTreeSet<&'a InvitationId>,
) {
    script.then();
    for statement in [&ERASE_USERS, &ERASE_MEMBERSHIPS, &ERASE_INVITATIONS] {
        script.add(statement, ids(users.iter().copied()));
    }
    script.add(&ERASE_NAMELESS, ids(nameless.iter().copied()));
}

/// The later of the last applied event's time and the start of the last completed pass.
pub(super) async fn as_of_ms(db: &mut Connection) -> Result<Option<i64>, StoreError> {
    Ok(db.fetch_one("SELECT MAX(at_ms) FROM progress", &[]).await?.try_get(0)?)
}

/// When the newest event came in.
pub(super) async fn last_arrival_ms(readers: &Pool) -> Result<Option<i64>, StoreError> {
    let mut db = readers.acquire().await?;
    Ok(db.fetch_one("SELECT MAX(received_at_ms) FROM events", &[]).await?.try_get(0)?)
}

/// The outcome is spelled out, because a partial index serves only what provably lies within it.
const DEAD_LETTERS: &str = "SELECT COUNT(*) FROM events WHERE outcome = 'dead'";

/// How many events could not be used.
pub(super) async fn dead_letters(readers: &Pool) -> Result<u64, StoreError> {
    let count: i64 = readers.acquire().await?.fetch_one(DEAD_LETTERS, &[]).await?.try_get(0)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

const FORGET: &str = "DELETE FROM events WHERE message_id IN
    (SELECT e.message_id FROM events e WHERE e.received_at_ms < $1 ORDER BY e.received_at_ms LIMIT $2)";

/// Forgets events that came in before a moment, at most `limit` of them. Answers how many it forgot.
pub(super) async fn forget(db: &Pool, before_ms: i64, limit: i64) -> Result<u64, StoreError> {
    let mut db = db.acquire().await?;
    db.begin_writing().await?;
    let forgotten = db.execute(FORGET, &[cell(before_ms), cell(limit)]).await?;
    db.commit().await?;
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::members::tests::plan;

    /// The writer waits for it.
    #[tokio::test]
    async fn an_erasure_reads_no_more_than_it_blanks() {
        for (statement, index) in [
            (&ERASE_USERS, "SEARCH events USING INDEX events_by_user (user_id=?)"),
            (&ERASE_MEMBERSHIPS, "SEARCH events USING INDEX events_by_object (object_id=?)"),
            (&ERASE_INVITATIONS, "SEARCH events USING INDEX events_by_object (object_id=?)"),
            (&ERASE_NAMELESS, "SEARCH events USING INDEX events_by_object (object_id=?)"),
        ] {
            for rows in [1, 4] {
                let plan = plan(statement.over_lot(rows)).await;
                assert!(plan.starts_with(index), "{plan}");
            }
        }
    }
}
