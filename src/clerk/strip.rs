//! Strips an event to the fields that we use, for the journal.
//!
//! An allow-list, so that private metadata, invitation URLs, phone numbers, one-time codes and whatever
//! Clerk adds tomorrow stay out. The stripped event decodes to the same result as the whole one: a value
//! of the wrong shape is replaced by an empty one of a shape that is wrong as well.

use serde_json::{Map, Value};

use super::fields::{Item, RawFields};

/// What may stay of one field.
enum Keep {
    /// A string, a number, a flag or null.
    Scalar,
    /// A JSON object with all that is in it.
    Whole,
    /// Some fields of an object.
    Fields(&'static [(&'static str, Keep)]),
    /// Some fields of each object of an array.
    Each(&'static [(&'static str, Keep)]),
}

const ENVELOPE: &[(&str, Keep)] = &[
    ("type", Keep::Scalar),
    ("timestamp", Keep::Scalar),
    ("instance_id", Keep::Scalar),
    ("data", Keep::Fields(OBJECT)),
];

/// The fields that `object` reads, of all kinds of objects together: their names do not clash.
const OBJECT: &[(&str, Keep)] = &[
    ("id", Keep::Scalar),
    ("created_at", Keep::Scalar),
    ("updated_at", Keep::Scalar),
    ("public_metadata", Keep::Whole),
    // User.
    ("first_name", Keep::Scalar),
    ("last_name", Keep::Scalar),
    ("username", Keep::Scalar),
    ("primary_email_address_id", Keep::Scalar),
    ("email_addresses", Keep::Each(&[("id", Keep::Scalar), ("email_address", Keep::Scalar)])),
    ("image_url", Keep::Scalar),
    ("has_image", Keep::Scalar),
    ("banned", Keep::Scalar),
    ("last_sign_in_at", Keep::Scalar),
    // Organization.
    ("name", Keep::Scalar),
    // Membership.
    ("role", Keep::Scalar),
    ("organization", Keep::Fields(&[("id", Keep::Scalar)])),
    ("public_user_data", Keep::Fields(&[("user_id", Keep::Scalar)])),
    // Invitation.
    ("organization_id", Keep::Scalar),
    ("public_organization_data", Keep::Fields(&[("id", Keep::Scalar)])),
    ("email_address", Keep::Scalar),
    ("status", Keep::Scalar),
    ("expires_at", Keep::Scalar),
    // Session, and an accepted invitation.
    ("user_id", Keep::Scalar),
];

/// The stripped event as JSON text. The text of the event must be JSON.
pub(super) fn strip(event: &str) -> String {
    fields(event, ENVELOPE).to_string()
}

fn fields(text: &str, keep: &[(&str, Keep)]) -> Value {
    RawFields::parse(text).map_or_else(|| otherwise(text), |values| kept(&values, keep))
}

fn kept(values: &RawFields<'_>, keep: &[(&str, Keep)]) -> Value {
    let kept = keep.iter().filter_map(|(name, keep)| {
        let text = values.get(name)?;
        Some(((*name).to_owned(), value(text, keep)))
    });
    Value::Object(kept.collect::<Map<_, _>>())
}

fn value(text: &str, keep: &Keep) -> Value {
    match keep {
        Keep::Fields(keep) => fields(text, keep),
        Keep::Each(keep) => match serde_json::from_str::<Vec<Item<'_>>>(text) {
            Ok(items) => {
                let item = |Item(values)| values.map_or(Value::Bool(false), |values| kept(&values, keep));
                items.into_iter().map(item).collect()
            }
            Err(_) => otherwise(text),
        },
        Keep::Whole => match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => value,
            _ => otherwise(text),
        },
        Keep::Scalar => match serde_json::from_str(text) {
            Ok(Value::Array(_)) => Value::Array(Vec::new()),
            Ok(Value::Object(_)) | Err(_) => Value::Object(Map::new()),
            Ok(scalar) => scalar,
        },
    }
}

/// What stands for a value that should have been an object or an array, and is not.
fn otherwise(text: &str) -> Value {
    if text == "null" { Value::Null } else { Value::Bool(false) }
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn what_we_do_not_use_is_gone() {
        let event = r#"{"type":"user.created","event_attributes":{"ip":"x"},"data":{"id":"user_1",
            "private_metadata":{"a":1},"unsafe_metadata":{"a":1},"phone_numbers":[{"phone_number":"+1"}],
            "public_metadata":{"team":"core"},"email_addresses":[{"id":"idn_1","email_address":"a@x.io",
            "verification":{"code":"1"}}],"url":"https://ticket","organization":{"id":"org_1","private_metadata":{}}}}"#;
        assert_eq!(
            strip(event),
            r#"{"data":{"email_addresses":[{"email_address":"a@x.io","id":"idn_1"}],"id":"user_1","organization":{"id":"org_1"},"public_metadata":{"team":"core"}},"type":"user.created"}"#
        );
    }

    #[test]
    fn a_wrong_shape_stays_wrong_and_says_nothing() {
        let event = r#"{"type":"user.created","data":{"id":{"private":"x"},"first_name":["x"],"username":7,
            "public_metadata":"x","email_addresses":{"a":"x"},"last_name":"\ud800","role":null}}"#;
        assert_eq!(
            strip(event),
            r#"{"data":{"email_addresses":false,"first_name":[],"id":{},"last_name":{},"public_metadata":false,"role":null,"username":7},"type":"user.created"}"#
        );
        let event = r#"{"type":"user.created","data":{"email_addresses":[null,7,["x"],"x",{"x":1}]}}"#;
        assert_eq!(
            strip(event),
            r#"{"data":{"email_addresses":[false,false,false,false,{}]},"type":"user.created"}"#
        );
    }
}
