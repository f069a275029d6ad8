//! What the single steps cost: `cargo bench --bench micro`.
//!
//! Times of one thread. On a busy machine look at the fastest column; the others measure the neighbours.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

mod town;

use std::cell::Cell;

use axum::http::{HeaderMap, HeaderValue};
use divan::{Bencher, counter::BytesCount, counter::ItemsCount};
use futures_util::future::join_all;
use roster::clerk::event::{self, Decoded};
use roster::clerk::jwks::KeySet;
use roster::clerk::session_token::Verifier;
use roster::clock;
use roster::config::{Database, KeySource};
use roster::domain::{Filter, MemberQuery, Order, OrganizationId, Outcome};
use roster::store::{Delivery, Store};
use roster::webhook::Receiver;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use town::clerk::{Clerk, ISSUER, PARTY};
use town::events::{Events, secret};
use town::{FIFTY, LARGE, Town, id};

const TOWN: Town = Town { users: 5_000, large: 5_000 };

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A store in a new folder, with everybody in it or nobody.
async fn store(changes: impl Iterator<Item = roster::domain::Change>) -> (TempDir, Store) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Store::open(&Database::Sqlite(folder.path().join("roster.db"))).await.unwrap();
    store.apply(changes.collect()).await.unwrap();
    (folder, store)
}

/// A session token that was never seen before: its form, its signature, its claims.
#[divan::bench]
fn token_check(bencher: Bencher) {
    let (runtime, clerk) = (runtime(), Clerk::new());
    let keys = KeySet::new(KeySource::Pem(clerk.public_pem())).unwrap();
    let verifier = Verifier::new(keys, Some(ISSUER.to_owned()), vec![PARTY.to_owned()]);
    let tokens: Vec<_> = (0..64).map(|session| clerk.token(0, FIFTY, session)).collect();
    let (next, now_ms) = (Cell::new(0), clock::now_ms());
    bencher.bench_local(|| {
        next.set((next.get() + 1) % tokens.len());
        runtime.block_on(verifier.verify(&tokens[next.get()], now_ms)).unwrap()
    });
}

/// The signature of a delivery, and that its type is none of ours: nothing is stored.
#[divan::bench]
fn signature_check(bencher: Bencher) {
    let runtime = runtime();
    let events = Events::of(TOWN);
    let mut webhook = events.webhook(0);
    webhook.body = webhook.body.replace("user.updated", "email.created");
    let at_s = clock::now_ms() / 1_000;
    let mut headers = HeaderMap::new();
    let signature = events.signature(&webhook, at_s);
    for (name, value) in [
        ("svix-id", &webhook.message_id),
        ("svix-timestamp", &at_s.to_string()),
        ("svix-signature", &signature),
    ] {
        headers.insert(name, HeaderValue::try_from(value).unwrap());
    }
    let (_folder, store) = runtime.block_on(store(std::iter::empty()));
    let receiver = Receiver::new(store, &[secret().into()], None).unwrap();
    bencher.counter(BytesCount::of_str(&webhook.body)).bench_local(|| {
        let outcome = runtime.block_on(receiver.receive(&headers, webhook.body.as_bytes())).unwrap();
        assert_eq!(outcome, Outcome::Ignored);
    });
}

/// The body of a delivery to the change that it means. `args`: `user.updated`, `organizationMembership.created`.
#[divan::bench(args = [0, 3])]
fn decode(bencher: Bencher, kind: usize) {
    let webhook = Events::of(TOWN).webhook(kind);
    bencher
        .counter(BytesCount::of_str(&webhook.body))
        .bench_local(|| event::decode(webhook.body.as_bytes(), 0, None).unwrap());
}

/// So many deliveries at once, through the store's door, until all are durable.
#[divan::bench(args = [1, 64, 512], sample_count = 30, sample_size = 1)]
fn deliver(bencher: Bencher, count: usize) {
    let runtime = runtime();
    let events = Events::of(TOWN);
    let (_folder, store) = runtime.block_on(store(TOWN.changes()));
    let next = Cell::new(0);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| {
            let first = next.get();
            next.set(first + count);
            (first..first + count).map(|number| delivery(&events, number)).collect::<Vec<_>>()
        })
        .bench_local_values(|deliveries| {
            let all = deliveries.into_iter().map(|(delivery, changes)| store.deliver(delivery, changes));
            for outcome in runtime.block_on(join_all(all)) {
                assert_eq!(outcome.unwrap(), Outcome::Applied);
            }
        });
    runtime.block_on(store.close());
}

fn delivery(events: &Events, number: usize) -> (Delivery, Vec<roster::domain::Change>) {
    let webhook = events.webhook(number);
    let Decoded::Event(event) = event::decode(webhook.body.as_bytes(), 0, None).unwrap() else {
        unreachable!("an event that is ours");
    };
    let subject = event.subject;
    let delivery = Delivery {
        message_id: webhook.message_id,
        event_type: subject.event_type,
        object_id: subject.object_id,
        user_id: subject.user_id,
        occurred_at_ms: subject.occurred_at_ms,
        received_at_ms: clock::now_ms(),
        payload: subject.payload,
    };
    (delivery, vec![event.change])
}

/// A whole list from the store, without its JSON: 50 and 5,000 members.
#[divan::bench(args = [FIFTY, LARGE], sample_count = 30)]
fn list(bencher: Bencher, organization: usize) {
    let runtime = runtime();
    let (_folder, store) = runtime.block_on(store(TOWN.changes()));
    let query = MemberQuery {
        organization_id: OrganizationId::parse(&id("org", organization)).unwrap(),
        order: Order::Account,
        after: None,
        limit: None,
        ids: None,
        filter: Filter::default(),
    };
    bencher.counter(ItemsCount::new(TOWN.members(organization).len())).bench_local(|| {
        let page = runtime.block_on(store.members(&query)).unwrap();
        assert_eq!(page.members.len(), TOWN.members(organization).len());
    });
    runtime.block_on(store.close());
}
