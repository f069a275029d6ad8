//! What the copy should hold, worked out from the instance alone, and what it does hold, as lines.

use std::collections::BTreeSet;

use roster::domain::{Filter, MemberQuery, Order, OrganizationId};
use roster::sim::Instance;
use roster::sim::instance::user_of;
use roster::sim::shapes::{Object, moment, text};

use crate::support::database::TestStore;

fn number(object: &Object, field: &str) -> String {
    object.get(field).and_then(serde_json::Value::as_i64).map_or("-".to_owned(), |number| number.to_string())
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn email(user: &Object) -> String {
    let primary = text(user, "primary_email_address_id");
    let addresses = user["email_addresses"].as_array().unwrap();
    let address = addresses.iter().find(|address| address["id"] == primary);
    address.map_or("-".to_owned(), |address| address["email_address"].as_str().unwrap().to_owned())
}

/// Clerk's truth: every object that stands, a line each, each line beginning with the object's id. The
/// instance does not list its invitations, so the caller says which there ever were.
pub fn truth(clerk: &Instance, invitations: &BTreeSet<String>) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for user in clerk.users() {
        lines.insert(format!(
            "{} {} {} {} {} {} {}",
            text(user, "id"),
            number(user, "created_at"),
            number(user, "updated_at"),
            shown(text(user, "first_name")),
            email(user),
            i32::from(user["banned"] == true),
            number(user, "last_sign_in_at"),
        ));
    }
    for id in clerk.organization_ids() {
        let organization = clerk.organization(id).unwrap();
        lines.insert(format!(
            "{id} {} {}",
            text(&organization, "name").replace(' ', "_"),
            number(&organization, "updated_at")
        ));
        for one in clerk.memberships_of(id) {
            lines.insert(format!(
                "{} {id} {} {} {} {}",
                text(&one, "id"),
                user_of(&one),
                text(&one, "role"),
                number(&one, "created_at"),
                number(&one, "updated_at")
            ));
        }
    }
    for one in invitations.iter().filter_map(|id| clerk.invitation(id).ok()) {
        // Nobody asks for the address of one that was accepted.
        let is_accepted = text(one, "status") == "accepted";
        lines.insert(format!(
            "{} {} {} {} {}",
            text(one, "id"),
            text(one, "organization_id"),
            if is_accepted { "-" } else { text(one, "email_address") },
            text(one, "status"),
            number(one, "updated_at")
        ));
    }
    lines
}

/// The same of the copy.
pub async fn copy(db: &TestStore) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for query in [
        "SELECT id || ' ' || created_at_ms || ' ' || updated_at_ms || ' ' || COALESCE(first_name, '-') || ' '
            || COALESCE(email, '-') || ' ' || banned || ' ' || COALESCE(last_sign_in_at_ms, '-') AS x
        FROM users WHERE updated_at_ms IS NOT NULL AND deleted_at_ms IS NULL",
        "SELECT id || ' ' || replace(name, ' ', '_') || ' ' || updated_at_ms AS x
        FROM organizations WHERE updated_at_ms IS NOT NULL AND deleted_at_ms IS NULL",
        "SELECT id || ' ' || organization_id || ' ' || user_id || ' ' || role || ' ' || created_at_ms || ' '
            || updated_at_ms AS x
        FROM memberships WHERE updated_at_ms IS NOT NULL AND deleted_at_ms IS NULL AND fallen = 0",
        "SELECT id || ' ' || organization_id || ' ' || COALESCE(email, '-') || ' ' || status || ' ' || updated_at_ms AS x
        FROM invitations WHERE updated_at_ms IS NOT NULL AND deleted_at_ms IS NULL AND fallen = 0",
    ] {
        let rows = db.rows(query, "").await;
        lines.extend(rows.into_iter().map(|row| row.trim_start_matches("x=").to_owned()));
    }
    lines
}

/// The id with which a line begins.
pub fn id_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// Ids of everything that the copy holds for deleted.
pub async fn tombstones(db: &TestStore) -> BTreeSet<String> {
    let query = "SELECT id FROM users WHERE deleted_at_ms IS NOT NULL
        UNION SELECT id FROM organizations WHERE deleted_at_ms IS NOT NULL
        UNION SELECT id FROM memberships WHERE deleted_at_ms IS NOT NULL OR fallen = 1
        UNION SELECT id FROM invitations WHERE deleted_at_ms IS NOT NULL OR fallen = 1";
    db.rows(query, "").await.into_iter().map(|row| row.trim_start_matches("id=").to_owned()).collect()
}

/// Both lists of every organization as Clerk has them.
pub fn true_lists(clerk: &Instance) -> Vec<String> {
    let mut lines = Vec::new();
    for id in clerk.organization_ids() {
        // Of two memberships of one user the newest counts, and it comes last.
        let members = clerk.memberships_of(id);
        let users: BTreeSet<&str> = members.iter().map(user_of).collect();
        let listed = users.into_iter().map(|user_id| {
            let newest = members.iter().rfind(|one| user_of(one) == user_id).unwrap();
            (clerk.user(user_id).unwrap(), newest)
        });
        let mut listed: Vec<_> = listed.collect();
        let line = |(user, membership): &(&Object, &Object)| {
            format!("{} {} {}", text(user, "id"), text(membership, "id"), text(membership, "role"))
        };
        listed.sort_by_key(|(user, _)| (moment(user, "created_at"), text(user, "id").to_owned()));
        lines.extend(listed.iter().map(|listed| format!("{id} Account {}", line(listed))));
        listed.sort_by_key(|(user, _)| {
            let email = email(user);
            (email == "-", email.to_lowercase(), text(user, "id").to_owned())
        });
        lines.extend(listed.iter().map(|listed| format!("{id} Email {}", line(listed))));
    }
    lines
}

/// Both lists of these organizations as the copy answers them.
pub async fn lists(db: &TestStore, organizations: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines = Vec::new();
    for id in organizations {
        for order in [Order::Account, Order::Email] {
            let query = MemberQuery {
                organization_id: OrganizationId::parse(id.as_str()).unwrap(),
                order,
                after: None,
                limit: None,
                ids: None,
                filter: Filter::default(),
            };
            for member in db.store.members(&query).await.unwrap().members {
                let (user, membership, role) = (&member.user.id, &member.membership_id, member.role.as_str());
                lines.push(format!("{id} {order:?} {user} {membership} {role}"));
            }
        }
    }
    lines
}
