//! May this caller read, and as what? The read model may know more than the token.

use super::model::Role;

/// What the read model knows of one caller in one organization.
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not depend on each other")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The organization was deleted.
    pub organization_deleted: bool,
    /// The user was deleted.
    pub user_deleted: bool,
    /// The user is banned.
    pub user_banned: bool,
    /// Anything was ever heard of the organization.
    pub organization_known: bool,
    /// The newest membership of the two that is known, deleted or not.
    pub membership: Option<StoredMembership>,
}

/// The newest known membership of a user in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredMembership {
    /// It stands.
    Active {
        /// Its role.
        role: Role,
        /// When Clerk last changed it.
        updated_at_ms: i64,
    },
    /// It ended.
    Deleted {
        /// When.
        at_ms: i64,
    },
}

/// Why the read model refuses a caller whose token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The organization was deleted.
    #[error("the organization is deleted")]
    OrganizationDeleted,
    /// The user was deleted.
    #[error("the user is deleted")]
    UserDeleted,
    /// The user is banned.
    #[error("the user is banned")]
    UserBanned,
    /// The membership ended after the token was issued.
    #[error("the membership ended after the token was issued")]
    MembershipDeleted,
}

impl Standing {
    /// The role that counts for a caller whose token was issued at `issued_at_ms` with `token_role`.
    ///
    /// A membership that is not known yet is no contradiction: the token is enough.
    pub fn role(&self, token_role: Option<&Role>, issued_at_ms: i64) -> Result<Option<Role>, Contradiction> {
        if self.organization_deleted {
            return Err(Contradiction::OrganizationDeleted);
        }
        if self.user_deleted {
            return Err(Contradiction::UserDeleted);
        }
        if self.user_banned {
            return Err(Contradiction::UserBanned);
        }
        match &self.membership {
            Some(StoredMembership::Deleted { at_ms }) if issued_at_ms < *at_ms => {
                Err(Contradiction::MembershipDeleted)
            }
            Some(StoredMembership::Active { role, updated_at_ms }) if issued_at_ms < *updated_at_ms => {
                Ok(Some(role.clone()))
            }
            _ => Ok(token_role.cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUED_MS: i64 = 1_000;

    fn role(standing: &Standing) -> Result<Option<String>, Contradiction> {
        let token = Role::new("admin");
        standing.role(Some(&token), ISSUED_MS).map(|role| role.map(|role| role.as_str().to_owned()))
    }

    #[test]
    fn the_token_is_enough_while_nothing_is_known() {
        assert_eq!(role(&Standing::default()), Ok(Some("org:admin".to_owned())));
    }

    #[test]
    fn a_role_changed_after_the_token_counts() {
        let stored = |updated_at_ms| Standing {
            membership: Some(StoredMembership::Active { role: Role::new("member"), updated_at_ms }),
            ..Standing::default()
        };
        assert_eq!(role(&stored(ISSUED_MS + 1)), Ok(Some("org:member".to_owned())));
        assert_eq!(role(&stored(ISSUED_MS)), Ok(Some("org:admin".to_owned())));
    }

    #[test]
    fn a_membership_that_ended_after_the_token_refuses() {
        let ended =
            |at_ms| Standing { membership: Some(StoredMembership::Deleted { at_ms }), ..Standing::default() };
        assert_eq!(role(&ended(ISSUED_MS + 1)), Err(Contradiction::MembershipDeleted));
        assert_eq!(role(&ended(ISSUED_MS)), Ok(Some("org:admin".to_owned())));
    }

    #[test]
    fn banned_and_deleted_refuse_whatever_the_token_says() {
        let banned = Standing { user_banned: true, ..Standing::default() };
        let gone = Standing { user_deleted: true, ..Standing::default() };
        let closed = Standing { organization_deleted: true, ..Standing::default() };
        assert_eq!(role(&banned), Err(Contradiction::UserBanned));
        assert_eq!(role(&gone), Err(Contradiction::UserDeleted));
        assert_eq!(role(&closed), Err(Contradiction::OrganizationDeleted));
    }
}
