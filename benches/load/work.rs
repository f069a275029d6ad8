//! What the callers ask, and how an answer is known to be right.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use roster::clock;

use super::client::{Work, get};
use super::servers::LIST;
use crate::town::clerk::Clerk;
use crate::town::events::Events;
use crate::town::{EACH, FIFTY, Town};

/// How many webhooks are made ready for a second, before it is known how many are taken.
const FIRST_GUESS: f64 = 12_000.0;

/// Reads of a list over 16 connections, these requests in turn. Every 64th body must hold so many people.
pub(crate) fn reads(to: SocketAddr, requests: Vec<Vec<u8>>, time: Duration, people: usize) -> Work {
    Work {
        address: to,
        requests: Rc::new(requests),
        again: true,
        connections: 16,
        pace: None,
        time,
        status: 200,
        look_at_each: 64,
        looks_right: Rc::new(move |body| count(body, b"\"clerkOrgId\":\"org_") == people),
    }
}

fn count(body: &[u8], what: &[u8]) -> usize {
    body.windows(what.len()).filter(|window| *window == what).count()
}

/// A member's request for the list of 50.
pub(crate) fn list_of_50(town: Town, clerk: &Clerk, session: usize) -> Vec<u8> {
    let members = town.members(FIFTY);
    get(LIST, &clerk.token(members[session % members.len()], FIFTY, session), "")
}

/// A member's request in each of the first `count` ordinary organizations, in an order that a cache cannot guess.
pub(crate) fn lists(town: Town, clerk: &Clerk, count: usize) -> Vec<Vec<u8>> {
    let count = count.min(town.organizations());
    // A step that has no factor in common with `count` meets each of them once.
    let step = [3_571, 3_581].into_iter().find(|step| !count.is_multiple_of(*step)).unwrap();
    let organization = |place: usize| place * step % count;
    let request =
        |organization: usize| get(LIST, &clerk.token(organization * EACH, organization, organization), "");
    (0..count).map(|place| request(organization(place))).collect()
}

/// Signed webhooks, none of them twice.
pub(crate) struct Feed {
    events: Events,
    next: Cell<usize>,
}

impl Feed {
    pub(crate) fn of(town: Town) -> Self {
        Self { events: Events::of(town), next: Cell::new(0) }
    }

    /// Webhooks for a round, as many as can be taken; `last` is how many a second were.
    pub(crate) fn flood(
        &self,
        to: SocketAddr,
        connections: usize,
        time: Duration,
        last: Option<f64>,
    ) -> Work {
        let count = last.map_or(FIRST_GUESS, |last| last * 1.5) * time.as_secs_f64();
        self.work(to, connections, None, time, count as usize + connections)
    }

    /// So many a second, whatever becomes of them.
    pub(crate) fn stream(&self, to: SocketAddr, per_second: u32, time: Duration) -> Work {
        let connections = 4;
        let pace = Duration::from_secs(connections) / per_second;
        let count = f64::from(per_second) * time.as_secs_f64();
        self.work(to, usize::try_from(connections).unwrap(), Some(pace), time, count as usize)
    }

    fn work(
        &self,
        address: SocketAddr,
        connections: usize,
        pace: Option<Duration>,
        time: Duration,
        count: usize,
    ) -> Work {
        let first = self.next.get();
        self.next.set(first + count);
        let at_s = clock::now_ms() / 1_000;
        Work {
            address,
            requests: Rc::new((first..first + count).map(|number| self.request(number, at_s)).collect()),
            again: false,
            connections,
            pace,
            time,
            status: 200,
            look_at_each: 1,
            looks_right: Rc::new(|body| body == br#"{"outcome":"applied"}"#),
        }
    }

    fn request(&self, number: usize, at_s: i64) -> Vec<u8> {
        let webhook = self.events.webhook(number);
        let signature = self.events.signature(&webhook, at_s);
        let (message_id, body) = (&webhook.message_id, &webhook.body);
        format!(
            "POST /webhooks/clerk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
            svix-id: {message_id}\r\nsvix-timestamp: {at_s}\r\nsvix-signature: {signature}\r\n\
            Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}
