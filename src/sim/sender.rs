//! Delivers events like Svix: at least once, in no particular order, again and again until they are taken.
//!
//! How badly is a [`Plan`]; the same plan and seed give the same deliveries in the same order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::event::Event;
use super::random::Random;
use crate::domain::Outcome;
use crate::replay::Message;
use crate::replay::post::{Answer, Poster};

/// How events are delivered. The default is what one would wish for: once, in order, one by one.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The same seed, the same deliveries.
    pub seed: u64,
    /// The wait before each further try of a delivery that was not taken.
    pub retries: Vec<Duration>,
    /// How probable it is that an event is never delivered at all.
    pub lose: f64,
    /// How probable it is that an event is delivered twice; the second time comes later.
    pub duplicate: f64,
    /// How many places a delivery may fall back behind later ones. `usize::MAX` shuffles all.
    pub disorder: usize,
    /// Each delivery waits for up to this long before it is sent.
    pub delay: Duration,
    /// How many are on their way at a time.
    pub concurrency: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 0,
            retries: svix_retries(0.0),
            lose: 0.0,
            duplicate: 0.0,
            disorder: 0,
            delay: Duration::ZERO,
            concurrency: 1,
        }
    }
}

/// Svix's schedule, with its waits scaled: 1 is the real one (28 hours), 0 waits for nothing.
pub fn svix_retries(scale: f64) -> Vec<Duration> {
    const WAITS_S: [u64; 8] = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
    WAITS_S.iter().skip(1).map(|seconds| Duration::from_secs(*seconds).mul_f64(scale)).collect()
}

/// What became of one delivery: an event, or its duplicate.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The place of the event among those that were to be sent.
    pub index: usize,
    /// `svix-id`
    pub message_id: String,
    /// Every answer; the last one counts.
    pub answers: Vec<Answer>,
}

impl Delivered {
    /// What the endpoint made of it; `None` when it never took it.
    pub fn outcome(&self) -> Option<Outcome> {
        self.answers.last().and_then(|answer| answer.outcome)
    }

    /// The last status; 0 when there was no answer.
    pub fn status(&self) -> u16 {
        self.answers.last().map_or(0, |answer| answer.status)
    }
}

/// Signs and delivers to one endpoint.
#[derive(Debug, Clone)]
pub struct Sender {
    poster: Poster,
    plan: Plan,
}

/// One delivery on the list.
struct Planned {
    index: usize,
    message: Message,
    delay: Duration,
}

impl Sender {
    /// `to` is the address of the service or of its webhook route. A try counts as failed after 15 s, as with
    /// Svix.
    pub fn new(to: &str, secret: &str, plan: Plan) -> anyhow::Result<Self> {
        Ok(Self { poster: Poster::new(to, secret, Duration::from_secs(15))?, plan })
    }

    /// Delivers events. The results are ordered by event; of an event and its duplicate, as they were planned.
    pub async fn send(&self, events: &[Event]) -> anyhow::Result<Vec<Delivered>> {
        self.send_messages(events.iter().map(Event::message).collect()).await
    }

    /// Delivers messages that are not of the simulation.
    pub async fn send_messages(&self, messages: Vec<Message>) -> anyhow::Result<Vec<Delivered>> {
        let queue = Arc::new(Mutex::new(self.plan.schedule(messages)));
        let mut workers = JoinSet::new();
        for _ in 0..self.plan.concurrency.max(1) {
            let (poster, retries, queue) = (self.poster.clone(), self.plan.retries.clone(), queue.clone());
            workers.spawn(async move {
                let mut delivered = Vec::new();
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(planned) = next() {
                    delivered.push(deliver(&poster, &retries, planned).await?);
                }
                anyhow::Ok(delivered)
            });
        }
        let mut delivered = Vec::new();
        while let Some(worker) = workers.join_next().await {
            delivered.extend(worker??);
        }
        delivered.sort_by_key(|one| one.index);
        Ok(delivered)
    }
}

async fn deliver(poster: &Poster, retries: &[Duration], planned: Planned) -> anyhow::Result<Delivered> {
    tokio::time::sleep(planned.delay).await;
    let mut answers = vec![poster.post(&planned.message).await?];
    for wait in retries {
        if answers.last().is_some_and(Answer::is_success) {
            break;
        }
        tokio::time::sleep(*wait).await;
        answers.push(poster.post(&planned.message).await?);
    }
    Ok(Delivered { index: planned.index, message_id: planned.message.id, answers })
}

impl Plan {
    fn schedule(&self, messages: Vec<Message>) -> VecDeque<Planned> {
        let mut random = Random::new(self.seed);
        // Of its own, so that what arrives arrives as it would if nothing were lost.
        let mut fate = Random::new(!self.seed);
        let count = messages.len();
        let window = self.disorder.min(count);
        let mut planned = Vec::with_capacity(count);
        for (index, message) in messages.into_iter().enumerate() {
            let mut plan = |earliest: usize, latest: usize, message: Message| {
                let place = earliest + random.below(latest.saturating_sub(earliest) + 1);
                let delay =
                    self.delay.mul_f64(f64::from(u32::try_from(random.below(1001)).unwrap_or(0)) / 1000.0);
                planned.push((place, Planned { index, message, delay }));
                (place, random.chance(self.duplicate))
            };
            let (place, again) = plan(index, index + window, message.clone());
            if again {
                plan(place + 1, count + 1, message);
            }
        }
        let lost: Vec<_> = (0..count).map(|_| fate.chance(self.lose)).collect();
        planned.retain(|(_, planned)| !lost.get(planned.index).copied().unwrap_or(false));
        planned.sort_by_key(|(place, _)| *place);
        planned.into_iter().map(|(_, planned)| planned).collect()
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
