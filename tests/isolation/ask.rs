//! Requests of every kind: honest ones, clumsy ones, and attempts to look over the wall.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::Serializer;
use proptest::prelude::*;
use proptest::sample::select;
use reqwest::Method;
use roster::clock;
use serde_json::json;

use super::town::{ORGANIZATIONS, PEOPLE, Place, Town, organization_id, place, user_id};

pub const USERS: &str = "/api/v1/entities/users";
pub const ADMIN: &str = "/api/admin/getUsersInOrg";

/// One request. `lure` is the organization that it tries to get at.
#[derive(Debug, Clone)]
pub struct Ask {
    pub organization: usize,
    pub lure: usize,
    person: usize,
    role: Option<&'static str>,
    token: Token,
    carrier: Carrier,
    pub route: String,
    pub method: Method,
    params: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
}

/// Where a token says which organization it is of, and where it says something else.
#[derive(Debug, Clone, Copy)]
enum Token {
    V1,
    V1Numbered,
    V2,
    V2WithoutOrganization,
}

#[derive(Debug, Clone, Copy)]
enum Carrier {
    Bearer,
    Cookie,
    /// And in the cookie a good token of somebody else.
    BearerOverCookie,
}

impl Ask {
    pub fn path(&self) -> String {
        if self.params.is_empty() {
            return self.route.clone();
        }
        let mut query = Serializer::new(String::new());
        query.extend_pairs(&self.params);
        format!("{}?{}", self.route, query.finish())
    }

    pub fn headers(&self, town: &Town) -> Vec<(&'static str, String)> {
        let mut headers = self.headers.clone();
        headers.push(("x-request-id", "asked".to_owned()));
        let bearer = format!("Bearer {}", self.token(town));
        let somebody_else = format!("__session={}", token_of(town, self.lure, self.lure, Some("admin")));
        match self.carrier {
            Carrier::Bearer => headers.push(("authorization", bearer)),
            Carrier::Cookie => headers.push(("cookie", format!("__session={}", self.token(town)))),
            Carrier::BearerOverCookie => {
                headers.extend([("authorization", bearer), ("cookie", somebody_else)]);
            }
        }
        headers
    }

    /// The claims that are not of its version are custom ones, and say the lure.
    fn token(&self, town: &Town) -> String {
        let mut claims = claims(self.person);
        let (own, lure) = (organization_id(self.organization), organization_id(self.lure));
        let role = self.role;
        let lures = json!({ "organization_id": lure, "orgId": lure, "tenant": lure, "aud": lure,
            "org": { "id": lure, "role": "admin" }, "act": { "org_id": lure } });
        claims.as_object_mut().unwrap().extend(lures.as_object().unwrap().clone());
        match self.token {
            Token::V1 | Token::V1Numbered => {
                if matches!(self.token, Token::V1Numbered) {
                    claims["v"] = 1.into();
                }
                claims["org_id"] = own.into();
                claims["org_role"] = role.map(|role| format!("org:{role}")).into();
                claims["o"] = json!({ "id": lure, "rol": "admin" });
            }
            Token::V2 => {
                claims["v"] = 2.into();
                claims["o"] = json!({ "id": own, "rol": role, "org_id": lure, "slg": lure });
                claims["org_id"] = lure.into();
                claims["org_role"] = "org:admin".into();
            }
            Token::V2WithoutOrganization => {
                claims["v"] = 2.into();
                claims["org_id"] = lure.into();
                claims["org_role"] = "org:admin".into();
            }
        }
        town.together.sign(&claims)
    }
}

fn claims(person: usize) -> serde_json::Value {
    let now_s = clock::now_ms() / 1000;
    json!({
        "sub": user_id(person), "sid": "sess_1", "iss": "https://clerk.example.com",
        "iat": now_s - 10, "nbf": now_s - 20, "exp": now_s + 50,
    })
}

/// A plain token.
pub fn token_of(town: &Town, person: usize, organization: usize, role: Option<&str>) -> String {
    let mut claims = claims(person);
    claims["v"] = 2.into();
    claims["o"] = json!({ "id": organization_id(organization), "rol": role });
    town.together.sign(&claims)
}

/// Cursors and entity tags that real answers have given out, of every organization and both lists.
#[derive(Debug, Clone)]
pub struct Loot {
    cursors: Vec<String>,
    tags: Vec<String>,
}

impl Loot {
    pub async fn gather(town: &Town) -> Self {
        let mut loot = Self { cursors: Vec::new(), tags: Vec::new() };
        for organization in 0..ORGANIZATIONS {
            let bearer = format!("Bearer {}", token_of(town, 900, organization, Some("admin")));
            for list in [USERS, ADMIN] {
                let mut path = format!("{list}?limit=3");
                loop {
                    let answer = town.together.get(&path, &[("authorization", &bearer)]).await;
                    loot.tags.push(answer.header("etag").unwrap().to_owned());
                    let Some(link) = answer.header("link") else { break };
                    link[1..link.find('>').unwrap()].clone_into(&mut path);
                    loot.cursors.push(path.split_once("cursor=").unwrap().1.to_owned());
                }
            }
        }
        let forged = [
            "1auser_000\n0",
            "1a!\n-1",
            "1euser_000\n0ada",
            "1e!\n1",
            "1euser_020\n0ada.user_020@example.com",
        ];
        loot.cursors.extend(forged.map(|plain| URL_SAFE_NO_PAD.encode(plain)));
        loot
    }
}

/// Any request.
pub fn any(loot: Loot) -> impl Strategy<Value = Ask> {
    let whose = (0..ORGANIZATIONS, 1..ORGANIZATIONS, 0..PEOPLE + 4);
    // Mostly good and honest, or nothing would be seen at all.
    let role = select(vec![Some("admin"), Some("admin"), Some("member"), None]);
    let token = select(vec![
        Token::V1,
        Token::V1Numbered,
        Token::V2,
        Token::V2,
        Token::V2,
        Token::V2WithoutOrganization,
    ]);
    let carrier = select(vec![Carrier::Bearer, Carrier::Bearer, Carrier::Cookie, Carrier::BearerOverCookie]);
    let route = prop_oneof![
        4 => Just(USERS.to_owned()),
        4 => Just(ADMIN.to_owned()),
        2 => id().prop_map(|id| format!("{USERS}/{id}")),
    ];
    let method = prop_oneof![9 => Just(Method::GET), 1 => Just(Method::HEAD)];
    let params = proptest::collection::vec(param(loot.cursors), 0..4);
    let headers = proptest::collection::vec(header(loot.tags), 0..2);
    (whose, role, token, carrier, route, method, params, headers).prop_map(
        |((organization, away, person), role, token, carrier, route, method, params, headers)| {
            let lure = (organization + away) % ORGANIZATIONS;
            // Somebody whom the organization knows, or nobody that anyone knows.
            let person = (person..person + ORGANIZATIONS)
                .find(|person| *person >= PEOPLE || place(*person, organization) != Place::Never)
                .unwrap_or(PEOPLE);
            Ask { organization, lure, person, role, token, carrier, route, method, params, headers }
        },
    )
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![9 => (0..PEOPLE + 4).prop_map(user_id), 1 => select(vec!["user_1", "%", "org_1"]).prop_map(String::from)]
}

fn param(cursors: Vec<String>) -> impl Strategy<Value = (String, String)> {
    let named = |name: &'static str, value: String| (name.to_owned(), value);
    let words = ["ada", "user_0", "straße", "STRASSE", "user_017", "Ada.user_0", "a", "@", "%", "org_1", ""];
    let organization = (0..ORGANIZATIONS).prop_map(organization_id);
    let unknown = select(vec![
        "organization",
        "organizationId",
        "organization_id",
        "orgId",
        "org_id",
        "org",
        "clerkOrgId",
        "o",
        "tenant",
        "Limit",
        "x-organization",
        "token",
        "all",
        "role[]",
        "metadata",
        "activityStatus",
    ]);
    let field = select(vec!["team", "level", "of", "a.b"]);
    let value = prop_oneof![
        select(vec!["core", "web", "0", "1", "null", "' OR 1=1 --"]).prop_map(String::from),
        id()
    ];
    prop_oneof![
        3 => select(vec!["1", "2", "5", "500", "0", "x"]).prop_map(move |limit| named("limit", limit.to_owned())),
        3 => select(cursors).prop_map(move |cursor| named("cursor", cursor)),
        3 => proptest::collection::vec(id(), 1..5).prop_map(move |ids| named("ids", ids.join(","))),
        2 => select(words.to_vec()).prop_map(move |query| named("query", query.to_owned())),
        2 => select(vec!["admin", "org:member", "member", ""]).prop_map(move |role| named("role", role.to_owned())),
        2 => (field, value).prop_map(|(field, value)| (format!("metadata.{field}"), value)),
        2 => (unknown, organization).prop_map(move |(name, id)| named(name, id)),
    ]
}

fn header(tags: Vec<String>) -> impl Strategy<Value = (&'static str, String)> {
    let elsewhere = select(vec![
        "x-organization-id",
        "x-org-id",
        "clerk-organization",
        "x-forwarded-user",
        "x-original-url",
        "x-http-method-override",
    ]);
    prop_oneof![
        select(tags).prop_map(|tag| ("if-none-match", tag)),
        (elsewhere, (0..ORGANIZATIONS).prop_map(organization_id)),
        select(vec!["gzip", "br", "zstd", "identity"])
            .prop_map(|coding| ("accept-encoding", coding.to_owned())),
    ]
}
