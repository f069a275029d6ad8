//! The part of a URL after `?`: parameters and cursors, of a caller who may ask.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::damage::{self, Damage};
use super::{run_async, runner};
use crate::delivery::payloads;
use crate::support::site::{ADMIN, Site, USERS};

/// Of these nothing has to be encoded, and what they mean is up to the damage.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'=')
    .remove(b'&')
    .remove(b'%')
    .remove(b'+')
    .remove(b'.')
    .remove(b',')
    .remove(b'-')
    .remove(b'_')
    .remove(b':');

/// Good questions; `CURSOR` is a cursor of the list.
const GOOD: [&str; 12] = [
    "limit=1",
    "cursor=CURSOR",
    "limit=2&cursor=CURSOR&query=a",
    "ids=user_0,user_1",
    "query=ada",
    "query=ada%40example.com",
    "role=org%3Amember",
    "metadata.team=core&metadata.team=core",
    "activityStatus=all&include=membership",
    "activityStatus=pending&limit=1&cursor=CURSOR",
    "role=admin&metadata.n=1&query=o&ids=user_0&limit=3",
    "cursor=CURSOR&activityStatus=inactive&query=x",
];

#[derive(Debug, Clone)]
struct Question {
    list: &'static str,
    good: &'static str,
    cursor: Vec<Damage>,
    whole: Vec<Damage>,
}

fn questions() -> impl Strategy<Value = Question> {
    let damages = || prop_oneof![Just(Vec::new()), damage::some()];
    (select(vec![USERS, ADMIN]), select(&GOOD[..]), damages(), damages())
        .prop_map(|(list, good, cursor, whole)| Question { list, good, cursor, whole })
}

async fn site() -> Site {
    let site = Site::start().await;
    for number in 0..4 {
        let user = format!("user_{number}");
        for (id, event) in [
            ("a", payloads::user(&user)),
            ("b", payloads::membership(&format!("orgmem_{number}"), "org_1", &user)),
            ("c", payloads::invitation(&format!("orginv_{number}"), "org_1")),
        ] {
            let verdict = site.deliver_as(&format!("msg_{number}{id}"), event.to_string()).await;
            assert_eq!(verdict, "200 applied");
        }
    }
    site
}

async fn cursor(site: &Site, list: &str) -> String {
    let page = site.ask(&format!("{list}?limit=1"), "org_1").await;
    let link = page.header("link").unwrap();
    link.split_once("cursor=").unwrap().1.split_once('>').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_question_is_answered_or_refused() {
    let site = site().await;
    let cursors = [cursor(&site, USERS).await, cursor(&site, ADMIN).await];
    let cases = runner(400, "tests/hostile/found/parameters.txt");
    run_async(cases, &vec(questions(), 1), async |questions| {
        for question in questions {
            let cursor = &cursors[usize::from(question.list == ADMIN)];
            let cursor = damage::done_to_text(cursor, &question.cursor);
            let query =
                damage::done_to(question.good.replace("CURSOR", &cursor).into_bytes(), &question.whole);
            let path = format!("{}?{}", question.list, percent_encode(&query, PLAIN));
            let answer = site.ask(&path, "org_1").await;
            match answer.status.as_u16() {
                200 => {
                    let list = answer.json();
                    prop_assert!(list.as_array().is_some_and(|rows| rows.len() <= 8), "{path}: {list}");
                }
                400 => prop_assert_eq!(answer.problem(), "400 VALIDATION_ERROR"),
                status => prop_assert!(false, "{path}: {status}"),
            }
        }
        Ok(())
    });
}

/// What means something to a database means nothing here.
#[tokio::test]
async fn wildcards_and_quotes_are_letters_like_others() {
    let site = site().await;
    for list in [USERS, ADMIN] {
        for odd in ["%25", "_", "%2A", "ad_", "ad%25", "a%25a", "'", "''%20OR%20''='", "\\", "%5C%25"] {
            let answer = site.ask(&format!("{list}?query=x{odd}"), "org_1").await;
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "[]"), "{list} {odd}");
            let answer = site.ask(&format!("{list}?ids={odd}"), "org_1").await;
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "[]"), "{list} {odd}");
        }
        assert_eq!(site.ask(&format!("{list}?query=ada"), "org_1").await.ids().len(), 4);
        // Words are letters and digits, so what is left of these is `da`, which begins no word.
        for odd in ["_da", "%25da", "*da"] {
            assert_eq!(site.ask(&format!("{list}?query={odd}"), "org_1").await.text(), "[]", "{odd}");
        }
    }
    let injected = "role=org%3Amember'%20OR%20'1'='1&metadata.team'%20OR%20'1'='1=core";
    assert_eq!(site.ask(&format!("{ADMIN}?{injected}"), "org_1").await.text(), "[]");
}
