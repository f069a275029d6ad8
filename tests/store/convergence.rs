//! The same changes, in any order and any number of times, end in the same rows and the same two answers.
//!
//! A longer run: `PROPTEST_CASES=100000 cargo test --release convergence`.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use roster::domain::OrganizationId;

use super::history::{Said, Step, history, lists, say, say_to};
use crate::support::database::{Kind, TestStore, on_both_databases};

on_both_databases!(
    random_histories_converge,
    a_member_who_left_and_came_back_is_listed_once,
    a_deleted_user_stays_deleted,
    an_older_state_never_wins,
    a_deleted_organization_lists_nobody,
    an_organization_falls_with_all_who_were_there,
    all_who_would_fall_with_an_organization_are_known,
    a_newer_membership_that_has_ended_proves_that_the_older_one_has_too,
);

/// Histories in one run, unless `PROPTEST_CASES` says otherwise. A transaction of a server takes longer.
fn histories(kind: Kind) -> u32 {
    if kind == Kind::Sqlite { 1_000 } else { 100 }
}

/// An order that says everything once, and some of it twice or more.
fn order_of(length: usize) -> impl Strategy<Value = Vec<usize>> {
    let again = proptest::collection::vec(0..length, 0..=length / 2);
    again.prop_flat_map(move |again| {
        let all: Vec<_> = (0..length).chain(again).collect();
        Just(all).prop_shuffle()
    })
}

/// Told in order, in one go, and in a few, to two instances when there may be two. What a server holds is
/// compared with a file.
async fn random_histories_converge(kind: Kind) {
    let databases = [TestStore::new().await, TestStore::on(kind).await, TestStore::on(kind).await];
    let another = if kind == Kind::Postgres { Some(databases[2].another().await) } else { None };
    let spread: Vec<_> =
        [Some(&databases[2]), another.as_ref()].into_iter().flatten().map(|db| &db.store).collect();
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = histories(kind);
    }
    let count = AtomicUsize::new(0);
    let strategy = history().prop_flat_map(|history| {
        let length = history.len();
        (Just(history), order_of(length), order_of(length), 1_usize..5)
    });
    let runtime = tokio::runtime::Handle::current();
    let run = || {
        TestRunner::new(config).run(&strategy, |(history, first, second, parts)| {
            let prefix = format!("h{}-", count.fetch_add(1, Ordering::Relaxed));
            let in_order: Vec<_> = (0..history.len()).collect();
            runtime.block_on(async {
                say(&databases[0], &prefix, &history, &in_order, history.len()).await;
                say(&databases[1], &prefix, &history, &first, 1).await;
                say_to(&spread, &prefix, &history, &second, parts).await;
                let rows = databases[0].read_model(&prefix).await;
                let lists_in_order = lists(&databases[0], &prefix).await;
                for database in &databases[1..] {
                    prop_assert_eq!(&rows, &database.read_model(&prefix).await);
                    prop_assert_eq!(&lists_in_order, &lists(database, &prefix).await);
                }
                Ok::<(), TestCaseError>(())
            })
        })
    };
    if let Err(error) = tokio::task::block_in_place(run) {
        panic!("{error}");
    }
    for database in &databases {
        assert_eq!(database.rows(CONTRADICTIONS, "").await, [""; 0]);
    }
}

/// What statements rely on and no key guarantees: `unlistable` is what it says; a user is listed by the age of its account,
/// and once in an organization; and the newest membership of a place is listed or `unlistable`.
const CONTRADICTIONS: &str = "
    SELECT m.id AS what FROM memberships m LEFT JOIN users u ON u.id = m.user_id
    WHERE (m.unlistable = 1) <> (m.deleted_at_ms IS NOT NULL OR m.fallen = 1 OR u.updated_at_ms IS NULL)
    UNION ALL
    SELECT x.user_id FROM members x
    WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = x.user_id AND u.created_at_ms = x.account_created_at_ms)
    UNION ALL
    SELECT x.user_id FROM members x GROUP BY x.organization_id, x.user_id HAVING COUNT(*) > 1
    UNION ALL
    SELECT g.id FROM memberships g
    WHERE g.unlistable = 0
        AND NOT EXISTS (SELECT 1 FROM members x WHERE x.organization_id = g.organization_id AND x.membership_id = g.id)
        AND NOT EXISTS (SELECT 1 FROM memberships newer
            WHERE newer.organization_id = g.organization_id AND newer.user_id = g.user_id
                AND (newer.created_at_ms, newer.deleted_at_ms IS NULL, newer.id)
                    > (g.created_at_ms, g.deleted_at_ms IS NULL, g.id))";

fn permutations(length: usize) -> Vec<Vec<usize>> {
    if length == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(length - 1);
    let insert = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, length - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..length).map(move |at| insert(order, at))).collect()
}

/// Says a history in every order, and returns what it always ends in.
async fn every_order(kind: Kind, steps: Vec<Step>) -> Vec<String> {
    let history: Vec<_> = steps.into_iter().map(|step| Said { step, by_pass: false }).collect();
    let database = TestStore::on(kind).await;
    let mut expected = None;
    for (index, order) in permutations(history.len()).iter().enumerate() {
        let prefix = format!("p{index}-");
        // One transaction or one for each: both must do.
        let parts = if index % 4 == 0 { order.len() } else { 1 };
        say(&database, &prefix, &history, order, parts).await;
        let rows = database.read_model(&prefix).await;
        let lists = lists(&database, &prefix).await;
        let (rows_before, lists_before) = expected.get_or_insert((rows.clone(), lists.clone()));
        assert_eq!(*rows_before, rows, "{order:?} of {history:?}");
        assert_eq!(*lists_before, lists, "{order:?} of {history:?}");
    }
    expected.unwrap().1
}

fn user(user: u8, at: i64, content: u8) -> Step {
    Step::User { user, updated: at, observed: at, content, sign_in: None }
}

fn joined(membership: u8, user: u8, at: i64, content: u8) -> Step {
    Step::Membership { membership, place: (0, user), created: at, updated: at, observed: at, content }
}

fn left(membership: u8, user: u8, at: i64) -> Step {
    Step::MembershipDeleted { membership, place: (0, user), created: None, at }
}

async fn a_member_who_left_and_came_back_is_listed_once(kind: Kind) {
    let ends = every_order(
        kind,
        vec![user(0, 1, 1), joined(0, 0, 1, 1), left(0, 0, 2), joined(1, 0, 3, 0), user(0, 4, 2)],
    )
    .await;
    assert_eq!(
        ends,
        [
            r#"Account user_0 org:admin Some("person7@example.com")"#,
            r#"Email user_0 org:admin Some("person7@example.com")"#
        ]
    );
}

async fn a_deleted_user_stays_deleted(kind: Kind) {
    let ends = every_order(
        kind,
        vec![
            user(0, 1, 1),
            joined(0, 0, 1, 1),
            Step::UserDeleted { user: 0, at: 2 },
            Step::SignIn { user: 0, at: 3 },
            user(0, 5, 2),
            Step::Invitation { invitation: 0, user: Some(0), updated: 1, observed: 1, content: 1 },
        ],
    )
    .await;
    assert!(ends.is_empty(), "{ends:?}");
}

async fn an_older_state_never_wins(kind: Kind) {
    let ends = every_order(
        kind,
        vec![
            user(0, 3, 3),
            user(0, 1, 1),
            user(0, 2, 2),
            joined(0, 0, 1, 1),
            Step::Membership {
                membership: 0,
                place: (0, 0),
                created: 1,
                updated: 2,
                observed: 2,
                content: 0,
            },
            Step::Organization { organization: 0, updated: 1, observed: 1, content: 1 },
        ],
    )
    .await;
    assert_eq!(
        ends,
        [
            r#"Account user_0 org:admin Some("person6@example.com")"#,
            r#"Email user_0 org:admin Some("person6@example.com")"#
        ]
    );
}

async fn a_deleted_organization_lists_nobody(kind: Kind) {
    let ends = every_order(
        kind,
        vec![
            user(0, 1, 1),
            joined(0, 0, 1, 1),
            joined(1, 1, 1, 1),
            user(1, 1, 1),
            Step::OrganizationDeleted { organization: 0, at: 2 },
            joined(2, 2, 3, 1),
        ],
    )
    .await;
    assert!(ends.is_empty(), "{ends:?}");
}

/// Also when the batch that deletes the organization moves away by what alone its members are found.
async fn an_organization_falls_with_all_who_were_there(kind: Kind) {
    let gone = |organization, at| Step::MembershipDeleted {
        membership: 0,
        place: (organization, 0),
        created: Some(2),
        at,
    };
    let steps = [
        user(0, 1, 1),
        joined(1, 0, 1, 1),
        gone(0, 3),
        gone(1, 4),
        Step::OrganizationDeleted { organization: 0, at: 5 },
    ];
    let history = steps.map(|step| Said { step, by_pass: false });
    let database = TestStore::on(kind).await;
    let mut expected = None;
    for parts in 1..=history.len() {
        let prefix = format!("f{parts}-");
        say(&database, &prefix, &history, &[0, 1, 2, 3, 4], parts).await;
        let rows = database.read_model(&prefix).await;
        assert_eq!(*expected.get_or_insert(rows.clone()), rows, "in {parts} parts");
    }
    assert_eq!(database.rows(CONTRADICTIONS, "").await, [""; 0]);
}

/// Listed, older than the listed one, older than one that has ended, and before its user.
async fn all_who_would_fall_with_an_organization_are_known(kind: Kind) {
    let steps = [
        user(0, 1, 1),
        joined(0, 0, 2, 1),
        joined(1, 0, 1, 1),
        user(1, 1, 1),
        joined(2, 1, 1, 1),
        Step::MembershipDeleted { membership: 3, place: (0, 1), created: Some(2), at: 3 },
        joined(4, 2, 1, 1),
        Step::Membership { membership: 5, place: (1, 0), created: 1, updated: 1, observed: 1, content: 1 },
    ];
    let history = steps.map(|step| Said { step, by_pass: false });
    let database = TestStore::on(kind).await;
    say(&database, "", &history, &[0, 1, 2, 3, 4, 5, 6, 7], 1).await;
    let organization = OrganizationId::parse("org_0").unwrap();
    let (mut memberships, _) = database.store.children(&[], &[organization]).await.unwrap();
    memberships.sort();
    memberships.dedup();
    assert_eq!(memberships, ["orgmem_0", "orgmem_1", "orgmem_2", "orgmem_4"]);
}

async fn a_newer_membership_that_has_ended_proves_that_the_older_one_has_too(kind: Kind) {
    let rejoined_and_left = Step::MembershipDeleted { membership: 1, place: (0, 0), created: Some(3), at: 4 };
    let ends =
        every_order(kind, vec![user(0, 1, 1), joined(0, 0, 1, 0), joined(1, 0, 3, 1), rejoined_and_left])
            .await;
    assert!(ends.is_empty(), "the end of the first one was lost: {ends:?}");
}
