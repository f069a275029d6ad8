//! Webhooks: distinct, signed, and each of them changes something.
//!
//! Half of them say that somebody changed, a quarter that somebody new signed up, a quarter that this newcomer
//! joined an organization. One in twenty is about a member of the organization of 50, whose list is read meanwhile. The
//! bodies are those of the simulated Clerk, written from templates.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roster::clock;
use roster::sim::keys::SigningKey;
use roster::sim::shapes::Object;
use roster::sim::{Instance, NewUser};
use serde_json::Value;

use super::template::Template;
use super::{FIFTY, Town, created_at_ms, id};

/// Newcomers are numbered from here.
const NEWCOMERS: usize = 500_000_000;
/// The first event happened so long before the run. Each one is a millisecond younger than the one before.
const AGO_MS: i64 = 10_000_000;
/// A step through the users that meets all of them before it meets one again.
const STEP: usize = 7_919;
/// Every so many-th event is about somebody in the organization of 50.
const BUSY: usize = 20;

const KEY: [u8; 24] = *b"a secret of 24 bytes....";

/// The webhook secret, as Clerk's dashboard shows it.
pub(crate) fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

/// One webhook, before it is signed.
pub(crate) struct Webhook {
    pub(crate) message_id: String,
    pub(crate) body: String,
}

/// The events of a town, by their number.
pub(crate) struct Events {
    town: Town,
    busy: Vec<usize>,
    first_ms: i64,
    updated: Template<Gap>,
    created: Template<Gap>,
    joined: Template<Gap>,
    key: hmac::Key,
}

impl Events {
    pub(crate) fn of(town: Town) -> Self {
        let mut clerk = Instance::new(SigningKey::generate("ins_bench").unwrap(), 1, 1_700_000_000_000);
        let mut new = NewUser::named("somebody", "Number", "somebody@example.com");
        new.username = Some("somebody".to_owned());
        let user = clerk.create_user(new);
        let organization = clerk.create_organization("An organization", None);
        let joined = clerk.join(user.id(), organization.id(), "org:member", &Object::new()).unwrap();
        let gaps = [
            (user.id(), Gap::User),
            (organization.id(), Gap::Organization),
            (joined.id(), Gap::Membership),
            ("somebody", Gap::Name),
            ("\"(created)\"", Gap::Created),
            ("\"(now)\"", Gap::Now),
        ];
        let template = |event_type: &str, envelope: &Value| {
            let mut envelope = envelope.clone();
            envelope["type"] = event_type.into();
            envelope["timestamp"] = Gap::Now.text().into();
            envelope["data"]["created_at"] = Gap::Created.text().into();
            envelope["data"]["updated_at"] = Gap::Now.text().into();
            Template::new(&envelope.to_string(), &gaps)
        };
        Self {
            town,
            busy: town.members(FIFTY),
            first_ms: clock::now_ms() - AGO_MS,
            updated: template("user.updated", &user.envelope),
            created: template("user.created", &user.envelope),
            joined: template("organizationMembership.created", &joined.envelope),
            key: hmac::Key::new(hmac::HMAC_SHA256, &KEY),
        }
    }

    pub(crate) fn webhook(&self, number: usize) -> Webhook {
        let somebody = if number.is_multiple_of(BUSY) {
            self.busy[number / BUSY % self.busy.len()]
        } else {
            // Two events about one person must not overtake each other, so the busy ones are left out here.
            let user = number.wrapping_mul(STEP) % self.town.users;
            user + usize::from(user.is_multiple_of(self.town.users / self.busy.len()))
        };
        let newcomer = NEWCOMERS + number / 4;
        let now_ms = self.first_ms + i64::try_from(number).unwrap();
        let organization = newcomer.wrapping_mul(STEP) % self.town.organizations();
        let (template, user, created_ms) = match number % 4 {
            0 | 1 => (&self.updated, somebody, created_at_ms(somebody)),
            2 => (&self.created, newcomer, now_ms),
            _ => (&self.joined, newcomer, now_ms),
        };
        let mut body = String::with_capacity(4_096);
        template.write(&mut body, |body, gap| match gap {
            Gap::User => body.push_str(&id("user", user)),
            Gap::Organization => body.push_str(&id("org", organization)),
            Gap::Membership => body.push_str(&id("orgmem", user)),
            Gap::Name => write!(body, "somebody{user}").unwrap(),
            Gap::Created => write!(body, "{created_ms}").unwrap(),
            Gap::Now => write!(body, "{now_ms}").unwrap(),
        });
        // Two runs on one file must not be duplicates of each other.
        Webhook { message_id: format!("msg_{:013}{number:014}", self.first_ms), body }
    }

    /// The value of `svix-signature`.
    pub(crate) fn signature(&self, webhook: &Webhook, at_s: i64) -> String {
        let mut tag = hmac::Context::with_key(&self.key);
        for part in [webhook.message_id.as_str(), ".", &at_s.to_string(), ".", webhook.body.as_str()] {
            tag.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(tag.sign()))
    }
}

/// What is written into a template.
#[derive(Clone, Copy)]
enum Gap {
    User,
    Organization,
    Membership,
    Name,
    Created,
    Now,
}

impl Gap {
    /// What stands in the place of a moment.
    fn text(self) -> &'static str {
        match self {
            Self::Created => "(created)",
            _ => "(now)",
        }
    }
}
