//! Reads one field at a time, so that fields which we do not use are not looked at.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
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
    values: RawFields<'a>,
}

/// The fields of a JSON object, their values still text. An object of Clerk's has some dozens of them, and we
/// look for a few: a list is read faster than a map is built.
#[derive(Debug)]
pub(super) struct RawFields<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'a> RawFields<'a> {
    /// Takes the text of a JSON object.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str::<Item<'a>>(text).ok()?.0
    }

    /// The text of a value. Of two fields of one name the last one counts.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(Name(field), _)| **field == *name.as_bytes()).map(|(_, value)| value.get())
    }
}

/// A value: its fields, if it is an object. One that is no object and no value of Rust's either, such as half of a
/// surrogate pair, is an error of what it stands in.
#[derive(Debug)]
pub(super) struct Item<'a>(pub(super) Option<RawFields<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Item<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                // Without room for more than there is: a list may be of many small objects.
                let mut fields = Vec::new();
                while let Some(field) = object.next_entry()? {
                    fields.push(field);
                }
                Ok(Item(Some(RawFields(fields))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_seq(list).map(|_| Item(None))
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Item(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Item(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Item(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Item(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Item(None))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Item(None))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// The name of a field. One that is not Unicode (half of a surrogate pair) is none of those that we use, and
/// must not keep us from reading its neighbours.
#[derive(Debug)]
struct Name<'a>(Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_bytes<E: Error>(self, name: &'de [u8]) -> Result<Self::Value, E> {
                // Nothing is escaped in it, and as bytes the parser takes control characters too.
                let is_json = name.iter().all(|byte| *byte >= b' ');
                is_json.then_some(Name(Cow::Borrowed(name))).ok_or_else(|| E::custom("not JSON"))
            }

            fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_vec())))
            }
        }

        // As text it would have to be Unicode.
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A JSON string, borrowed where nothing in it is escaped.
fn text_of(text: &str) -> serde_json::Result<Cow<'_, str>> {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(bare) if !bare.contains('\\') => Ok(Cow::Borrowed(bare)),
        _ => serde_json::from_str::<String>(text).map(Cow::Owned),
    }
}

impl<'a> Fields<'a> {
    /// Takes the text of a JSON object; `path` is its name in errors.
    pub(super) fn parse(text: &'a str, path: impl Into<String>) -> Result<Self, FieldError> {
        Self::of(Item(RawFields::parse(text)), path)
    }

    /// Takes a value that has been read.
    pub(super) fn of(item: Item<'a>, path: impl Into<String>) -> Result<Self, FieldError> {
        let path = path.into();
        match item.0 {
            Some(values) => Ok(Self { path, values }),
            None => Err(FieldError { path, problem: "must be an object" }),
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
        self.values.get(name).filter(|text| *text != "null")
    }

    fn value<T: Deserialize<'a>>(&self, name: &str, problem: &'static str) -> Result<Option<T>, FieldError> {
        let Some(text) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|_| self.error(name, problem))
    }

    fn string(&self, name: &str) -> Result<Option<Cow<'a, str>>, FieldError> {
        self.raw(name).map(text_of).transpose().map_err(|_| self.error(name, "must be a string"))
    }

    /// A text. NUL has no place in a name, and not every database can hold one.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, FieldError> {
        let clean = |text: Cow<'_, str>| {
            if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.into_owned() }
        };
        Ok(self.string(name)?.map(clean))
    }

    /// An id that may be absent.
    pub(super) fn id<T, E>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, FieldError> {
        let parsed = self.string(name)?.map(|text| parse(&text)).transpose();
        parsed.map_err(|_| self.error(name, "must be 1 to 255 printable ASCII characters"))
    }

    /// An id that must be there.
    pub(super) fn needed_id<T, E>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
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
        if self.raw(name) == Some("{}") {
            return Ok(Metadata::default());
        }
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
        let items: Vec<Item<'_>> = self.value(name, "must be an array")?.unwrap_or_default();
        items.into_iter().map(|item| Self::of(item, self.path_of(name))).collect()
    }
}
