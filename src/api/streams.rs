//! Places for those who follow the changes: each costs a connection and a little memory, so there are only so many,
//! and nobody takes all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::problem::{Code, Problem};
use crate::domain::UserId;

/// For everybody.
const ALL: usize = 10_000;
/// For one person, in all tabs, on all devices and in all organizations.
const EACH: usize = 1_000;
/// A place is free when a token ends, which Clerk's do within a minute.
const RETRY_AFTER_S: u32 = 60;

/// Who has how many.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_user: HashMap<UserId, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct StreamPermit {
    streams: Arc<Streams>,
    user_id: UserId,
}

impl Streams {
    /// Takes a place.
    pub(super) fn take(self: &Arc<Self>, user_id: &UserId) -> Result<StreamPermit, Problem> {
        let mut taken = self.taken();
        if taken.all >= ALL {
            let detail = "Too many follow the changes already; try again later.";
            return Err(Problem::new(Code::Unavailable, detail));
        }
        let theirs = taken.by_user.entry(user_id.clone()).or_default();
        if *theirs >= EACH {
            let detail = "You follow the changes too often already; end some of the answers.";
            return Err(Problem::new(Code::RateLimited, detail).retry_after(RETRY_AFTER_S));
        }
        *theirs += 1;
        taken.all += 1;
        Ok(StreamPermit { streams: Arc::clone(self), user_id: user_id.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut taken = self.streams.taken();
        taken.all -= 1;
        if let Some(theirs) = taken.by_user.get_mut(&self.user_id) {
            *theirs -= 1;
            if *theirs == 0 {
                taken.by_user.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_places() {
        let streams = Arc::new(Streams::default());
        let user = |number: usize| UserId::parse(&format!("user_{number}")).unwrap();
        let mut places: Vec<_> = (0..EACH).map(|_| streams.take(&user(0)).unwrap()).collect();
        assert_eq!(streams.take(&user(0)).unwrap_err().code, Code::RateLimited);
        places.extend((EACH..ALL).map(|number| streams.take(&user(number)).unwrap()));
        assert_eq!(streams.take(&user(1)).unwrap_err().code, Code::Unavailable);
        drop(places);
        let taken = streams.taken();
        assert!(taken.all == 0 && taken.by_user.is_empty());
    }
}
