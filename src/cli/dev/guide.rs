//! What `roster dev` prints: who is there, and lines to copy.

use std::fmt::Write as _;

use serde_json::Value;

use super::ORIGIN;
use super::folder::Folder;
use crate::cli::paint::{Paint, paint};
use crate::replay::send::Tally;
use crate::sim::Instance;
use crate::sim::backend_api::SECRET_KEY;
use crate::sim::instance::user_of;
use crate::sim::shapes::{Object, identifier, text as field};
use crate::sim::tokens::TokenOptions;

/// How long the printed tokens live.
const DAY_S: i64 = 24 * 3600;

/// The addresses of this run.
pub(super) struct Here<'a> {
    pub(super) service: String,
    /// The operators' listener.
    pub(super) ops: String,
    pub(super) clerk: String,
    pub(super) folder: &'a Folder,
    /// How many events were withheld.
    pub(super) lost: usize,
}

/// One who may ask.
struct Caller {
    user_id: String,
    name: String,
}

/// The whole text.
pub(super) fn text(
    here: &Here<'_>,
    clerk: &mut Instance,
    tally: Tally,
    now_ms: i64,
) -> anyhow::Result<String> {
    let Here { service, ops, clerk: clerk_url, folder, lost } = here;
    let mut out = String::new();
    writeln!(out, "{} {service}, beside a simulated Clerk on {clerk_url}", bold("Roster listens on"))?;
    writeln!(out, "{}", fill_report(tally))?;
    if let Some(organization_id) = main_organization(clerk) {
        let organization = clerk.organization(&organization_id)?;
        let (name, members) = (field(&organization, "name"), organization.get("members_count"));
        let members = members.and_then(Value::as_u64).unwrap_or_default();
        writeln!(
            out,
            "\n{} ({organization_id}) has {members} members. Ask who they are; the lines work for",
            bold(name)
        )?;
        writeln!(out, "24 hours, also after a restart:")?;
        let users = format!("{service}/api/v1/entities/users");
        let admins = format!("{service}/api/admin/getUsersInOrg");
        for (role, is_admin, urls) in
            [("member", false, vec![&users]), ("admin", true, vec![&users, &admins])]
        {
            let Some(caller) = caller(clerk, &organization_id, is_admin) else { continue };
            let token = token(clerk, &caller, &organization_id, now_ms)?;
            writeln!(out, "\n{}", bold(&format!("# {}, {role}", caller.name)))?;
            for url in urls {
                writeln!(out, "curl -sS -H 'Authorization: Bearer {token}' '{url}'")?;
            }
        }
    } else {
        writeln!(out, "\nThe events name no organization with members, so there is nobody to ask as.")?;
    }
    let secret = folder.secret_path();
    writeln!(
        out,
        "\nWebhooks go to {service}/webhooks/clerk, signed with the secret in {}.",
        secret.display()
    )?;
    writeln!(out, "The console is on {ops}/, metrics are on {ops}/metrics.")?;
    if *lost > 0 {
        writeln!(
            out,
            "\n{lost} events were withheld, so the lists are wrong. This mends them and says what was:\n"
        )?;
        writeln!(out, "{}\n", reconcile_line(folder, clerk_url))?;
    }
    writeln!(out, "Ctrl-C stops; `roster dev --reset` starts anew.")?;
    Ok(out)
}

/// The command that compares the demo's database with its Clerk, from the folder of the demo.
fn reconcile_line(folder: &Folder, clerk_url: &str) -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "roster".to_owned(), |path| path.display().to_string());
    format!(
        "DATABASE_URL='sqlite://{}' CLERK_API_URL={clerk_url} CLERK_SECRET_KEY={SECRET_KEY} '{program}' reconcile",
        folder.database().display()
    )
}

fn fill_report(tally: Tally) -> String {
    let total = tally.total();
    if total > 0 && tally.duplicate + tally.ignored == total && tally.duplicate > 0 {
        return format!(
            "The database of the last run is kept: all its {} events were there already.",
            tally.duplicate
        );
    }
    format!("{total} events were sent to the webhook route: {tally}.")
}

/// The one with the most members; of equals the oldest id.
fn main_organization(clerk: &Instance) -> Option<String> {
    let sizes = clerk.organization_ids().map(|id| (clerk.memberships_of(id).len(), std::cmp::Reverse(id)));
    sizes.max().filter(|(members, _)| *members > 0).map(|(_, std::cmp::Reverse(id))| id.to_owned())
}

/// The oldest admin or other member who may sign in.
fn caller(clerk: &Instance, organization_id: &str, is_admin: bool) -> Option<Caller> {
    clerk.memberships_of(organization_id).iter().find_map(|membership| {
        let user = clerk.user(user_of(membership)).ok()?;
        let banned = user.get("banned").and_then(Value::as_bool).unwrap_or_default();
        let fits = (field(membership, "role") == "org:admin") == is_admin;
        (fits && !banned).then(|| Caller { user_id: field(user, "id").to_owned(), name: name(user) })
    })
}

fn name(user: &Object) -> String {
    let names: Vec<_> = ["first_name", "last_name"]
        .into_iter()
        .map(|one| field(user, one))
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        identifier(user).as_str().unwrap_or("somebody").to_owned()
    } else {
        names.join(" ")
    }
}

fn token(
    clerk: &mut Instance,
    caller: &Caller,
    organization_id: &str,
    now_ms: i64,
) -> anyhow::Result<String> {
    let options =
        TokenOptions { life_s: DAY_S, authorized_party: Some(ORIGIN.to_owned()), ..TokenOptions::at(now_ms) };
    clerk.session_token(&caller.user_id, Some(organization_id), &options)
}

fn bold(text: &str) -> String {
    paint(Paint::Bold, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::fixtures;
    use crate::sim::keys::SigningKey;

    fn clerk() -> Instance {
        let mut clerk = Instance::new(SigningKey::generate(fixtures::INSTANCE_ID).unwrap(), 1, 0);
        for message in fixtures::messages().unwrap() {
            clerk.ingest(&serde_json::from_str(&message.body).unwrap());
        }
        clerk
    }

    #[test]
    fn the_oldest_member_and_the_oldest_admin_of_the_largest_organization_ask() {
        let clerk = clerk();
        let organization_id = main_organization(&clerk).unwrap();
        assert_eq!(field(&clerk.organization(&organization_id).unwrap(), "name"), "Fernhill Studios");
        assert_eq!(caller(&clerk, &organization_id, true).unwrap().name, "Ada Okafor");
        assert_eq!(caller(&clerk, &organization_id, false).unwrap().name, "Chiara Rossi");
    }

    #[test]
    fn nobody_is_asked_for_where_nobody_is() {
        let clerk = Instance::new(SigningKey::generate("ins_empty").unwrap(), 1, 0);
        assert_eq!(main_organization(&clerk), None);
    }

    #[test]
    fn a_second_run_says_that_everything_was_there() {
        let first = Tally { applied: 70, ignored: 2, ..Tally::default() };
        let second = Tally { duplicate: 70, ignored: 2, ..Tally::default() };
        assert!(fill_report(first).contains("applied 70"), "{}", fill_report(first));
        assert!(fill_report(second).contains("all its 70 events"), "{}", fill_report(second));
        assert!(fill_report(Tally::default()).starts_with("0 events"));
    }
}
