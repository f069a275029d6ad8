//! A Clerk that is nothing but fast: its objects are those of the simulated one, written from templates.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::get;
use roster::sim::keys::SigningKey;
use roster::sim::shapes::Object;
use roster::sim::{Instance, NewUser};

use crate::template::Template;

pub(crate) const USERS: usize = 200_000;
pub(crate) const ORGANIZATIONS: usize = 20_000;
pub(crate) const MEMBERSHIPS: usize = 300_000;
pub(crate) const MEMBERS_EACH: usize = MEMBERSHIPS / ORGANIZATIONS;

/// As long as Clerk's.
fn id(prefix: &str, number: usize) -> String {
    format!("{prefix}_{number:027}")
}

pub(crate) fn organization_id(number: usize) -> String {
    id("org", number)
}

fn number(id: &str) -> usize {
    id.rsplit('_').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// What is written into the gaps of a template.
#[derive(Clone, Copy)]
enum Gap {
    User,
    Organization,
    Membership,
    Name,
}

struct Clerk {
    user: Template<Gap>,
    organization: Template<Gap>,
    membership: Template<Gap>,
}

impl Clerk {
    fn new() -> Self {
        let mut clerk = Instance::new(SigningKey::generate("ins_bench").unwrap(), 1, 1_700_000_000_000);
        let mut new = NewUser::named("somebody", "Number", "somebody@example.com");
        new.username = Some("somebody".to_owned());
        let user = clerk.create_user(new);
        let organization = clerk.create_organization("An organization", Some(user.id()));
        let membership = clerk.join(user.id(), organization.id(), "org:member", &Object::new()).unwrap();
        let gaps = [
            (user.id(), Gap::User),
            (organization.id(), Gap::Organization),
            (membership.id(), Gap::Membership),
            ("somebody", Gap::Name),
        ];
        let template = |event: &roster::sim::Event| Template::new(&event.envelope["data"].to_string(), &gaps);
        Self {
            user: template(&user),
            organization: template(&organization),
            membership: template(&membership),
        }
    }

    fn users(&self, numbers: impl Iterator<Item = usize>) -> String {
        list(numbers, |out, number| self.user.write(out, about(number, 0, 0)))
    }

    fn memberships(&self, numbers: impl Iterator<Item = usize>, total: usize) -> String {
        let data = list(numbers, |out, number| {
            let (user, organization) = place(number);
            self.membership.write(out, about(user, organization, number));
        });
        format!(r#"{{"data":{data},"total_count":{total}}}"#)
    }

    fn organization(&self, number: usize) -> String {
        let mut out = String::new();
        self.organization.write(&mut out, about(0, number, 0));
        out
    }
}

/// Fills the gaps.
fn about(user: usize, organization: usize, membership: usize) -> impl Fn(&mut String, Gap) {
    move |out, gap| match gap {
        Gap::User => write!(out, "user_{user:027}").unwrap(),
        Gap::Organization => write!(out, "org_{organization:027}").unwrap(),
        Gap::Membership => write!(out, "orgmem_{membership:027}").unwrap(),
        Gap::Name => write!(out, "somebody{user}").unwrap(),
    }
}

/// Whose membership it is, and where. Nobody is in one organization twice.
fn place(membership: usize) -> (usize, usize) {
    (membership % USERS, (membership + membership / USERS) % ORGANIZATIONS)
}

fn list(numbers: impl Iterator<Item = usize>, write: impl Fn(&mut String, usize)) -> String {
    let mut out = "[".to_owned();
    for number in numbers {
        if out.len() > 1 {
            out.push(',');
        }
        write(&mut out, number);
    }
    out.push(']');
    out
}

/// The parameters that say which part of a list.
struct Part {
    limit: usize,
    offset: usize,
    after: Option<usize>,
    users: Vec<usize>,
}

impl Part {
    fn read(query: Option<String>) -> Self {
        let query = query.unwrap_or_default();
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let first: HashMap<_, _> = pairs.iter().rev().map(|(name, value)| (&**name, &**value)).collect();
        let size = |name, default| first.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        let users = pairs.iter().filter(|(name, _)| name == "user_id").map(|(_, id)| number(id)).collect();
        let after = first.get("starting_after").map(|id| number(id));
        Self { limit: size("limit", 10), offset: size("offset", 0), after, users }
    }

    fn of(&self, total: usize) -> std::ops::Range<usize> {
        let from = self.after.map_or(self.offset, |after| after + 1).min(total);
        from..(from + self.limit).min(total)
    }
}

fn json(body: String) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], body)
}

type Here = State<Arc<Clerk>>;

async fn users(State(clerk): Here, RawQuery(query): RawQuery) -> impl IntoResponse {
    let part = Part::read(query);
    if part.users.is_empty() {
        json(clerk.users(part.of(USERS)))
    } else {
        json(clerk.users(part.users.into_iter()))
    }
}

async fn user(State(clerk): Here, Path(id): Path<String>) -> impl IntoResponse {
    let mut out = String::new();
    clerk.user.write(&mut out, about(number(&id), 0, 0));
    json(out)
}

async fn organizations(State(clerk): Here, RawQuery(query): RawQuery) -> impl IntoResponse {
    let data = list(Part::read(query).of(ORGANIZATIONS), |out, number| {
        clerk.organization.write(out, about(0, number, 0));
    });
    json(format!(r#"{{"data":{data},"total_count":{ORGANIZATIONS}}}"#))
}

async fn organization(State(clerk): Here, Path(id): Path<String>) -> impl IntoResponse {
    json(clerk.organization(number(&id)))
}

async fn memberships(State(clerk): Here, RawQuery(query): RawQuery) -> impl IntoResponse {
    json(clerk.memberships(Part::read(query).of(MEMBERSHIPS), MEMBERSHIPS))
}

async fn members(State(clerk): Here, Path(id): Path<String>) -> impl IntoResponse {
    let organization = number(&id);
    let theirs: Vec<_> = (0..MEMBERSHIPS).filter(|number| place(*number).1 == organization).collect();
    let total = theirs.len();
    json(clerk.memberships(theirs.into_iter(), total))
}

/// Says where it listens, and serves until it is killed, each answer after `latency`.
pub(crate) async fn serve(latency: Duration) {
    let later = move |request, next: Next| async move {
        tokio::time::sleep(latency).await;
        next.run(request).await
    };
    let router = Router::new()
        .route("/v1/users", get(users))
        .route("/v1/users/count", get(|| async { json(format!(r#"{{"total_count":{USERS}}}"#)) }))
        .route("/v1/users/{id}", get(user))
        .route("/v1/organizations", get(organizations))
        .route("/v1/organizations/{id}", get(organization))
        .route("/v1/organizations/{id}/memberships", get(members))
        .route("/v1/organization_memberships", get(memberships))
        .route(
            "/v1/organization_invitations",
            get(|| async { json(r#"{"data":[],"total_count":0}"#.to_owned()) }),
        )
        .with_state(Arc::new(Clerk::new()))
        .layer(from_fn(later));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    axum::serve(listener, router).await.unwrap();
}
