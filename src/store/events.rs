//! Reads the journal for people: the events, newest first, and what there is of one person.
//!
//! Everything here only looks. What came in again goes through `Store::deliver`, as a delivery does.

use serde::{Serialize, Serializer};

use super::connection::Row;
use super::error::StoreError;
use super::journal::DEAD;
use super::rows::cell;
use super::{Store, wal_truncate};
use crate::config::Database;
use crate::domain::UserId;
use crate::domain::time::iso8601;

/// How many events one statement reads.
const PAGE: i64 = 500;

/// One event of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// `svix-id`
    pub message_id: String,
    /// Clerk's name of the event.
    pub event_type: String,
    /// The id of the object that it is about, as far as it could be read.
    pub object_id: Option<String>,
    /// The user that it is about, as far as it could be read.
    pub user_id: Option<String>,
    /// When it happened, in Unix milliseconds.
    pub occurred_at_ms: Option<i64>,
    /// When it came in, in Unix milliseconds.
    pub received_at_ms: i64,
    /// What became of it: `applied`, `stale` or `dead`.
    pub outcome: String,
    /// Why it could not be used.
    pub error: Option<String>,
}

impl StoredEvent {
    /// Whether it could not be used.
    pub fn is_dead(&self) -> bool {
        self.outcome == DEAD
    }

    /// What it is about: its object, else its user.
    pub fn subject(&self) -> Option<&str> {
        self.object_id.as_deref().or(self.user_id.as_deref())
    }

    /// Where it stands in the journal.
    pub fn cursor(&self) -> EventCursor {
        EventCursor { received_at_ms: self.received_at_ms, message_id: self.message_id.clone() }
    }
}

/// As commands and the console show it: what it is about is one id, and nothing of what it says is in it.
impl Serialize for StoredEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            id: &'a str,
            r#type: &'a str,
            outcome: &'a str,
            subject: Option<&'a str>,
            occurred_at: Option<String>,
            received_at: String,
            error: Option<&'a str>,
        }
        let document = Document {
            id: &self.message_id,
            r#type: &self.event_type,
            outcome: &self.outcome,
            subject: self.subject(),
            occurred_at: self.occurred_at_ms.map(iso8601),
            received_at: iso8601(self.received_at_ms),
            error: self.error.as_deref(),
        };
        document.serialize(serializer)
    }
}

/// A position in the journal, which is ordered by arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCursor {
    received_at_ms: i64,
    message_id: String,
}

impl EventCursor {
    /// Behind the newest event.
    pub fn end() -> Self {
        Self { received_at_ms: i64::MAX, message_id: String::new() }
    }
}

/// Which events are asked for; all that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// What became of it.
    pub outcome: Option<String>,
    /// Clerk's name of the event.
    pub event_type: Option<String>,
    /// The id of its object or its user.
    pub subject: Option<String>,
}

/// What there is of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Whether anything knows this id.
    pub is_known: bool,
    /// When the user was deleted, in Unix milliseconds.
    pub deleted_at_ms: Option<i64>,
    /// Memberships that stand.
    pub memberships: u64,
    /// Invitations that the user accepted.
    pub invitations: u64,
    /// Events of the journal that still say something of the user.
    pub events: u64,
}

fn event(row: &Row) -> Result<StoredEvent, StoreError> {
    let (message_id, event_type, object_id, user_id, occurred_at_ms, received_at_ms, outcome, error) =
        row.tuple()?;
    Ok(StoredEvent {
        message_id,
        event_type,
        object_id,
        user_id,
        occurred_at_ms,
        received_at_ms,
        outcome,
        error,
    })
}

macro_rules! events {
    ($where:literal) => {
        concat!(
            "SELECT message_id, type, object_id, user_id, occurred_at_ms, received_at_ms, outcome, error
            FROM events WHERE ",
            $where
        )
    };
}

macro_rules! list {
    ($outcome:literal) => {
        concat!(
            events!("(received_at_ms, message_id) < ($1, $2)"),
            " AND (CAST($3 AS TEXT) IS NULL OR outcome = CAST($3 AS TEXT)) ",
            $outcome,
            " AND (CAST($4 AS TEXT) IS NULL OR type = CAST($4 AS TEXT))
            AND (CAST($5 AS TEXT) IS NULL OR object_id = CAST($5 AS TEXT) OR user_id = CAST($5 AS TEXT))
            ORDER BY received_at_ms DESC, message_id DESC LIMIT $6"
        )
    };
}

const LIST: &str = list!("");
/// The outcome is spelled out, because a partial index serves only what provably lies within it.
const LIST_DEAD: &str = list!("AND outcome = 'dead'");
const ONE: &str = events!("message_id = $1");
const PAYLOAD: &str = "SELECT payload FROM events WHERE message_id = $1";

const USER: &str = "SELECT deleted_at_ms FROM users WHERE id = $1";
const TRACES: &str = "SELECT (SELECT COUNT(*) FROM memberships WHERE user_id = $1),
    (SELECT COUNT(*) FROM memberships WHERE user_id = $1 AND deleted_at_ms IS NULL AND fallen = 0),
    (SELECT COUNT(*) FROM invitations WHERE user_id = $1),
    (SELECT COUNT(*) FROM events WHERE user_id = $1),
    (SELECT COUNT(*) FROM events WHERE payload IS NOT NULL AND (user_id = $1 OR user_id IS NULL
        AND (object_id IN (SELECT m.id FROM memberships m WHERE m.user_id = $1)
            OR object_id IN (SELECT i.id FROM invitations i WHERE i.user_id = $1))))";

impl Store {
    /// Events before a position in the journal, newest first; at most `limit`, and no more than 500.
    pub async fn events(
        &self,
        filter: &EventFilter,
        before: &EventCursor,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let dead = filter.outcome.as_deref() == Some(DEAD);
        let cells = [
            cell(before.received_at_ms),
            cell(before.message_id.as_str()),
            cell(&filter.outcome),
            cell(&filter.event_type),
            cell(&filter.subject),
            cell(i64::try_from(limit).unwrap_or(PAGE).min(PAGE)),
        ];
        let mut db = self.readers.acquire().await?;
        let rows = db.fetch(if dead { LIST_DEAD } else { LIST }, &cells).await?;
        rows.iter().map(event).collect()
    }

    /// One event.
    pub async fn event(&self, message_id: &str) -> Result<Option<StoredEvent>, StoreError> {
        let row = self.readers.acquire().await?.fetch_optional(ONE, &[cell(message_id)]).await?;
        row.as_ref().map(event).transpose()
    }

    /// What an event says, stripped to what we use; `None` when nothing of it was kept, or it was erased.
    pub async fn event_payload(&self, message_id: &str) -> Result<Option<String>, StoreError> {
        let row = self.readers.acquire().await?.fetch_optional(PAYLOAD, &[cell(message_id)]).await?;
        row.map_or(Ok(None), |row| Ok(row.try_get(0)?))
    }

    /// What there is of one person.
    pub async fn footprint(&self, user: &UserId) -> Result<Footprint, StoreError> {
        let mut db = self.readers.acquire().await?;
        let cells = [cell(user.as_str())];
        let known: Option<(Option<i64>,)> =
            db.fetch_optional(USER, &cells).await?.as_ref().map(Row::tuple).transpose()?;
        let (all_memberships, memberships, invitations, all_events, events): (i64, i64, i64, i64, i64) =
            db.fetch_one(TRACES, &cells).await?.tuple()?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(Footprint {
            is_known: known.is_some() || all_memberships + invitations + all_events > 0,
            deleted_at_ms: known.and_then(|(at_ms,)| at_ms),
            memberships: number(memberships),
            invitations: number(invitations),
            events: number(events),
        })
    }
}

/// Takes what a command has erased out of the log on the disk. A service cuts the log after its own erasures
/// only. False when readers were in the way for so many tries.
pub async fn truncate_wal(database: &Database, tries: u32) -> Result<bool, StoreError> {
    match database {
        Database::Sqlite(path) => Ok(wal_truncate::cut_patiently(path, tries).await?),
        Database::Postgres(_) => Ok(true),
    }
}
