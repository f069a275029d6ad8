//! Keeps our calls under a rate: never more than so many requests in any ten seconds, as Clerk sees them.
//!
//! A bucket that refills (governor, or any other GCRA) lets through its burst and then a window's worth, so it
//! can promise "in any ten seconds" only by giving up its burst or part of the rate. Here every request has
//! a slot of its own instead. A slot is free again ten seconds after its request was answered, and since Clerk
//! saw that request before it answered, two requests of one slot are at least ten seconds apart at Clerk too,
//! however long each was on its way.
//!
//! A pass of many pages must not make a caller wait who asks for one unknown organization. So the second half
//! of the slots is not given away at once but spread over the time until the next one is free, and urgent
//! calls go first.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, Notify};
use tokio::time::{Instant, sleep_until};

/// Clerk counts requests in windows of this length.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// A call does not wait longer than this for a `Retry-After` to pass.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A `Retry-After` beyond this is taken for a mistake.
const LONGEST_HOLD: Duration = Duration::from_hours(1);

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody is waiting for the answer.
    Urgent,
    /// A pass.
    Background,
}

/// Clerk has asked for a pause that is too long to sit out.
#[derive(Debug)]
pub(super) struct Held(pub(super) Duration);

/// Hands out the slots.
#[derive(Debug)]
pub(super) struct Limiter {
    capacity: usize,
    slots: Mutex<Slots>,
    released: Notify,
    /// Held by the background call whose turn it is.
    background: Turn<()>,
    /// Held by an urgent call as long as it waits, by a background call only while it looks.
    urgent: Turn<()>,
}

#[derive(Debug)]
struct Slots {
    in_flight: usize,
    /// When the slots of answered requests are free again, the next one first.
    cooling: VecDeque<Instant>,
    /// Before this the background gets none.
    spread_until: Option<Instant>,
    /// Before this nobody gets one.
    held_until: Option<Instant>,
}

/// A slot that is taken. It begins to cool when this is dropped.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Limiter);

enum Look {
    Taken,
    Held(Duration),
    NotBefore(Option<Instant>),
}

impl Limiter {
    /// So many requests in any ten seconds, at least one.
    pub(super) fn new(rate_per_10s: u32) -> Self {
        let slots = Slots { in_flight: 0, cooling: VecDeque::new(), spread_until: None, held_until: None };
        Self {
            capacity: usize::try_from(rate_per_10s.max(1)).unwrap_or(usize::MAX),
            slots: Mutex::new(slots),
            released: Notify::new(),
            background: Turn::new(()),
            urgent: Turn::new(()),
        }
    }

    /// Waits for a slot, first come, first served. Dropping the future gives the place up.
    pub(super) async fn acquire(&self, lane: Lane) -> Result<Permit<'_>, Held> {
        let _turn = match lane {
            Lane::Background => Some(self.background.lock().await),
            Lane::Urgent => None,
        };
        let mut gate = self.urgent.lock().await;
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            let not_before = match self.slots().look(self.capacity, lane, Instant::now()) {
                Look::Taken => return Ok(Permit(self)),
                Look::Held(wait) => return Err(Held(wait)),
                Look::NotBefore(not_before) => not_before,
            };
            let wait = async {
                match not_before {
                    Some(at) => tokio::select! { () = sleep_until(at) => {} () = &mut released => {} },
                    None => released.as_mut().await,
                }
            };
            if lane == Lane::Urgent {
                wait.await;
            } else {
                drop(gate);
                wait.await;
                gate = self.urgent.lock().await;
            }
        }
    }

    /// Clerk has said no: nobody asks again before this has passed.
    pub(super) fn hold(&self, wait: Duration) {
        let mut slots = self.slots();
        let until = Instant::now() + wait.min(LONGEST_HOLD);
        slots.held_until = slots.held_until.max(Some(until));
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn look(&mut self, capacity: usize, lane: Lane, now: Instant) -> Look {
        if let Some(until) = self.held_until.filter(|until| *until > now) {
            let wait = until - now;
            return if wait > LONGEST_WAIT { Look::Held(wait) } else { Look::NotBefore(Some(until)) };
        }
        while self.cooling.front().is_some_and(|free_at| *free_at <= now) {
            self.cooling.pop_front();
        }
        if self.in_flight + self.cooling.len() >= capacity {
            return Look::NotBefore(self.cooling.front().copied());
        }
        if lane == Lane::Background {
            if let Some(until) = self.spread_until.filter(|until| *until > now) {
                return Look::NotBefore(Some(until));
            }
            self.spread_until = self.spread(capacity, now);
        }
        self.in_flight += 1;
        Look::Taken
    }

    /// What is left of the second half lasts until the next slot is free.
    fn spread(&self, capacity: usize, now: Instant) -> Option<Instant> {
        let left = capacity - self.in_flight - self.cooling.len();
        let next = self.cooling.front().filter(|_| left <= capacity / 2)?;
        let gap = (*next - now) / u32::try_from(left).unwrap_or(u32::MAX).max(1);
        // Timers do not tick faster.
        (gap >= Duration::from_millis(1)).then(|| now + gap)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut slots = self.0.slots();
        slots.in_flight = slots.in_flight.saturating_sub(1);
        slots.cooling.push_back(Instant::now() + WINDOW);
        drop(slots);
        self.0.released.notify_waiters();
    }
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;
