//! Answers of the Backend API: bytes to [`Change`]s.
//!
//! One object that we cannot read must not stop a walk over all the others: it is left out, counted, and
//! logged by its id.

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::warn;

use super::error::ApiError;
use crate::clerk::fields::{FieldError, Fields};
use crate::clerk::object;
use crate::domain::{Change, UserId};

/// An answer, and when it was true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched<T> {
    /// The answer.
    pub value: T,
    /// What Clerk's own clock (`Date`) said, in Unix milliseconds.
    pub observed_at_ms: i64,
}

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects that could be read, in Clerk's order.
    pub changes: Vec<Change>,
    /// How many objects Clerk sent. Fewer than were asked for: the list ends here.
    pub received: usize,
    /// How many of them could not be read.
    pub unusable: usize,
    /// The ids of those, as far as they have one: they do exist at Clerk.
    pub unusable_ids: Vec<String>,
    /// The id of the first object, readable or not.
    pub first_id: Option<String>,
    /// The id of the last object, for `starting_after`.
    pub last_id: Option<String>,
    /// How many objects the whole list has. `/users` does not say.
    pub total_count: Option<u64>,
}

impl Page {
    /// Leaves out the first object.
    pub fn leave_out_first(&mut self) {
        let Some(first) = self.first_id.take() else { return };
        if self.unusable_ids.first() == Some(&first) {
            self.unusable_ids.remove(0);
            self.unusable = self.unusable.saturating_sub(1);
        } else if !self.changes.is_empty() {
            self.changes.remove(0);
        }
        self.received = self.received.saturating_sub(1);
    }

    /// Puts the page that was fetched next behind this one.
    pub(super) fn append(&mut self, next: Self) {
        self.changes.extend(next.changes);
        self.received += next.received;
        self.unusable += next.unusable;
        self.unusable_ids.extend(next.unusable_ids);
        self.first_id = self.first_id.take().or(next.first_id);
        self.last_id = next.last_id.or(self.last_id.take());
        self.total_count = next.total_count;
    }
}

/// The instance that a secret key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InstanceInfo {
    /// `ins_…`
    pub id: String,
    /// `production`, `development`, …
    pub environment_type: String,
}

/// What a list is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    User,
    Organization,
    Membership,
    Invitation,
}

impl Kind {
    /// Whether it can be switched off for an instance.
    pub(super) fn is_feature(self) -> bool {
        !matches!(self, Self::User)
    }

    /// Reads one object.
    fn read(self, text: &str, observed_at_ms: i64) -> Result<Change, FieldError> {
        let fields = Fields::parse(text, "")?;
        let observed = Some(observed_at_ms);
        match self {
            Self::User => object::user(&fields, observed),
            Self::Organization => object::organization(&fields, observed),
            Self::Membership => object::membership(&fields, observed),
            Self::Invitation => object::invitation(&fields, None, observed),
        }
    }

    /// Reads the one object that was asked for. The outer error may be gone the next time, the inner one stays.
    pub(super) fn read_single(
        self,
        body: &[u8],
        id: &str,
        observed_at_ms: i64,
    ) -> Result<Result<Change, ApiError>, ApiError> {
        let text = parse::<&RawValue>(body)?.get();
        // Organizations are found by their slugs too; another one's answer says nothing about ours.
        if id_of(text).as_deref() != Some(id) {
            return Ok(Err(ApiError::garbage("not the object that was asked for")));
        }
        let change = self.read(text, observed_at_ms);
        Ok(change.map_err(|error| ApiError::garbage(format!("{} {id}: {error}", self.name()))))
    }

    fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Organization => "organization",
            Self::Membership => "membership",
            Self::Invitation => "invitation",
        }
    }

    /// Reads a list: users come as a bare array, everything else as `{data, total_count}`.
    pub(super) fn read_page(self, body: &[u8], observed_at_ms: i64) -> Result<Page, ApiError> {
        #[derive(Deserialize)]
        struct List<'a> {
            #[serde(borrow)]
            data: Vec<&'a RawValue>,
            total_count: Option<u64>,
        }
        let (items, total_count) = match self {
            Self::User => (parse::<Vec<&RawValue>>(body)?, None),
            _ => parse::<List<'_>>(body).map(|list| (list.data, list.total_count))?,
        };
        let mut page = Page {
            changes: Vec::with_capacity(items.len()),
            received: items.len(),
            first_id: items.first().and_then(|item| id_of(item.get())),
            last_id: items.last().and_then(|item| id_of(item.get())),
            total_count,
            ..Page::default()
        };
        for item in items {
            match self.read(item.get(), observed_at_ms) {
                Ok(change) => page.changes.push(change),
                Err(error) => {
                    let id = id_of(item.get());
                    warn!(kind = self.name(), id, %error, "an object of Clerk's could not be read; it is left out");
                    page.unusable += 1;
                    page.unusable_ids.extend(id);
                }
            }
        }
        Ok(page)
    }
}

/// Reads JSON of a known shape.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        // The parser's own words may quote what it read.
        let what = match error.classify() {
            serde_json::error::Category::Eof => "the JSON ends too early",
            serde_json::error::Category::Data => "JSON of another shape",
            _ => "not JSON",
        };
        ApiError::garbage(what)
    })
}

/// The id of an object, when it can be an id at all.
fn id_of(text: &str) -> Option<String> {
    let id = Fields::parse(text, "").ok()?.id("id", UserId::parse).ok()??;
    Some(id.as_str().to_owned())
}
