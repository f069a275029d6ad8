//! What a batch has to know of objects that it does not change: the users and organizations that its
//! memberships and invitations belong to.

use std::collections::{BTreeMap, BTreeSet};

use super::connection::Row;
use super::error::StoreError;
use super::rows::{Asked, Script, Statement, ids};
use super::states::{organization_id, user_id};
use crate::domain::fold::email_key;
use crate::domain::merge::UserState;
use crate::domain::{OrganizationId, UserId};

/// What decides where a user stands in the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) account_created_at_ms: i64,
    pub(super) email_key: String,
}

/// A user as its memberships see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) deleted: bool,
    /// `None` while the user is not listed anywhere.
    pub(super) keys: Option<Keys>,
}

impl From<&UserState> for Parent {
    fn from(state: &UserState) -> Self {
        let keys = state.known.as_ref().map(|known| Keys {
            account_created_at_ms: known.content.created_at_ms,
            email_key: email_key(known.content.email.as_deref()),
        });
        Self { deleted: state.deleted_at_ms.is_some(), keys }
    }
}

/// Users and organizations that a batch has to know.
#[derive(Default)]
pub(super) struct Parents {
    pub(super) users: BTreeSet<UserId>,
    pub(super) organizations: BTreeSet<OrganizationId>,
}

impl Parents {
    pub(super) fn of_membership(&mut self, organization: &OrganizationId, user: &UserId) {
        self.of_invitation(Some(organization), Some(user));
    }

    pub(super) fn of_invitation(&mut self, organization: Option<&OrganizationId>, user: Option<&UserId>) {
        self.organizations.extend(organization.cloned());
        self.users.extend(user.cloned());
    }

    pub(super) fn without(
        mut self,
        users: &BTreeSet<UserId>,
        organizations: &BTreeSet<OrganizationId>,
    ) -> Self {
        self.users.retain(|id| !users.contains(id));
        self.organizations.retain(|id| !organizations.contains(id));
        self
    }

    /// Asks for the users, and for those of the organizations that are deleted.
    pub(super) fn load<'a>(&'a self, script: &mut Script<'a>) -> (Asked, Asked) {
        let users = script.add(&USERS, ids(&self.users));
        (users, script.add(&DELETED_ORGANIZATIONS, ids(&self.organizations)))
    }
}

static USERS: Statement<1> = Statement::new(
    "SELECT u.id, u.updated_at_ms, u.created_at_ms, u.email, u.deleted_at_ms
    FROM (VALUES {rows}) AS r CROSS JOIN users u WHERE u.id = r.column1",
);

/// The keys of those users that may be listed, and those that are deleted.
pub(super) fn users(rows: &[Row]) -> Result<(BTreeMap<UserId, Keys>, BTreeSet<UserId>), StoreError> {
    let (mut keys, mut deleted) = (BTreeMap::new(), BTreeSet::new());
    for row in rows {
        let id = user_id(row, "id")?;
        if row.try_get::<Option<i64>, _>("deleted_at_ms")?.is_some() {
            deleted.insert(id.clone());
        }
        if row.try_get::<Option<i64>, _>("updated_at_ms")?.is_some() {
            let email_key = email_key(row.try_get("email")?);
            keys.insert(id, Keys { account_created_at_ms: row.try_get("created_at_ms")?, email_key });
        }
    }
    Ok((keys, deleted))
}

static DELETED_ORGANIZATIONS: Statement<1> = Statement::new(
    "SELECT o.id FROM (VALUES {rows}) AS r CROSS JOIN organizations o
    WHERE o.id = r.column1 AND o.deleted_at_ms IS NOT NULL",
);

/// Those of the organizations that are deleted.
pub(super) fn deleted_organizations(rows: &[Row]) -> Result<BTreeSet<OrganizationId>, StoreError> {
    rows.iter().map(|row| organization_id(row, "id")).collect()
}
