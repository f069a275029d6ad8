//! Answers of the Backend API: bytes to [`Change`]s.
//!
//! One object that we cannot read must not stop a walk over all the others: it is left out, counted, and
//! logged by its id.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use tracing::warn;

use super::error::ApiError;
use crate::clerk::fields::{FieldError, Fields, Item};
use crate::clerk::object;
use crate::domain::{Change, Entity, UserId};

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

    /// Takes the object that comes next.
    fn take(&mut self, item: Item<'_>, objects: Objects) {
        let fields = Fields::of(item, "");
        let id = fields.as_ref().ok().and_then(id_of);
        match fields.and_then(|fields| objects.read(&fields)) {
            Ok(change) => self.changes.push(change),
            Err(error) => {
                let entity = objects.entity.as_str();
                warn!(entity, id, %error, "an object of Clerk's could not be read; it is left out");
                self.unusable += 1;
                self.unusable_ids.extend(id.clone());
            }
        }
        if self.received == 0 {
            self.first_id.clone_from(&id);
        }
        self.last_id = id;
        self.received += 1;
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

/// Reads objects of one kind that were shown at one moment. A list is read one object after the other: the fields of all
/// of them would take many times as much memory.
#[derive(Clone, Copy)]
pub(super) struct Objects {
    pub(super) entity: Entity,
    pub(super) observed_at_ms: i64,
}

impl Objects {
    fn read(self, fields: &Fields<'_>) -> Result<Change, FieldError> {
        let observed = Some(self.observed_at_ms);
        match self.entity {
            Entity::Users => object::user(fields, observed),
            Entity::Organizations => object::organization(fields, observed),
            Entity::Memberships => object::membership(fields, observed),
            Entity::Invitations => object::invitation(fields, None, observed),
        }
    }

    /// Reads the one object that was asked for. The outer error may be gone the next time, the inner one stays.
    pub(super) fn read_single(self, body: &[u8], id: &str) -> Result<Result<Change, ApiError>, ApiError> {
        let object = Fields::of(parse(body)?, "").ok();
        // Organizations are found by their slugs too; another one's answer says nothing about ours.
        let Some(object) = object.filter(|object| id_of(object).as_deref() == Some(id)) else {
            return Ok(Err(ApiError::garbage("not the object that was asked for")));
        };
        let change = self.read(&object);
        Ok(change.map_err(|error| ApiError::garbage(format!("{} {id}: {error}", self.entity.as_str()))))
    }

    /// Reads a list: users come as a bare array, everything else as `{data, total_count}`.
    pub(super) fn read_page(self, body: &[u8]) -> Result<Page, ApiError> {
        let mut json = serde_json::Deserializer::from_str(text_of(body)?);
        let page = match self.entity {
            Entity::Users => self.deserialize(&mut json),
            _ => json.deserialize_map(Counted(self)),
        };
        page.and_then(|page| json.end().map(|()| page)).map_err(|error| garbled(&error))
    }
}

impl<'de> DeserializeSeed<'de> for Objects {
    type Value = Page;

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<Page, D::Error> {
        list.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Page, A::Error> {
        let mut page = Page::default();
        while let Some(item) = list.next_element()? {
            page.take(item, self);
        }
        Ok(page)
    }
}

/// Reads `{data, total_count}`.
struct Counted(Objects);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Data,
    TotalCount,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for Counted {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Page, A::Error> {
        let (mut page, mut total_count) = (None, None);
        while let Some(field) = object.next_key()? {
            match field {
                Field::Data if page.is_none() => page = Some(object.next_value_seed(self.0)?),
                Field::TotalCount if total_count.is_none() => total_count = Some(object.next_value()?),
                Field::Data | Field::TotalCount => return Err(A::Error::custom("a field is there twice")),
                Field::Other => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        let page = page.ok_or_else(|| A::Error::missing_field("data"))?;
        Ok(Page { total_count: total_count.flatten(), ..page })
    }
}

/// Reads JSON of a known shape.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_str(text_of(body)?).map_err(|error| garbled(&error))
}

/// What reads objects takes any bytes for the name of a field.
fn text_of(body: &[u8]) -> Result<&str, ApiError> {
    str::from_utf8(body).map_err(|_| ApiError::garbage(NOT_JSON))
}

const NOT_JSON: &str = "not JSON";

/// The parser's own words may quote what it read.
fn garbled(error: &serde_json::Error) -> ApiError {
    ApiError::garbage(match error.classify() {
        Category::Eof => "the JSON ends too early",
        Category::Data => "JSON of another shape",
        _ => NOT_JSON,
    })
}

/// The id of an object, when it can be an id at all.
fn id_of(object: &Fields<'_>) -> Option<String> {
    let id = object.id("id", UserId::parse).ok()??;
    Some(id.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::difference;

    #[test]
    fn what_is_no_object_does_not_fail_its_neighbours() {
        let users = Objects { entity: Entity::Users, observed_at_ms: 1 };
        let page = users.read_page(
            br#"[7, {"\ud800": 1, "id": "user_1", "\u0069d": "user_2"}, "x", null, true, -1.5, [{}], {"id": "user_3", "banned": 1}]"#,
        );
        let page = page.unwrap();
        assert_eq!((page.received, page.unusable, page.changes.len()), (8, 7, 1));
        assert_eq!(page.unusable_ids, ["user_3"]);
        assert_eq!((page.first_id, page.last_id.as_deref()), (None, Some("user_3")));
        assert_eq!(
            page.changes.first().and_then(difference::id),
            Some("user_2"),
            "the last of two fields counts"
        );
    }

    #[test]
    fn a_list_has_its_shape_and_nothing_after_it() {
        let organizations = Objects { entity: Entity::Organizations, observed_at_ms: 1 };
        let read = |body: &str| organizations.read_page(body.as_bytes());
        let page = read(r#"{"more": [1], "total_count": 9, "data": [{"id": "org_1"}]}"#).unwrap();
        assert_eq!((page.received, page.total_count), (1, Some(9)));
        for (body, problem) in [
            (r#"{"total_count": 1}"#, "JSON of another shape"),
            (r#"{"data": {}}"#, "JSON of another shape"),
            (r#"{"data": [{"id": "org_1"}"#, "the JSON ends too early"),
            (r#"{"data": []} x"#, "not JSON"),
            (r#"{"data": [{"id": "org_1"}], "data": []}"#, "JSON of another shape"),
            (r#"{"data": [], "total_count": 9, "total_count": null}"#, "JSON of another shape"),
            ("{\"data\": [{\"id\": \"org_1\", \"a\nb\": 1}]}", "JSON of another shape"),
        ] {
            let error = read(body).unwrap_err().to_string();
            assert!(error.contains(problem), "{body}: {error}");
        }
        let users = Objects { entity: Entity::Users, observed_at_ms: 1 };
        assert!(users.read_page(b"[{\"\xff\": 1, \"id\": \"user_1\"}]").is_err());
        assert!(users.read_single(b"{\"\xff\": 1, \"id\": \"user_1\"}", "user_1").is_err());
    }
}
