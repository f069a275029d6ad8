//! The only room with SQL. (signatures first)
#![allow(unused_variables, clippy::unused_async)]

use std::path::Path;

use crate::config::Database;
use crate::domain::{Change, MemberQuery, OrganizationId, Outcome, Page, Standing, UserId};

/// One open database: a writer, and a pool of readers.
#[derive(Debug, Clone)]
pub struct Store {}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue of writes is full, or the store is closing.
    #[error("too many writes are waiting")]
    Busy,
    /// The database did not do it.
    #[error("the database could not be used")]
    Database(#[source] sqlx::Error),
}

/// One signed event, on its way into the journal.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `svix-id`
    pub message_id: String,
    /// Clerk's name of the event.
    pub event_type: &'static str,
    /// The id of the object that it is about.
    pub object_id: Option<String>,
    /// The user that it is about.
    pub user_id: Option<String>,
    /// When it happened.
    pub occurred_at_ms: Option<i64>,
    /// When it came in.
    pub received_at_ms: i64,
    /// What it says, stripped to what we use.
    pub payload: Option<String>,
}

impl Store {
    /// Opens (and makes, and migrates) the database.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        todo!()
    }
    /// Applies a delivery; answers when it is durable.
    pub async fn deliver(&self, delivery: Delivery, changes: Vec<Change>) -> Result<Outcome, StoreError> {
        todo!()
    }
    /// Keeps a delivery that could not be used, and why.
    pub async fn bury(&self, delivery: Delivery, error: String) -> Result<(), StoreError> {
        todo!()
    }
    /// Applies what a pass found.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, StoreError> {
        todo!()
    }
    /// Members of one organization.
    pub async fn members(&self, query: &MemberQuery) -> Result<Page, StoreError> {
        todo!()
    }
    /// What is known of a caller.
    pub async fn standing(
        &self,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<Standing, StoreError> {
        todo!()
    }
    /// The time of the last applied event, in Unix milliseconds.
    pub async fn as_of_ms(&self) -> Result<Option<i64>, StoreError> {
        todo!()
    }
    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Takes no more writes, finishes those that wait, and closes the database.
    pub async fn close(&self) {
        todo!()
    }
}
#[allow(unused)]
fn _unused(_: &Path) {}
