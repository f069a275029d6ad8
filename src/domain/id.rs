//! Clerk's ids. Never an e-mail address, a slug, or a pair of other ids. A batch has each in many places, so a clone is one more
//! reference to the same text.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Why a text cannot be an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 printable ASCII characters")]
pub struct InvalidId;

/// The longest id that is accepted, in bytes.
pub const MAX_ID_BYTES: usize = 255;

fn check(text: &str) -> Result<(), InvalidId> {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if (1..=MAX_ID_BYTES).contains(&text.len()) && printable { Ok(()) } else { Err(InvalidId) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text that is 1 to 255 printable ASCII characters.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.into()))
            }

            /// The id as Clerk writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same, to be shared and not copied.
            pub(crate) fn as_shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

id!(
    /// `user_…`
    UserId
);
id!(
    /// `org_…`
    OrganizationId
);
id!(
    /// `orgmem_…`
    MembershipId
);
id!(
    /// `orginv_…`
    InvitationId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_printable_ascii() {
        for good in ["user_2h8op3Isl1QR7tKu5FGNfaLKEoU", "u", "a b", &"x".repeat(255)] {
            assert!(UserId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "us\ner", "usér", "a\0", "\u{7f}", &"x".repeat(256)] {
            assert_eq!(UserId::parse(bad), Err(InvalidId), "{bad:?}");
        }
    }
}
