//! Reads chosen members of a JSON object, strictly.
//!
//! A token is read by more than one program, and two programs that disagree about it are a hole. So a member
//! that is there twice is an error here (most parsers take the last), a `null` is not the same as nothing, and
//! an array is not taken for an object.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A member's value as it was sent; `None` when the member is not there.
pub(super) type Member<'a> = Option<&'a RawValue>;

/// The members of these names. `None` when the text is not one JSON object, or when one of them is there twice.
pub(super) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Option<[Member<'a>; N]> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let members = parser.deserialize_map(Members(names)).ok()?;
    parser.end().ok()?;
    Some(members)
}

/// A string.
pub(super) fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// A number of seconds, whole or not, in milliseconds. What is too large for them becomes the largest.
pub(super) fn seconds_as_ms(value: &RawValue) -> Option<i64> {
    let seconds: f64 = serde_json::from_str(value.get()).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and JSON has no NaN")]
    Some((seconds * 1000.0).floor() as i64)
}

/// Whether the value is `null`.
pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Member<'de>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter().zip(&mut found).find(|(name, _)| **name == key) {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some((_, slot)) => {
                    if slot.replace(map.next_value()?).is_some() {
                        return Err(A::Error::custom("a member is there twice"));
                    }
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<[Option<&str>; 2]> {
        members(text, ["a", "b"]).map(|found| found.map(|member| member.map(RawValue::get)))
    }

    #[test]
    fn members_come_as_they_were_sent() {
        assert_eq!(read("{}"), Some([None, None]));
        assert_eq!(read(r#" {"b" : null , "x":[1],"x":2}"#), Some([None, Some("null")]));
        assert_eq!(read(r#"{"\u0061":1.50,"b":{"a":1}}"#), Some([Some("1.50"), Some(r#"{"a":1}"#)]));
    }

    #[test]
    fn only_one_whole_object_with_single_members_is_read() {
        for bad in
            ["", "null", "[1,2]", "\"a\"", "{", "{}{}", "{} x", r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn seconds_become_milliseconds_and_never_overflow() {
        let ms = |text: &str| seconds_as_ms(members(text, ["t"])?[0]?);
        assert_eq!(ms(r#"{"t":1700000000}"#), Some(1_700_000_000_000));
        assert_eq!(ms(r#"{"t":1700000000.5}"#), Some(1_700_000_000_500));
        assert_eq!(ms(r#"{"t":-0.0001}"#), Some(-1));
        assert_eq!(ms(r#"{"t":1e308}"#), Some(i64::MAX));
        assert_eq!(ms(r#"{"t":-1e308}"#), Some(i64::MIN));
        assert_eq!(ms(r#"{"t":18446744073709551616}"#), Some(i64::MAX));
        for bad in ["1e999", "\"1700000000\"", "null", "true", "[1]", "{}"] {
            assert_eq!(ms(&format!(r#"{{"t":{bad}}}"#)), None, "{bad}");
        }
    }
}
