//! Two organizations that share some people.

use roster::config::Database;
use roster::sim::shapes::{Object, object};
use roster::sim::{Event, NewUser};
use serde_json::json;

use super::reader::Reader;
use crate::support::database::{Kind, server_database};
use crate::support::site::{Site, clerk};

/// Ada and Bo are in both organizations, Cy only in the second.
pub struct Town {
    pub site: Site,
    pub ada: String,
    pub bo: String,
    pub cy: String,
    pub harbour: String,
    pub lighthouse: String,
}

impl Town {
    pub async fn new() -> Self {
        Self::around(Site::start().await).await
    }

    /// On either database.
    pub async fn on(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::new().await,
            Kind::Postgres => {
                let database = server_database().await;
                Self::around(Site::start_with(|config| config.database = database).await).await
            }
        }
    }

    /// In a service that knows nothing yet.
    pub async fn around(mut site: Site) -> Self {
        let [ada, bo, cy] = ["Ada", "Bo", "Cy"].map(|name| {
            let user = NewUser::named(name, "0", &format!("{name}@example.com"));
            site.clerk.create_user(user).id().to_owned()
        });
        let [harbour, lighthouse] =
            ["Harbour", "Lighthouse"].map(|name| site.clerk.create_organization(name, None).id().to_owned());
        for (user, organization) in
            [(&ada, &harbour), (&bo, &harbour), (&ada, &lighthouse), (&bo, &lighthouse), (&cy, &lighthouse)]
        {
            site.clerk.join(user, organization, "org:admin", &Object::new()).unwrap();
        }
        site.catch_up().await;
        site.now_at_clerk();
        let town = Self { site, ada, bo, cy, harbour, lighthouse };
        town.told_at(&town.site.url()).await;
        town
    }

    /// All of that is told at an instance: whoever follows it from now on hears of what comes later.
    pub async fn told_at(&self, url: &str) {
        let last = self.token(&self.cy, &self.lighthouse);
        let mut reader = Reader::open(url, &last, Some("0")).await;
        reader.until(&format!("upserted {}", self.cy)).await;
    }

    /// The token of a minute ago.
    pub fn token(&self, user: &str, organization: &str) -> String {
        self.site.token(user, organization, "org:member", 60)
    }

    /// Ada follows an organization from now on.
    pub async fn follow(&self, organization: &str) -> Reader {
        self.resume(organization, None).await
    }

    pub async fn resume(&self, organization: &str, last_id: Option<&str>) -> Reader {
        Reader::open(&self.site.url(), &self.token(&self.ada, organization), last_id).await
    }

    pub async fn deliver(&self, event: &Event) {
        assert_eq!(self.site.deliver(event).await, "200 applied", "{}", event.event_type);
    }

    /// Somebody gets another last name.
    pub async fn rename(&mut self, user: &str, name: &str) {
        let event = self.site.clerk.update_user(user, object(json!({ "last_name": name }))).unwrap();
        self.deliver(&event).await;
    }

    /// Somebody new.
    pub async fn arrive(&mut self, name: &str) -> String {
        let user = NewUser::named(name, "0", &format!("{name}@example.com"));
        let event = self.site.clerk.create_user(user);
        self.deliver(&event).await;
        event.id().to_owned()
    }

    pub async fn join(&mut self, user: &str, organization: &str) {
        let event = self.site.clerk.join(user, organization, "org:member", &Object::new()).unwrap();
        self.deliver(&event).await;
    }

    pub async fn leave(&mut self, user: &str, organization: &str) {
        let membership = self.site.clerk.membership_id(user, organization).unwrap();
        let event = self.site.clerk.leave(&membership).unwrap();
        self.deliver(&event).await;
    }

    /// Stops the service and starts it on the same file; `meanwhile` sees the file.
    pub async fn restart(mut self, meanwhile: impl AsyncFnOnce(&std::path::Path)) -> Self {
        let instance = std::mem::replace(&mut self.site.clerk, clerk(2));
        let folder = self.site.stop().await;
        let path = folder.path().join("roster.db");
        meanwhile(&path).await;
        // The folder goes with the process of the tests.
        let _ = folder.keep();
        let mut site = Site::start_with(|config| config.database = Database::Sqlite(path)).await;
        site.clerk = instance;
        Self { site, ..self }
    }
}
