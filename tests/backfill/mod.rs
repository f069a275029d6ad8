//! What a site does of its own accord to have Clerk's truth: the backfill at its first start, read-through,
//! hydration, the schedules; and the command that people run.

mod command;
mod demo;
mod first_start;
mod hydration;
mod killed;
mod read_through;
mod schedules;
mod takeover;
mod without_key;

use std::collections::BTreeSet;

use roster::config::Config;
use roster::sim::backend_api::{Asked, Controls, SECRET_KEY};
use roster::sim::instance::user_of;
use roster::sim::server::{Server, Shared};
use roster::sim::shapes::{Object, text};
use roster::sim::{Instance, NewUser};

use crate::support::database::Rows;
use crate::support::site::{self, Site};
use crate::support::until;

/// No schedule of a test comes to this.
const NEVER: &str = "0 0 29 2 *";

/// A simulated Clerk with people in it. Its key is the one of every [`Site`].
struct Clerk {
    instance: Shared,
    server: Server,
}

impl Clerk {
    async fn empty() -> Self {
        let instance = Shared::new(site::clerk(2));
        let server = Server::start(instance.clone()).await.unwrap();
        Self { instance, server }
    }

    /// So many organizations with so many members each, and nobody in two of them. Nothing was delivered.
    async fn with(organizations: usize, members: usize) -> Self {
        let clerk = Self::empty().await;
        for number in 0..organizations {
            clerk.organization(&format!("Org {number}"), members);
        }
        clerk.instance.lock().take_events();
        clerk
    }

    /// Makes an organization with members; the first of them is its admin.
    fn organization(&self, name: &str, members: usize) -> String {
        let mut clerk = self.instance.lock();
        let organization = clerk.create_organization(name, None).id().to_owned();
        for number in 0..members {
            let email = format!("{number}@{}.example.com", organization.to_lowercase());
            let user = clerk.create_user(NewUser::named("Member", &number.to_string(), &email));
            let role = if number == 0 { "org:admin" } else { "org:member" };
            clerk.join(user.id(), &organization, role, &Object::new()).unwrap();
        }
        organization
    }

    fn organizations(&self) -> Vec<String> {
        self.instance.lock().organization_ids().map(str::to_owned).collect()
    }

    /// Who is in an organization, in the order of the list.
    fn members(&self, organization: &str) -> Vec<String> {
        let clerk = self.instance.lock();
        let members = clerk.memberships_of(organization);
        let mut users: Vec<_> =
            members.iter().filter_map(|membership| clerk.user(user_of(membership)).ok()).collect();
        users.sort_by_key(|user| (user["created_at"].as_i64(), text(user, "id")));
        users.iter().map(|user| text(user, "id").to_owned()).collect()
    }

    fn controls(&self) -> &Controls {
        self.server.controls()
    }

    fn with_instance<T>(&self, work: impl FnOnce(&mut Instance) -> T) -> T {
        work(&mut self.instance.lock())
    }

    /// Lets a minute pass at Clerk, whose clock tells seconds to whoever asks: what was observed before is older
    /// than what comes.
    fn later(&self) {
        self.with_instance(|instance| instance.advance(60_000));
    }

    /// Points a configuration here. Nothing runs on a schedule, and no limit slows a test.
    fn configure(&self, config: &mut Config) {
        config.secret_key = Some(SECRET_KEY.into());
        config.api_url = self.server.url();
        config.clerk_rate = 10_000;
        NEVER.clone_into(&mut config.reconcile_cron);
        NEVER.clone_into(&mut config.reconcile_full_cron);
    }

    /// A site that has asked for everything there is.
    async fn filled_site(&self) -> Site {
        self.filled_site_with(|_| {}).await
    }

    async fn filled_site_with(&self, change: impl FnOnce(&mut Config)) -> Site {
        let site = self.site_with(change).await;
        until("the site is ready", async || is_ready(&site).await).await;
        self.controls().take_log();
        site
    }

    async fn site_with(&self, change: impl FnOnce(&mut Config)) -> Site {
        Site::start_with(|config| {
            self.configure(config);
            change(config);
        })
        .await
    }

    /// Every list of the site is the truth.
    async fn is_told_by(&self, site: &Site) {
        for organization in self.organizations() {
            assert_eq!(site.members(&organization).await, self.members(&organization), "{organization}");
        }
    }
}

async fn is_ready(site: &Site) -> bool {
    site.get("/readyz", "").await.status == 200
}

/// The pages of a walk, as opposed to the first look at how much there is.
fn is_page(asked: &Asked) -> bool {
    asked.first("limit").is_some_and(|limit| limit != "1")
}

/// The list of which a line is a page.
fn list_of(line: &str) -> &str {
    line.split_once('?').map_or(line, |(path, _)| path)
}

/// What was asked, a line each.
fn lines(log: &[Asked]) -> Vec<String> {
    log.iter()
        .map(|asked| {
            let query: Vec<_> = asked.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}?{}", asked.path, query.join("&"))
        })
        .collect()
}

fn distinct(lines: &[String]) -> BTreeSet<&str> {
    lines.iter().map(String::as_str).collect()
}

/// The number that a statement gives.
async fn number(rows: &Rows, sql: &str) -> i64 {
    let row = rows.rows(sql, "").await.remove(0);
    row.split_once('=').unwrap().1.parse().unwrap()
}
