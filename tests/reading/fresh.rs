//! Lists are kept ready, and yet nobody meets what was true before a change that was acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roster::config::Database;
use roster::domain::Change;
use roster::sim::NewUser;
use roster::sim::shapes::{Object, object};
use roster::store::Store;
use serde_json::json;

use super::site::{membership, user};
use crate::support::answer::Answer;
use crate::support::site::{ADMIN, Site, USERS};

/// Ada is an admin and Bo a member of two organizations; their tokens are a minute old.
struct Town {
    site: Site,
    ada: String,
    bo: String,
    organizations: [String; 2],
}

async fn town(cache_mb: u32) -> Town {
    let mut site = Site::start_with(|config| config.cache_mb = cache_mb).await;
    let [ada, bo] = ["Ada", "Bo"].map(|name| {
        site.clerk.create_user(NewUser::named(name, "0", &format!("{name}@example.com"))).id().to_owned()
    });
    let organizations = ["Harbour", "Lighthouse"].map(|name| {
        let id = site.clerk.create_organization(name, None).id().to_owned();
        site.clerk.join(&ada, &id, "org:admin", &Object::new()).unwrap();
        site.clerk.join(&bo, &id, "org:member", &Object::new()).unwrap();
        id
    });
    site.catch_up().await;
    site.now_at_clerk();
    Town { site, ada, bo, organizations }
}

impl Town {
    fn token(&self, organization: &str, user: &str, role: &str) -> String {
        self.site.token(user, organization, role, 60)
    }

    fn tokens(&self) -> [String; 2] {
        self.organizations.each_ref().map(|organization| self.token(organization, &self.ada, "admin"))
    }
}

/// The number that is Ada's last name now.
fn number(answer: &Answer) -> u32 {
    assert_eq!(answer.status, 200);
    let list = answer.json();
    let mut rows = list.as_array().unwrap().iter();
    let ada = rows.find(|row| row["firstName"] == "Ada").unwrap();
    ada["lastName"].as_str().unwrap().parse().unwrap()
}

/// Readers ask all the time while Ada is renamed again and again. Whoever renamed her finds the new name at
/// once in every list of every organization, and no reader ever sees an older name after a newer one.
async fn renames_are_seen_at_once(cache_mb: u32) {
    let mut town = town(cache_mb).await;
    let renames: Vec<_> = (1..=60)
        .map(|number| {
            let name = object(json!({ "last_name": number.to_string() }));
            (number, town.site.clerk.update_user(&town.ada, name).unwrap())
        })
        .collect();
    let (site, tokens, done) = (&town.site, &town.tokens(), &AtomicBool::new(false));
    let readers = [(USERS, 0), (USERS, 0), (USERS, 1), (ADMIN, 0), (ADMIN, 1)].map(|(path, at)| async move {
        let mut newest = 0;
        while !done.load(Ordering::Relaxed) {
            let seen = number(&site.get(path, &tokens[at]).await);
            assert!(seen >= newest, "{path}: {seen} after {newest}");
            newest = seen;
        }
        newest
    });
    let writer = async {
        for (number_now, event) in &renames {
            assert_eq!(site.deliver(event).await, "200 applied");
            for token in tokens {
                for path in [USERS, ADMIN] {
                    assert_eq!(number(&site.get(path, token).await), *number_now, "{path}");
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let (seen, ()) = tokio::join!(futures_util::future::join_all(readers), writer);
    assert!(seen.iter().all(|newest| *newest > 0), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_at_once_while_lists_are_kept() {
    renames_are_seen_at_once(256).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_at_once_while_nothing_is_kept() {
    renames_are_seen_at_once(0).await;
}

/// Bo, and Ada as an admin, ask for `users` and `admin` again and again while they lose what they may.
async fn who_may_not_is_refused_at_once(users: &str, admins: &str) {
    let mut town = town(256).await;
    let [harbour, lighthouse] = town.organizations.clone();
    let tokens = [&harbour, &lighthouse].map(|organization| town.token(organization, &town.bo, "member"));
    let ask = async |town: &Town| {
        let mut answers = Vec::new();
        for token in &tokens {
            answers.push(town.site.get(users, token).await.status.as_u16());
        }
        answers
    };
    // The second round comes from what is remembered and ready.
    for _ in 0..2 {
        assert_eq!(ask(&town).await, [200, 200]);
    }
    let membership = town.site.clerk.membership_id(&town.bo, &harbour).unwrap();
    let left = town.site.clerk.leave(&membership).unwrap();
    assert_eq!(town.site.deliver(&left).await, "200 applied");
    assert_eq!(ask(&town).await, [403, 200]);
    assert_eq!(ask(&town).await, [403, 200]);
    let banned = town.site.clerk.update_user(&town.bo.clone(), object(json!({ "banned": true }))).unwrap();
    assert_eq!(town.site.deliver(&banned).await, "200 applied");
    assert_eq!(ask(&town).await, [403, 403]);
    // And who lost the role stops being an admin.
    let admin = town.token(&lighthouse, &town.ada, "admin");
    for _ in 0..2 {
        assert_eq!(town.site.get(admins, &admin).await.status, 200);
    }
    let membership = town.site.clerk.membership_id(&town.ada, &lighthouse).unwrap();
    let demoted = town.site.clerk.change_role(&membership, "org:member").unwrap();
    assert_eq!(town.site.deliver(&demoted).await, "200 applied");
    assert_eq!(town.site.get(admins, &admin).await.problem(), "403 FORBIDDEN");
    assert_eq!(town.site.get(users, &admin).await.status, 200);
    let closed = town.site.clerk.delete_organization(&lighthouse).unwrap();
    assert_eq!(town.site.deliver(&closed).await, "200 applied");
    assert_eq!(town.site.get(users, &admin).await.problem(), "403 FORBIDDEN");
}

#[tokio::test]
async fn who_is_banned_or_removed_is_refused_a_list_at_once() {
    who_may_not_is_refused_at_once(USERS, ADMIN).await;
}

/// Nobody asks for whole lists, so that what is remembered of the callers judges.
#[tokio::test]
async fn who_is_banned_or_removed_is_refused_a_page_at_once() {
    who_may_not_is_refused_at_once(&format!("{USERS}?limit=1"), &format!("{ADMIN}?limit=1")).await;
}

/// What a request says that decides the form of the answer.
const ASKED: [&[(&str, &str)]; 5] = [
    &[],
    &[("accept-encoding", "gzip;q=0.5, zstd")],
    &[("accept-encoding", "br"), ("if-none-match", "\"other\"")],
    &[("accept-encoding", "gzip"), ("if-none-match", "*")],
    &[("if-none-match", "*")],
];

#[tokio::test]
async fn the_short_way_and_the_long_way_say_the_same() {
    let site = super::site::Site::start().await;
    // Large enough to be compressed.
    for number in 10..20 {
        let name = format!("n{number}");
        site.apply(vec![user(&name, number), membership(&name, "org_1", "member")]).await;
    }
    for path in [USERS, ADMIN] {
        for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
            for asked in ASKED {
                let bearer = site.bearer_ada();
                let mut headers = vec![("authorization", bearer.as_str()), ("x-request-id", "same")];
                headers.extend_from_slice(asked);
                // The first token is new. The router alone has no short way, the whole service has.
                let long = site.send(method.clone(), path, &headers, Vec::new()).await;
                let short = site.send_whole(method.clone(), path, &headers).await;
                let again = site.send_whole(method.clone(), path, &headers).await;
                for short in [short, again] {
                    assert_eq!(long.status, short.status, "{method} {path} {asked:?}");
                    assert_eq!(long.body, short.body, "{method} {path} {asked:?}");
                    let sorted = |answer: &Answer| {
                        let mut lines: Vec<_> = answer
                            .headers
                            .iter()
                            .filter(|(name, _)| *name != "date")
                            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                            .collect();
                        lines.sort();
                        lines
                    };
                    assert_eq!(sorted(&long), sorted(&short), "{method} {path} {asked:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_cache_that_is_too_small_for_all_answers_right() {
    let site = Site::start_with(|config| config.cache_mb = 1).await;
    let file = Database::Sqlite(site.folder().join("roster.db"));
    let other = Store::open(&file).await.unwrap();
    // Some eighty KiB for each of thirty organizations.
    let mut changes = Vec::new();
    for organization in 0..30 {
        for number in 0..20 {
            let name = format!("{organization}_{number}");
            let Change::User { mut user, last_sign_in_at_ms } = user(&name, number) else { unreachable!() };
            user.content.first_name = Some("x".repeat(4_000));
            changes.push(Change::User { user, last_sign_in_at_ms });
            changes.push(membership(&name, &format!("org_{organization}"), "member"));
        }
    }
    other.apply(changes).await.unwrap();
    for _ in 0..2 {
        for organization in 0..30 {
            let token =
                site.token(&format!("user_{organization}_0"), &format!("org_{organization}"), "member", 5);
            let expected: Vec<_> = (0..20).map(|number| format!("user_{organization}_{number}")).collect();
            assert_eq!(site.get(USERS, &token).await.ids(), expected);
        }
    }
    other.close().await;
}

#[tokio::test]
async fn what_another_process_writes_is_seen_within_a_second() {
    let mut town = town(256).await;
    let harbour = town.organizations[0].clone();
    let token = town.token(&harbour, &town.ada, "admin");
    let before = town.site.get(USERS, &token).await.ids();
    assert_eq!(town.site.get(USERS, &token).await.ids(), before);
    let other = Store::open(&Database::Sqlite(town.site.folder().join("roster.db"))).await.unwrap();
    let renames: Vec<_> = (0..200)
        .map(|number| {
            let name = object(json!({ "last_name": number.to_string() }));
            town.site.clerk.update_user(&town.bo, name).unwrap()
        })
        .collect();
    other.apply(vec![user("new", 1), membership("new", &harbour, "member")]).await.unwrap();
    let site = &town.site;
    // The service writes itself meanwhile, so that it cannot tell by the file alone who has written.
    let busy = async {
        for event in &renames {
            site.deliver(event).await;
        }
        std::future::pending::<()>().await;
    };
    let seen = async { while site.get(USERS, &token).await.ids().len() != before.len() + 1 {} };
    tokio::select! {
        () = busy => {}
        seen = tokio::time::timeout(Duration::from_secs(1), seen) => seen.unwrap(),
    }
    other.close().await;
}
