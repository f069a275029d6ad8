//! The real program in a folder of its own, with both of its listeners in view.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use roster::sim::{Instance, NewUser};
use serde_json::Value;

use super::scrape::Scrape;
use crate::support::answer::Answer;
use crate::support::binary::Program;
use crate::support::delivery::{Delivery, SECRET, now_s};
use crate::support::site;

/// The only metrics are its own: counts are kept for each process.
pub struct Watched {
    pub program: Program,
    pub service: String,
    pub ops: String,
    client: Client,
}

impl Watched {
    pub fn start(folder: &Path, clerk: &Instance, more: &[(&str, &str)]) -> Self {
        let pem = clerk.key().public_pem().unwrap();
        let environment = [
            ("ROSTER_LISTEN", "127.0.0.1:0"),
            ("ROSTER_OPS_LISTEN", "127.0.0.1:0"),
            ("ROSTER_LOG", "info"),
            ("ROSTER_LOG_FORMAT", "json"),
            ("CLERK_JWT_KEY", &pem),
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ];
        let mut program = Program::start(folder, &["serve"], &[&environment, more].concat());
        let line: Value = serde_json::from_str(program.wait_for("operators' listener")).unwrap();
        let ops = format!("http://{}", line["address"].as_str().unwrap());
        let service = program.wait_until_it_listens();
        Self { program, service, ops, client: Client::builder().no_proxy().no_gzip().build().unwrap() }
    }

    pub async fn ask(&self, method: &str, url: &str) -> Answer {
        Answer::of(self.request(method, url)).await
    }

    pub fn request(&self, method: &str, url: &str) -> RequestBuilder {
        self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url)
    }

    pub async fn scrape(&self) -> Scrape {
        let answer = self.ask("GET", &format!("{}/metrics", self.ops)).await;
        assert_eq!(answer.status, 200);
        Scrape::parse(answer.text())
    }

    pub async fn deliver(&self, delivery: &Delivery) -> String {
        Answer::of(site::post(&self.client, &self.service, delivery)).await.verdict()
    }

    /// A list, as this user in this organization.
    pub async fn list(&self, clerk: &Instance, path: &str, user: &str, organization: &str) -> u16 {
        let token = site::token(clerk, now_s() - 5, user, organization, "admin");
        let url = format!("{}{path}", self.service);
        Answer::of(self.request("GET", &url).bearer_auth(token)).await.status.as_u16()
    }
}

impl Watched {
    /// The same until it answers so, which it has to within a second: another process has written.
    pub async fn list_becomes(
        &self,
        status: u16,
        clerk: &Instance,
        path: &str,
        user: &str,
        organization: &str,
    ) {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let answered = self.list(clerk, path, user, organization).await;
            if answered == status {
                return;
            }
            assert!(Instant::now() < deadline, "{answered} and not {status}");
        }
    }
}

/// Ada, who is in an organization. Returns their ids.
pub fn ada(clerk: &mut Instance) -> (String, String) {
    let user = clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com")).id().to_owned();
    let organization = clerk.create_organization("Harbour", Some(&user)).id().to_owned();
    clerk.join(&user, &organization, "org:admin", &roster::sim::shapes::Object::new()).unwrap();
    (user, organization)
}
