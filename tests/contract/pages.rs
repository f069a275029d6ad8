use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::people::{ADMIN, Person, USERS, ada, empty, next};
use crate::reading::site::Site;

/// Follows `Link` to the end; every page but the last is full.
async fn walk(site: &Site, first: &str, limit: usize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut path = Some(first.to_owned());
    while let Some(page) = path {
        let answer = ada(site, &page).await;
        let members = answer.ids();
        path = next(&answer);
        assert!(path.is_none() || members.len() == limit, "{page}: {members:?}");
        assert!(members.len() <= limit && (ids.is_empty() || !members.is_empty()), "{page}: {members:?}");
        ids.extend(members);
    }
    ids
}

fn people() -> impl Strategy<Value = Vec<(u8, i64, Option<String>)>> {
    // Few different times and addresses, so that many are equal; addresses with letters beyond ASCII.
    let email = proptest::option::of(proptest::sample::select(vec![
        "a@x.io", "A@x.io", "b@x.io", "B@X.IO", "ä@x.io", "Ä@x.io", "ß@x.io", "ss@x.io", "~@x.io", "0@x.io",
    ]));
    let person = (any::<u8>(), -3_i64..3, email.prop_map(|email| email.map(str::to_owned)));
    proptest::collection::vec(person, 0..12)
}

#[test]
fn pages_of_any_size_visit_each_member_once_in_the_order_of_the_whole_list() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&people(), |people| {
        runtime.block_on(async {
            let site = empty().await;
            let changes = people.iter().flat_map(|(id, at_ms, email)| {
                let person = Person::new(&format!("user_{id:03}"), *at_ms);
                match email {
                    Some(email) => person.email(email),
                    None => person,
                }
                .changes()
            });
            site.apply(changes.collect()).await;
            for list in [USERS, ADMIN] {
                let whole = ada(&site, list).await.ids();
                for limit in [1, 2, 3, 500] {
                    let pages = walk(&site, &format!("{list}?limit={limit}"), limit).await;
                    prop_assert_eq!(&pages, &whole);
                }
                let some: Vec<_> = whole.iter().step_by(2).cloned().collect();
                if !some.is_empty() {
                    let mut asked: Vec<_> = some.iter().rev().chain(&some).map(String::as_str).collect();
                    asked.push("user_nobody");
                    let ids = format!("{list}?limit=2&ids={}", asked.join(","));
                    prop_assert_eq!(walk(&site, &ids, 2).await, some);
                }
            }
            Ok::<(), TestCaseError>(())
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[tokio::test]
async fn the_first_list_is_by_age_and_the_second_by_address() {
    let site = empty().await;
    let people = [
        Person::new("user_d", 5).email("zed@x.io"),
        Person::new("user_c", 5).email("Bob@x.io"),
        Person::new("user_b", 7).email("alice@x.io"),
        Person::new("user_a", 9).email("bob@X.io"),
        Person::new("user_f", 1),
        Person::new("user_e", 8),
        Person::new("user_g", 2).email("Émile@x.io"),
        Person::new("user_h", 3).email("émile@x.io"),
    ];
    site.apply(people.into_iter().flat_map(Person::changes).collect()).await;
    let ids = async |path: &str| ada(&site, path).await.ids().join(" ").replace("user_", "");
    assert_eq!(ids(USERS).await, "f g h c d b e a");
    // Without case; who has none comes last; equals by id.
    assert_eq!(ids(ADMIN).await, "b a c d g h e f");
}

/// A cursor names a place, and not a member: the place stays when the member goes.
#[tokio::test]
async fn a_page_begins_after_its_place_whatever_happened_meanwhile() {
    let site = empty().await;
    let people = (0..6).map(|number| Person::new(&format!("user_{number}"), number * 10));
    site.apply(people.flat_map(Person::changes).collect()).await;
    let first = ada(&site, &format!("{USERS}?limit=3")).await;
    assert_eq!(first.ids(), ["user_0", "user_1", "user_2"]);
    let gone = roster::domain::UserId::parse("user_2").unwrap();
    site.apply(vec![roster::domain::Change::UserDeleted { id: gone, at_ms: 100 }]).await;
    site.apply(Person::new("user_9", 25).changes().into()).await;
    site.apply(Person::new("user_8", 5).changes().into()).await;
    let second = ada(&site, &next(&first).unwrap()).await;
    assert_eq!(second.ids(), ["user_9", "user_3", "user_4"]);
}

#[tokio::test]
async fn a_cursor_alone_means_a_hundred() {
    let site = empty().await;
    let people = (0..150).map(|number| Person::new(&format!("user_{number:03}"), number));
    site.apply(people.flat_map(Person::changes).collect()).await;
    let first = ada(&site, &format!("{USERS}?limit=1")).await;
    let cursor = next(&first).unwrap().split_once("cursor=").unwrap().1.to_owned();
    let second = ada(&site, &format!("{USERS}?cursor={cursor}")).await;
    let ids = second.ids();
    assert_eq!((ids.len(), ids[0].as_str()), (100, "user_001"));
    let third = ada(&site, &next(&second).unwrap()).await;
    assert_eq!((third.ids().len(), next(&third)), (49, None));
    assert_eq!(ada(&site, USERS).await.ids().len(), 150, "the whole list comes without both");
}
