//! What is asked for, and what comes back: members of one organization, filtered and paged.

use serde_json::{Number, Value};

use super::fold::{email_key, fold, words};
use super::id::{MembershipId, OrganizationId, UserId};
use super::model::{Invitation, Metadata, Role, User};

/// A user and its newest membership in the organization that was asked for.
#[derive(Debug, Clone)]
pub struct Member {
    /// The user.
    pub user: User,
    /// When Clerk last changed the user.
    pub user_updated_at_ms: i64,
    /// The greatest sign-in time ever seen.
    pub last_sign_in_at_ms: Option<i64>,
    /// The membership.
    pub membership_id: MembershipId,
    /// The role in this organization.
    pub role: Role,
    /// When the user joined.
    pub joined_at_ms: i64,
    /// The membership's public metadata.
    pub membership_metadata: Metadata,
    /// When Clerk last changed the membership.
    pub membership_updated_at_ms: i64,
}

/// The order of a list. Both are total: ties go by user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest account first.
    Account,
    /// By e-mail address without case, members without one last.
    Email,
}

/// The place after which a page begins. A cursor belongs to one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// In [`Order::Account`].
    Account {
        /// `created_at` of the last account seen.
        created_at_ms: i64,
        /// Its id.
        user_id: String,
    },
    /// In [`Order::Email`].
    Email {
        /// The last key seen, as [`email_key`] makes it.
        key: String,
        /// The id it belongs to.
        user_id: String,
    },
}

impl Member {
    /// The cursor of the page that follows this member.
    pub fn cursor(&self, order: Order) -> Cursor {
        let user_id = self.user.id.as_str().to_owned();
        match order {
            Order::Account => Cursor::Account { created_at_ms: self.user.created_at_ms, user_id },
            Order::Email => Cursor::Email { key: email_key(self.user.email.as_deref()), user_id },
        }
    }
}

/// One question: which members of one organization. Only a verified caller makes one.
#[derive(Debug, Clone)]
pub struct MemberQuery {
    /// The organization; the token's, always.
    pub organization_id: OrganizationId,
    /// The order of the answer.
    pub order: Order,
    /// Begin after this place.
    pub after: Option<Cursor>,
    /// At most so many; `None` for the whole list.
    pub limit: Option<u16>,
    /// Only these users; `None` for everyone.
    pub ids: Option<Vec<UserId>>,
    /// What else must hold.
    pub filter: Filter,
}

/// A part of the list, and whether more follows.
#[derive(Debug, Clone)]
pub struct Page {
    /// In the order that was asked for.
    pub members: Vec<Member>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

/// What must hold of a member, all together. The empty filter lets everyone through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    text: Option<TextFilter>,
    role: Option<Role>,
    metadata: Vec<MetadataFilter>,
}

#[derive(Debug, Clone)]
struct MetadataFilter {
    field: String,
    value: String,
    /// The value, when it is a number: there is more than one way to write it.
    number: Option<Number>,
}

#[derive(Debug, Clone)]
struct TextFilter {
    words: Vec<String>,
    whole: String,
}

impl Filter {
    /// Every word of `query` must begin a word of the name, the username or the part of the address before
    /// `@`; or the whole query begins the whole address. A query without a word filters nothing.
    #[must_use]
    pub fn with_text(mut self, query: &str) -> Self {
        let words: Vec<_> = words(query).collect();
        self.text = (!words.is_empty()).then(|| TextFilter { words, whole: fold(query) });
        self
    }

    /// The member's role must be this one.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// A field of the user's public metadata must have this value: a string as it is, a number or a flag in
    /// its JSON form. Null, objects, arrays and absent fields match nothing.
    #[must_use]
    pub fn with_metadata(mut self, field: String, value: String) -> Self {
        let number = value.parse().ok();
        self.metadata.push(MetadataFilter { field, value, number });
        self
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.text.is_none() && self.role.is_none() && self.metadata.is_empty()
    }

    /// Whether all of it holds.
    pub fn matches(&self, member: &Member) -> bool {
        let User { first_name, last_name, username, email, public_metadata, .. } = &member.user;
        let names = [first_name.as_deref(), last_name.as_deref(), username.as_deref()];
        self.role.as_ref().is_none_or(|role| *role == member.role)
            && self.text.as_ref().is_none_or(|text| text.matches(names, email.as_deref()))
            && self.metadata_matches(public_metadata)
    }

    /// Whether all of it holds of an invitation, which has an address and no names.
    pub fn matches_invitation(&self, invitation: &Invitation) -> bool {
        self.role.as_ref().is_none_or(|role| Some(role) == invitation.role.as_ref())
            && self.text.as_ref().is_none_or(|text| text.matches([None; 3], invitation.email.as_deref()))
            && self.metadata_matches(&invitation.public_metadata)
    }

    fn metadata_matches(&self, metadata: &Metadata) -> bool {
        if self.metadata.is_empty() {
            return true;
        }
        let Ok(object) = serde_json::from_str::<serde_json::Map<String, Value>>(metadata.as_str()) else {
            return false;
        };
        self.metadata.iter().all(|wanted| match object.get(&wanted.field) {
            Some(Value::String(text)) => *text == wanted.value,
            Some(Value::Bool(flag)) => wanted.value == if *flag { "true" } else { "false" },
            Some(Value::Number(number)) => wanted.number.as_ref() == Some(number),
            Some(Value::Null | Value::Object(_) | Value::Array(_)) | None => false,
        })
    }
}

impl TextFilter {
    fn matches(&self, names: [Option<&str>; 3], email: Option<&str>) -> bool {
        let email = email.unwrap_or_default();
        if fold(email).starts_with(&self.whole) {
            return true;
        }
        let local_part = email.rsplit_once('@').map_or(email, |(local, _)| local);
        let known: Vec<String> = names.into_iter().flatten().chain([local_part]).flat_map(words).collect();
        self.words.iter().all(|word| known.iter().any(|candidate| candidate.starts_with(word.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Member {
        let metadata = serde_json::from_str(
            r#"{"team":"core","level":3,"lead":true,"a.b":"dotted","none":null,"list":["core"],"rate":1.5}"#,
        )
        .unwrap();
        Member {
            user: User {
                id: UserId::parse("user_ada").unwrap(),
                first_name: Some("Ada Maria".to_owned()),
                last_name: Some("O'Neill-Straße".to_owned()),
                username: Some("countess_42".to_owned()),
                email: Some("Ada.Love@Example.com".to_owned()),
                image_url: None,
                has_image: false,
                banned: false,
                public_metadata: Metadata::new(&metadata),
                created_at_ms: 7,
            },
            user_updated_at_ms: 8,
            last_sign_in_at_ms: None,
            membership_id: MembershipId::parse("orgmem_1").unwrap(),
            role: Role::new("admin"),
            joined_at_ms: 9,
            membership_metadata: Metadata::default(),
            membership_updated_at_ms: 10,
        }
    }

    #[test]
    fn words_begin_words() {
        for hit in [
            "ada",
            "ADA mar",
            "neill",
            "strasse ada",
            "42",
            "countess",
            "love",
            "ada.love@exam",
            "",
            "@",
            " . ",
        ] {
            assert!(Filter::default().with_text(hit).matches(&ada()), "{hit:?}");
        }
        for miss in ["da", "ada bob", "example", "ada.love@example.org", "user_ada", "love@example"] {
            assert!(!Filter::default().with_text(miss).matches(&ada()), "{miss:?}");
        }
    }

    #[test]
    fn metadata_compares_scalars_only() {
        let holds = |field: &str, value: &str| {
            Filter::default().with_metadata(field.to_owned(), value.to_owned()).matches(&ada())
        };
        assert!(
            holds("team", "core") && holds("level", "3") && holds("lead", "true") && holds("a.b", "dotted")
        );
        assert!(holds("rate", "1.5"));
        assert!(
            !holds("none", "null") && !holds("none", "") && !holds("list", "core") && !holds("absent", "")
        );
        assert!(!holds("team", "Core") && !holds("team", "\"core\"") && !holds("level", "3.0"));
    }

    #[test]
    fn filters_hold_together() {
        let both =
            Filter::default().with_role(Role::new("admin")).with_metadata("team".into(), "core".into());
        assert!(both.matches(&ada()));
        assert!(!both.clone().with_metadata("team".into(), "web".into()).matches(&ada()));
        assert!(!both.with_text("bob").matches(&ada()));
    }
}
