//! What is derived from the entities, in the transaction that changes them: what falls with a deleted
//! parent, and who is listed.

use std::collections::BTreeSet;

use super::connection::{Connection, Row};
use super::error::StoreError;
use super::parents::Keys;
use super::rows::{Asked, Script, Statement, cell, ids};
use super::states::{organization_id, user_id};
use crate::domain::{OrganizationId, UserId};

/// A user in an organization, whichever membership it is by.
pub(super) type MemberKey = (OrganizationId, UserId);

// As `Version::of_fallen_membership` does it.
macro_rules! memberships_fall {
    ($of:literal) => {
        Statement::new(concat!(
            "UPDATE memberships SET fallen = 1, unlistable = 1, content_digest = (content_digest >> 32) << 32,
                role = '', public_metadata = '{}'
            WHERE ",
            $of
        ))
    };
}

/// Falls, and is blanked, whichever invitation is of these.
macro_rules! invitations_fall {
    ($of:literal) => {
        Statement::new(concat!(
            "UPDATE invitations
            SET fallen = 1, updated_at_ms = NULL, observed_at_ms = NULL, content_digest = NULL, email = NULL,
                role = NULL, status = 'pending', public_metadata = '{}', created_at_ms = 0, expires_at_ms = NULL
            WHERE ",
            $of
        ))
    };
}

static MEMBERSHIPS_FALL_WITH_USERS: Statement<1> = memberships_fall!("user_id IN (VALUES {rows})");
static INVITATIONS_FALL_WITH_USERS: Statement<1> = invitations_fall!("user_id IN (VALUES {rows})");

/// Removes, and blanks, what belongs to users that were deleted.
pub(super) fn fall_with_users<'a>(script: &mut Script<'a>, users: &[&'a UserId]) {
    script.then();
    for statement in [&MEMBERSHIPS_FALL_WITH_USERS, &INVITATIONS_FALL_WITH_USERS] {
        script.add(statement, ids(users.iter().copied()));
    }
}

// Every member of an organization is on its list, or its newest membership is `unlistable`; both are
// found by its user.
static UNLISTED_FALL_WITH_ORGANIZATIONS: Statement<1> = memberships_fall!(
    "(user_id, organization_id) IN (SELECT g.user_id, g.organization_id FROM memberships g
        WHERE g.unlistable = 1 AND g.organization_id IN (VALUES {rows}))"
);
static LISTED_FALL_WITH_ORGANIZATIONS: Statement<1> = memberships_fall!(
    "(user_id, organization_id) IN (SELECT x.user_id, x.organization_id FROM members x
        WHERE x.organization_id IN (VALUES {rows}))"
);
static INVITATIONS_FALL_WITH_ORGANIZATIONS: Statement<1> =
    invitations_fall!("organization_id IN (VALUES {rows})");
static UNLIST_ORGANIZATIONS: Statement<1> =
    Statement::new("DELETE FROM members WHERE organization_id IN (VALUES {rows})");

/// Removes what belongs to organizations that were deleted: many rows each, so each statement has its time.
pub(super) fn fall_with_organizations<'a>(script: &mut Script<'a>, organizations: &[&'a OrganizationId]) {
    for statement in [
        &UNLISTED_FALL_WITH_ORGANIZATIONS,
        &LISTED_FALL_WITH_ORGANIZATIONS,
        &INVITATIONS_FALL_WITH_ORGANIZATIONS,
        &UNLIST_ORGANIZATIONS,
    ] {
        script.then();
        script.add(statement, ids(organizations.iter().copied()));
    }
}

static MAKE_LISTABLE: Statement<1> = Statement::new(
    "UPDATE memberships SET unlistable = 0
    WHERE user_id IN (VALUES {rows}) AND unlistable = 1 AND deleted_at_ms IS NULL AND fallen = 0",
);

/// Lets memberships be listed that were there before their users.
pub(super) fn make_listable<'a>(script: &mut Script<'a>, users: impl Iterator<Item = &'a UserId>) {
    script.add(&MAKE_LISTABLE, ids(users));
}

static MEMBERS_OF_USERS: Statement<1> = Statement::new(
    "SELECT DISTINCT m.organization_id, m.user_id
    FROM (VALUES {rows}) AS r CROSS JOIN memberships m WHERE m.user_id = r.column1",
);

/// Every membership of these users, by its key.
pub(super) fn load_members<'a>(script: &mut Script<'a>, users: impl Iterator<Item = &'a UserId>) -> Asked {
    script.add(&MEMBERS_OF_USERS, ids(users))
}

pub(super) fn members(rows: &[Row]) -> Result<BTreeSet<MemberKey>, StoreError> {
    rows.iter().map(|row| Ok((organization_id(row, "organization_id")?, user_id(row, "user_id")?))).collect()
}

static LIST: Statement<4> = Statement::new(
    "INSERT INTO members (organization_id, account_created_at_ms, user_id, membership_id, email_key)
    SELECT m.organization_id, r.column3, m.user_id, m.id, r.column4
    FROM (VALUES {rows}) AS r CROSS JOIN memberships m
    WHERE m.organization_id = r.column1 AND m.user_id = r.column2
        AND m.deleted_at_ms IS NULL AND m.fallen = 0 AND NOT EXISTS (
        SELECT 1 FROM memberships newer
        WHERE newer.organization_id = m.organization_id AND newer.user_id = m.user_id
            AND (newer.created_at_ms, newer.deleted_at_ms IS NULL, newer.id)
                > (m.created_at_ms, m.deleted_at_ms IS NULL, m.id))
    ON CONFLICT (organization_id, account_created_at_ms, user_id) DO UPDATE SET
        membership_id = excluded.membership_id, email_key = excluded.email_key
    WHERE (members.membership_id, members.email_key) <> (excluded.membership_id, excluded.email_key)",
);

/// Lists these members: the newest membership, if it stands. Clerk has one membership of a user in an organization
/// at a time, so a newer one that has ended proves that the older one has too; of two that were made at one moment it proves
/// nothing. A row that is right already is not written: it stands in two trees. One with another age of the account has
/// to be taken off before.
pub(super) fn list<'a>(script: &mut Script<'a>, members: impl Iterator<Item = (&'a MemberKey, &'a Keys)>) {
    let row = |((organization, user), keys): (&'a MemberKey, &'a Keys)| {
        [cell(organization), cell(user), cell(keys.account_created_at_ms), cell(keys.email_key.as_str())]
    };
    script.add(&LIST, members.map(row));
}

static UNLIST: Statement<3> = Statement::new(
    "DELETE FROM members WHERE (organization_id, account_created_at_ms, user_id) IN (VALUES {rows})
    RETURNING organization_id, user_id",
);

/// Takes these members, with the ages of the accounts by which they are listed, off the lists. Answers with those that
/// were on them.
pub(super) async fn unlist<'a>(
    db: &mut Connection,
    unlisted: impl Iterator<Item = (&'a MemberKey, i64)>,
) -> Result<BTreeSet<MemberKey>, StoreError> {
    let row = |((organization, user), account_created_at_ms): (&'a MemberKey, i64)| {
        [cell(organization), cell(account_created_at_ms), cell(user)]
    };
    let rows: Vec<_> = unlisted.map(row).collect();
    members(&UNLIST.fetch(db, &rows).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::members::tests::plan;

    /// Whatever the database knows of its tables: all memberships of a member are found by its user.
    #[tokio::test]
    async fn nothing_is_looked_for_in_a_whole_table() {
        insta::assert_snapshot!(plan(LIST.over_lot(1)).await, @r"
        CO-ROUTINE r
        SCAN CONSTANT ROW
        SCAN r
        SEARCH m USING INDEX memberships_by_user (user_id=? AND organization_id=?)
        CORRELATED SCALAR SUBQUERY 2
        SEARCH newer USING INDEX memberships_by_user (user_id=? AND organization_id=?)
        ");
        insta::assert_snapshot!(plan(UNLISTED_FALL_WITH_ORGANIZATIONS.over_lot(4)).await, @r"
        SEARCH memberships USING COVERING INDEX memberships_by_user (user_id=? AND organization_id=?)
        LIST SUBQUERY 5
        SEARCH g USING COVERING INDEX memberships_unlistable (organization_id=?)
        LIST SUBQUERY 3
        SCAN 4-ROW VALUES CLAUSE
        CREATE BLOOM FILTER
        CREATE BLOOM FILTER
        ");
        insta::assert_snapshot!(plan(LISTED_FALL_WITH_ORGANIZATIONS.over_lot(4)).await, @r"
        SEARCH memberships USING COVERING INDEX memberships_by_user (user_id=? AND organization_id=?)
        LIST SUBQUERY 5
        SEARCH x USING COVERING INDEX members_by_email (organization_id=?)
        LIST SUBQUERY 3
        SCAN 4-ROW VALUES CLAUSE
        CREATE BLOOM FILTER
        CREATE BLOOM FILTER
        ");
        // Else it would keep every page as it was, which may be all of an organization's.
        assert!(LISTED_FALL_WITH_ORGANIZATIONS.over_lot(4).starts_with("UPDATE OR ROLLBACK memberships"));
        insta::assert_snapshot!(plan(MAKE_LISTABLE.over_lot(4)).await, @r"
        SEARCH memberships USING INDEX memberships_by_user (user_id=?)
        LIST SUBQUERY 3
        SCAN 4-ROW VALUES CLAUSE
        CREATE BLOOM FILTER
        ");
        insta::assert_snapshot!(plan(UNLIST.over_lot(4)).await, @r"
        SEARCH members USING PRIMARY KEY (organization_id=? AND account_created_at_ms=? AND user_id=?)
        LIST SUBQUERY 4
        SCAN 4-ROW VALUES CLAUSE
        CREATE BLOOM FILTER
        ");
    }
}
