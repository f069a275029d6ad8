//! Who is there, and answers written out.

use std::sync::{Arc, LazyLock};

use roster::domain::model::Metadata;
use roster::domain::{Change, Membership, MembershipId, Observed, OrganizationId, Role, User, UserId};
use roster::sim::keys::SigningKey;

use crate::reading::site::Site;
use crate::support::answer::Answer;

pub const USERS: &str = "/api/v1/entities/users";
pub const ADMIN: &str = "/api/admin/getUsersInOrg";

/// One for all of these tests: making a key takes longer than most of them.
pub static KEY: LazyLock<Arc<SigningKey>> =
    LazyLock::new(|| Arc::new(SigningKey::generate("ins_1").unwrap()));

/// A member of `org_1`.
pub struct Person(User, &'static str, Option<i64>);

impl Person {
    pub fn new(id: &str, created_at_ms: i64) -> Self {
        let user = User {
            id: UserId::parse(id).unwrap(),
            first_name: None,
            last_name: None,
            username: None,
            email: None,
            image_url: None,
            has_image: false,
            banned: false,
            public_metadata: Metadata::default(),
            created_at_ms,
        };
        Self(user, "member", None)
    }

    pub fn name(mut self, first: &str, last: &str) -> Self {
        self.0.first_name = Some(first.to_owned());
        self.0.last_name = Some(last.to_owned());
        self
    }

    pub fn username(mut self, username: &str) -> Self {
        self.0.username = Some(username.to_owned());
        self
    }

    pub fn email(mut self, email: &str) -> Self {
        self.0.email = Some(email.to_owned());
        self
    }

    pub fn image(mut self, url: &str, is_own: bool) -> Self {
        self.0.image_url = Some(url.to_owned());
        self.0.has_image = is_own;
        self
    }

    pub fn metadata(mut self, json: &str) -> Self {
        self.0.public_metadata = Metadata::new(&serde_json::from_str(json).unwrap());
        self
    }

    pub fn role(mut self, role: &'static str) -> Self {
        self.1 = role;
        self
    }

    pub fn banned(mut self) -> Self {
        self.0.banned = true;
        self
    }

    pub fn signed_in(mut self, at_ms: i64) -> Self {
        self.2 = Some(at_ms);
        self
    }

    pub fn changes(self) -> [Change; 2] {
        let Self(user, role, last_sign_in_at_ms) = self;
        let membership = Membership {
            id: MembershipId::parse(&format!("orgmem_{}", user.id.as_str())).unwrap(),
            organization_id: OrganizationId::parse("org_1").unwrap(),
            user_id: user.id.clone(),
            role: Role::new(role),
            public_metadata: Metadata::default(),
            created_at_ms: 1,
        };
        let updated_at_ms = user.created_at_ms + 1;
        [
            Change::User { user: Observed::new(user, updated_at_ms, updated_at_ms), last_sign_in_at_ms },
            Change::Membership(Observed::new(membership, 1, 1)),
        ]
    }
}

/// Three people: one of whom everything is known, one of whom nothing is, one who is banned.
pub async fn three() -> Site {
    let site = empty().await;
    let people = [
        Person::new("user_zoe", 1_654_012_591_514)
            .name("Zoë \"Z\"", "O'Neill <b>")
            .username("zoe")
            .email("Zoe@Example.com")
            .image("https://img.clerk.com/zoe", true)
            .metadata(r#"{"b":{"x":[1,null]},"a":1.50,"Ключ":"значение"}"#)
            .role("admin")
            .signed_in(1_700_000_000_000),
        Person::new("user_ada", 1_654_012_591_514).image("https://img.clerk.com/generated", false),
        Person::new("user_bob", 1_600_000_000_000).name("Bob", "").email("bob@example.com").banned(),
    ];
    site.apply(people.into_iter().flat_map(Person::changes).collect()).await;
    site
}

pub async fn empty() -> Site {
    Site::empty(KEY.clone()).await
}

/// A bearer token of `user_ada`, in `org_1` as its admin.
pub fn bearer(site: &Site) -> String {
    site.bearer_ada()
}

/// An answer as it is on the wire, but for the time of day.
pub fn wire(answer: &Answer) -> String {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let body = String::from_utf8(answer.body.clone()).unwrap();
    format!("{}\n{}\n\n{body}", answer.status, headers.join("\n"))
}

/// Asks as Ada with a request id of her own.
pub async fn ada(site: &Site, path: &str) -> Answer {
    site.get(path, &[("authorization", &bearer(site)), ("x-request-id", "asked")]).await
}

/// The path that `Link` names.
pub fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    Some(link.strip_prefix('<').unwrap().strip_suffix(r#">; rel="next""#).unwrap().to_owned())
}
