//! Invitations in the admin's list, from Clerk's signed events to the answers.

use std::time::{Duration, Instant};

use roster::clock;
use roster::sim::shapes::Object;
use roster::sim::{Event, NewUser};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::site::{ADMIN, Site};

const HOUR_MS: i64 = 3_600_000;

/// A site with one organization, and what was sent to its people.
struct Harbour {
    site: Site,
    id: String,
    ada: String,
    bo: String,
}

impl Harbour {
    /// Ada accepted an invitation; another one to her address had been revoked. Bo just joined. Cy is invited, Dan
    /// was too late, and of one invitation no address is known.
    async fn start() -> Self {
        let mut site = Site::start().await;
        let id = site.clerk.create_organization("Harbour", None).id().to_owned();
        let ada = site.clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com")).id().to_owned();
        let bo = site.clerk.create_user(NewUser::named("Bo", "Li", "bo@example.com")).id().to_owned();
        let earlier = site.clerk.invite(&id, "ADA@example.com", "org:member", None).unwrap();
        site.clerk.revoke(earlier.id()).unwrap();
        let accepted = site.clerk.invite(&id, "ada@example.com", "org:admin", Some(&bo)).unwrap();
        site.clerk.accept(accepted.id(), &ada).unwrap();
        site.clerk.join(&bo, &id, "org:member", &Object::new()).unwrap();
        site.catch_up().await;
        let harbour = Self { site, id, ada, bo };
        let mut harbour = harbour;
        harbour.invite("cy@example.com", |data| data["public_metadata"] = json!({"team": "core"})).await;
        harbour.invite("Dan@example.com", |data| data["expires_at"] = json!(clock::now_ms() - 1)).await;
        harbour.invite("-", |data| data["email_address"] = Value::Null).await;
        harbour
    }

    /// Sends an invitation of which something is different.
    async fn invite(&mut self, email: &str, change: impl FnOnce(&mut Value)) -> Event {
        let mut event = self.site.clerk.invite(&self.id, email, "org:member", None).unwrap();
        self.site.clerk.take_events();
        change(&mut event.envelope["data"]);
        assert_eq!(self.site.deliver(&event).await, "200 applied");
        event
    }

    async fn ask(&self, query: &str) -> Answer {
        let token = self.site.token(&self.ada, &self.id, "admin", 5);
        self.site.get(&format!("{ADMIN}{query}"), &token).await
    }

    /// One line for each row: where it stands, its invitation, its address and its role.
    async fn rows(&self, query: &str) -> Vec<String> {
        lines(&self.ask(query).await)
    }

    /// Follows `Link` to the end. Every page but the last is full.
    async fn walk(&self, query: &str, limit: usize) -> Vec<String> {
        let mut rows = Vec::new();
        let mut next = Some(format!("{query}&limit={limit}"));
        while let Some(query) = next {
            let answer = self.ask(&query).await;
            let page = lines(&answer);
            next = answer.header("link").map(|link| {
                let target = link.strip_prefix('<').unwrap().strip_suffix(r#">; rel="next""#).unwrap();
                target.strip_prefix(ADMIN).unwrap().to_owned()
            });
            assert!(next.is_none() || page.len() == limit, "{query}: {page:?}");
            rows.extend(page);
        }
        rows
    }
}

fn lines(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let line = |row: &Value| {
        let words = ["activityStatus", "invitationStatus", "email", "role"].map(|key| word(row, key));
        assert_eq!(row["id"].is_null(), words[0] != "active");
        words.join(" ")
    };
    answer.json().as_array().unwrap().iter().map(line).collect()
}

const ALL: [&str; 6] = [
    "inactive revoked ADA@example.com org:member",
    "active accepted ada@example.com org:admin",
    "active - bo@example.com org:member",
    "pending pending cy@example.com org:member",
    "inactive expired Dan@example.com org:member",
    "pending pending - org:member",
];

fn those(which: &str) -> Vec<&'static str> {
    ALL.into_iter().filter(|line| which == "all" || line.starts_with(which)).collect()
}

#[tokio::test]
async fn each_row_is_listed_where_it_stands() {
    let harbour = Harbour::start().await;
    for which in ["active", "pending", "inactive", "all"] {
        assert_eq!(harbour.rows(&format!("?activityStatus={which}")).await, those(which), "{which}");
    }
    // Nobody but members unless it is asked for, and then without the keys.
    let plain = harbour.ask("").await;
    assert_eq!(plain.ids(), [&*harbour.ada, &*harbour.bo]);
    assert!(!plain.text().contains("activityStatus") && !plain.text().contains("membershipId"));
}

#[tokio::test]
async fn a_mixed_list_is_walked_page_by_page() {
    let mut harbour = Harbour::start().await;
    // Three more to one address, so that only the ids tell them apart.
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(harbour.invite("cy@example.com", |_| {}).await.id().to_owned());
    }
    for which in ["active", "pending", "inactive", "all"] {
        let query = format!("?activityStatus={which}");
        let whole = harbour.rows(&query).await;
        for limit in [1, 2, 3, 8, 9, 10] {
            assert_eq!(harbour.walk(&query, limit).await, whole, "{which} by {limit}");
        }
    }
    // A place stays a place when what stood there is gone.
    let first = harbour.ask("?activityStatus=all&limit=1").await;
    let next = first.header("link").unwrap().split_once('?').unwrap().1.split_once('>').unwrap().0;
    let (row, _) = (lines(&first), harbour.site.clerk.delete_user(&harbour.bo).unwrap());
    harbour.site.catch_up().await;
    assert_eq!(row, ALL[..1]);
    assert_eq!(harbour.rows(&format!("?{next}")).await, ALL[1..2]);
}

#[tokio::test]
async fn every_filter_holds_together_with_it() {
    let harbour = Harbour::start().await;
    let found = async |query: &str| {
        let rows = harbour.rows(&format!("?activityStatus=all&{query}")).await;
        let places = rows.iter().map(|row| ALL.iter().position(|one| one == row).unwrap().to_string());
        places.collect::<Vec<_>>().join(" ")
    };
    for (query, expected) in [
        ("role=org:admin", "1"),
        ("role=member", "0 2 3 4 5"),
        ("role=member&query=ada", "0"),
        ("query=ada", "0 1"),
        ("query=ADA@EXAMPLE.com", "0 1"),
        ("query=okafor", "1"),
        ("query=example", ""),
        ("metadata.team=core", "3"),
        ("metadata.team=core&query=bo", ""),
        ("limit=2&query=a", "0 1"),
        ("limit=1&query=d", "4"),
    ] {
        assert_eq!(found(query).await, expected, "{query}");
    }
    // Invitations have no id that could be asked for.
    assert_eq!(found(&format!("ids={},user_nobody", harbour.bo)).await, "2");
    assert_eq!(harbour.rows(&format!("?activityStatus=pending&ids={}", harbour.ada)).await, [""; 0]);
}

#[tokio::test]
async fn these_are_the_keys() {
    let harbour = Harbour::start().await;
    let answer = harbour.ask("?activityStatus=all&include=membership").await;
    let text = answer.text();
    let (of_ada, of_cy) = (&answer.json()[1], &answer.json()[3]);
    let membership = harbour.site.clerk.membership_id(&harbour.ada, &harbour.id).unwrap();
    assert_eq!(of_ada["membershipId"], membership.as_str());
    assert_eq!(of_ada["membershipMetadata"], json!({}));
    assert!(of_ada["joinedAt"].as_str() > of_ada["invitationCreatedAt"].as_str());
    let sent = of_cy["invitationCreatedAt"].as_str().unwrap();
    let begin = text.find(r#"{"id":null,"email":"cy@"#).unwrap();
    let row = &text[begin..begin + text[begin..].find("},{").unwrap()].replace(sent, "sent");
    insta::assert_snapshot!(row, @r#"{"id":null,"email":"cy@example.com","firstName":null,"lastName":null,"username":null,"profileImageUrl":null,"lastSignInAt":null,"publicMetadata":{"team":"core"},"createdAt":null,"role":"org:member","activityStatus":"pending","invitationStatus":"pending","invitationCreatedAt":"sent","membershipId":null,"joinedAt":null,"membershipMetadata":null"#);
    let keys = |answer: &Answer| answer.json()[0].as_object().unwrap().len();
    assert_eq!(keys(&answer), 16);
    assert_eq!(keys(&harbour.ask("?include=membership").await), 13);
    assert_eq!(keys(&harbour.ask("?activityStatus=active").await), 13);
    for secret in ["ticket", "orginv_", "private"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn an_invitation_that_lapses_is_inactive_and_the_tag_changes() {
    let mut harbour = Harbour::start().await;
    let before = harbour.ask("?activityStatus=pending").await.header("etag").unwrap().to_owned();
    let lapses_ms = clock::now_ms() + 2_000;
    harbour.invite("eve@example.com", |data| data["expires_at"] = json!(lapses_ms)).await;
    let later =
        harbour.invite("flo@example.com", |data| data["expires_at"] = json!(lapses_ms + HOUR_MS)).await;
    harbour.site.clerk.revoke(later.id()).unwrap();
    harbour.site.catch_up().await;
    let open = harbour.ask("?activityStatus=pending").await;
    let asked_ms = clock::now_ms();
    let has_eve = |answer: &Answer| answer.text().contains("eve@");
    assert!(has_eve(&open) || asked_ms >= lapses_ms);
    // No event says so: only time does.
    let began = Instant::now();
    let mut answer = open;
    while has_eve(&answer) {
        assert!(began.elapsed() < Duration::from_secs(30), "it never lapses");
        answer = harbour.ask("?activityStatus=pending").await;
    }
    assert!(clock::now_ms() >= lapses_ms);
    assert_eq!(answer.header("etag"), Some(before.as_str()));
    let inactive = harbour.rows("?activityStatus=inactive").await;
    assert!(inactive.contains(&"inactive expired eve@example.com org:member".to_owned()), "{inactive:?}");
    assert!(inactive.contains(&"inactive revoked flo@example.com org:member".to_owned()), "{inactive:?}");
}

#[tokio::test]
async fn what_was_accepted_goes_with_the_member_and_comes_with_the_newest() {
    let mut harbour = Harbour::start().await;
    let again = harbour.site.clerk.invite(&harbour.id, "bo@example.com", "org:member", None).unwrap();
    harbour.site.clerk.accept(again.id(), &harbour.ada).unwrap();
    harbour.site.catch_up().await;
    let answer = harbour.ask("?activityStatus=active").await;
    let sent = roster::domain::time::iso8601(again.at_ms());
    assert_eq!(answer.json()[0]["invitationCreatedAt"], sent.as_str());

    let membership = harbour.site.clerk.membership_id(&harbour.bo, &harbour.id).unwrap();
    harbour.site.clerk.leave(&membership).unwrap();
    harbour.site.catch_up().await;
    assert_eq!(harbour.rows("?activityStatus=active").await.len(), 1);
    // Another organization's invitations are its own.
    let other = harbour.site.clerk.create_organization("Mill", None).id().to_owned();
    harbour.site.clerk.invite(&other, "cy@example.com", "org:member", None).unwrap();
    harbour.site.catch_up().await;
    assert_eq!(harbour.rows("?activityStatus=pending").await.len(), 2);
    harbour.site.clerk.delete_organization(&other).unwrap();
    harbour.site.catch_up().await;
    let gone = harbour.site.ask(&format!("{ADMIN}?activityStatus=all"), &other).await;
    assert_eq!(gone.problem(), "403 FORBIDDEN");
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name() {
    let harbour = Harbour::start().await;
    for (query, name) in [
        ("?activityStatus=", "`activityStatus`"),
        ("?activityStatus=Active", "`activityStatus`"),
        ("?activityStatus=all&activityStatus=all", "`activityStatus`"),
        ("?include=", "`include`"),
        ("?include=memberships", "`include`"),
        ("?include=membership&include=membership", "`include`"),
    ] {
        let answer = harbour.ask(query).await;
        assert_eq!(answer.problem(), "400 VALIDATION_ERROR", "{query}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(name), "{query}");
    }
}
