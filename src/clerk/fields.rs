//! Reads one field at a time, so that fields which we do not use are not looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::model::Metadata;
use crate::domain::time::is_showable;

/// A field that does not have the documented shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct FieldError {
    path: String,
    problem: &'static str,
}

/// A JSON object whose values are still text.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    path: String,
    values: BTreeMap<String, &'a RawValue>,
}

/// The fields of a JSON object by name, their values still text.
pub(super) fn raw_fields(text: &str) -> serde_json::Result<BTreeMap<String, &RawValue>> {
    let values: BTreeMap<Name, &RawValue> = serde_json::from_str(text)?;
    Ok(values.into_iter().map(|(Name(name), value)| (name, value)).collect())
}

/// The name of a field. One that is not Unicode (half of a surrogate pair) is none of those that we use, and
/// must not keep us from reading its neighbours.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Self(serde_json::from_str(text).unwrap_or_default()))
    }
}

impl<'a> Fields<'a> {
    /// Takes the text of a JSON object; `path` is its name in errors.
    pub(super) fn parse(text: &'a str, path: impl Into<String>) -> Result<Self, FieldError> {
        let path = path.into();
        match raw_fields(text) {
            Ok(values) => Ok(Self { path, values }),
            Err(_) => Err(FieldError { path, problem: "must be an object" }),
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// An error about one of these fields.
    pub(super) fn error(&self, name: &str, problem: &'static str) -> FieldError {
        FieldError { path: self.path_of(name), problem }
    }

    /// The text of a value; `None` when it is absent or null.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).map(|value| value.get()).filter(|text| *text != "null")
    }

    fn value<T: Deserialize<'a>>(&self, name: &str, problem: &'static str) -> Result<Option<T>, FieldError> {
        let Some(text) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|_| self.error(name, problem))
    }

    /// A text. NUL has no place in a name, and not every database can hold one.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, FieldError> {
        let text: Option<String> = self.value(name, "must be a string")?;
        Ok(text.map(|text| if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }))
    }

    /// An id that may be absent.
    pub(super) fn id<T, E>(
        &self,
        name: &str,
        parse: impl FnOnce(String) -> Result<T, E>,
    ) -> Result<Option<T>, FieldError> {
        let text: Option<String> = self.value(name, "must be a string")?;
        let parsed = text.map(parse).transpose();
        parsed.map_err(|_| self.error(name, "must be 1 to 255 printable ASCII characters"))
    }

    /// An id that must be there.
    pub(super) fn needed_id<T, E>(
        &self,
        name: &str,
        parse: impl FnOnce(String) -> Result<T, E>,
    ) -> Result<T, FieldError> {
        self.id(name, parse)?.ok_or_else(|| self.error(name, "is missing"))
    }

    /// A flag; absent means no.
    pub(super) fn flag(&self, name: &str) -> Result<bool, FieldError> {
        Ok(self.value(name, "must be true or false")?.unwrap_or(false))
    }

    /// A whole number.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, FieldError> {
        self.value(name, "must be a whole number of 64 bits")
    }

    /// A moment in Unix milliseconds.
    pub(super) fn time_ms(&self, name: &str) -> Result<Option<i64>, FieldError> {
        match self.integer(name)? {
            Some(at_ms) if !is_showable(at_ms) => Err(self.error(name, "must lie in the years 1 to 9999")),
            at_ms => Ok(at_ms),
        }
    }

    /// A metadata object; absent means an empty one.
    pub(super) fn metadata(&self, name: &str) -> Result<Metadata, FieldError> {
        let object = self.value(name, "must be an object")?;
        Ok(object.as_ref().map(Metadata::new).unwrap_or_default())
    }

    /// An object that may be absent.
    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, FieldError> {
        self.raw(name).map(|text| Self::parse(text, self.path_of(name))).transpose()
    }

    /// An object that must be there.
    pub(super) fn needed_object(&self, name: &str) -> Result<Self, FieldError> {
        self.object(name)?.ok_or_else(|| self.error(name, "is missing"))
    }

    /// An array of objects; absent means an empty one.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Self>, FieldError> {
        let items: Vec<&RawValue> = self.value(name, "must be an array")?.unwrap_or_default();
        items.into_iter().map(|item| Self::parse(item.get(), self.path_of(name))).collect()
    }
}
