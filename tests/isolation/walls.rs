use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reqwest::Method;

use super::ask::{ADMIN, Ask, Loot, USERS, any};
use super::town::{ORGANIZATIONS, Town, listed, organization_id};
use crate::reading::site::Site;
use crate::support::answer::Answer;
use crate::support::database::{Kind, on_both_databases};

on_both_databases!(other_organizations_change_no_answer);

/// Requests in one run, unless `PROPTEST_CASES` says otherwise.
const ASKED: u32 = 800;

/// All that an answer says: its status, its headers but for the time of day, its body.
pub fn said(answer: &Answer) -> (u16, Vec<String>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let mut headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    let body = std::str::from_utf8(&answer.body).map_or_else(|_| format!("{:?}", answer.body), str::to_owned);
    (answer.status.as_u16(), headers, body)
}

async fn answer(site: &Site, ask: &Ask, headers: &[(&'static str, String)]) -> Answer {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    site.send(ask.method.clone(), &ask.path(), &headers, Vec::new()).await
}

/// Every `prefix` and the letters and digits after it.
fn words(text: &str, prefix: &str) -> Vec<String> {
    let parts = text.match_indices(prefix).map(|(at, _)| &text[at..]);
    let end = |part: &str| {
        let rest = &part[prefix.len()..];
        rest.find(|letter: char| !letter.is_ascii_alphanumeric()).map_or(part.len(), |end| prefix.len() + end)
    };
    parts.map(|part| part[..end(part)].to_owned()).collect()
}

/// The strongest thing that can be said: what is known of other organizations changes not a byte of any
/// answer. A service that knows this organization alone, in a file, says the same.
async fn other_organizations_change_no_answer(kind: Kind) {
    let town = Town::new(kind).await;
    let loot = Loot::gather(&town).await;
    let runtime = tokio::runtime::Handle::current();
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = ASKED;
    }
    let cases = config.cases as usize;
    let kinds = Mutex::new(BTreeMap::<_, usize>::new());
    let mut runner = TestRunner::new(config);
    let asked = || {
        runner.run(&any(loot), |ask| {
            let headers = ask.headers(&town);
            let (together, apart) = runtime.block_on(async {
                tokio::join!(
                    answer(&town.together, &ask, &headers),
                    answer(&town.apart[ask.organization], &ask, &headers)
                )
            });
            prop_assert_eq!(said(&together), said(&apart), "{} {}", ask.method, ask.path());
            let listed = listed(ask.organization);
            let text = String::from_utf8_lossy(&together.body);
            let coded = together.header("content-encoding").is_some();
            let people = words(&text, "user_");
            if !coded {
                for id in &people {
                    prop_assert!(listed.contains(id), "{id} in {text}");
                }
                for id in words(&text, "org_") {
                    prop_assert_eq!(&id, &organization_id(ask.organization));
                }
            }
            let route = if ask.route == USERS || ask.route == ADMIN { &*ask.route } else { "one" };
            let somebody =
                together.status == 200 && (!people.is_empty() || coded || ask.method == Method::HEAD);
            let kind = (route.to_owned(), together.status.as_u16(), somebody);
            *kinds.lock().unwrap().entry(kind).or_default() += 1;
            Ok::<(), TestCaseError>(())
        })
    };
    if let Err(error) = tokio::task::block_in_place(asked) {
        panic!("{error}");
    }
    // All of this says something only where people were seen, found and not found, on every route.
    let kinds = kinds.into_inner().unwrap();
    for (route, status, somebody, at_least) in [
        (USERS, 200, true, 10),
        (USERS, 200, false, 100),
        (ADMIN, 200, true, 20),
        ("one", 200, true, 100),
        ("one", 404, false, 100),
    ] {
        let seen = kinds.get(&(route.to_owned(), status, somebody)).copied().unwrap_or_default();
        assert!(seen >= cases / at_least, "{route} {status}: {kinds:#?}");
    }
}

#[test]
fn the_town_has_what_the_walls_are_for() {
    let lists: Vec<_> = (0..ORGANIZATIONS).map(listed).collect();
    assert!(lists.iter().all(|list| list.len() > 10), "{lists:?}");
    assert!(lists[0].intersection(&lists[1]).count() > 2, "some are in two organizations");
    assert!(lists[1].difference(&lists[0]).count() > 5);
}
