//! What was read is current as long as nobody has written since: one number for each organization, which
//! only grows.
//!
//! Whoever keeps something takes the number **before** it asks the database, and what it keeps is current
//! while the number is the same. The writer moves the number after its commit and before it answers, so who
//! was told of a change never meets what was read before it; and a reader that was slow keeps something that
//! nobody will take.
//!
//! The numbers lie in a table of fixed size, and organizations share them: a change of one may make something
//! of another be read once more, which costs a little and is never wrong.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::listener::ALL_HEAR;
use crate::domain::OrganizationId;

/// With a thousand organizations changed between two looks at one, it is read in vain once in 64 times.
const SLOTS: usize = 64 * 1024;

/// Stands for "not known"; no event happened then.
const NEVER: i64 = i64::MIN;

/// Stands for "nobody else writes".
const ALONE: u64 = u64::MAX;

/// What is known, without I/O, of how current a reader's knowledge is.
#[derive(Debug)]
pub(super) struct Generations {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    as_of_ms: AtomicI64,
    /// Whether others may change something unheard.
    in_doubt: AtomicBool,
    /// Up to which moment they were heard, in milliseconds since `born`.
    heard_ms: AtomicU64,
    born: Instant,
}

impl Generations {
    pub(super) fn new(as_of_ms: Option<i64>) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            as_of_ms: AtomicI64::new(as_of_ms.unwrap_or(NEVER)),
            in_doubt: AtomicBool::new(false),
            heard_ms: AtomicU64::new(ALONE),
            born: Instant::now(),
        }
    }

    /// The number of an organization. While others are not heard it is another one at each look, so that nothing
    /// that is kept is current.
    pub(super) fn of(&self, organization: &OrganizationId) -> u64 {
        let in_doubt = u64::from(self.is_in_doubt());
        self.slot(organization).fetch_add(in_doubt, Ordering::SeqCst) + in_doubt
    }

    fn is_in_doubt(&self) -> bool {
        let heard_ms = self.heard_ms.load(Ordering::SeqCst);
        // Others are heard several times a second. Whoever stood still does not know yet what was written meanwhile.
        let stood_still =
            heard_ms != ALONE && self.born.elapsed() > Duration::from_millis(heard_ms) + ALL_HEAR;
        stood_still || self.in_doubt.load(Ordering::SeqCst)
    }

    /// Others are not heard any more. False when that is known already.
    pub(super) fn doubt(&self) -> bool {
        !self.in_doubt.swap(true, Ordering::SeqCst)
    }

    /// Others are heard; what they wrote up to this moment is known. False when they were heard before.
    pub(super) fn trust(&self, up_to: Instant) -> bool {
        let heard = up_to.saturating_duration_since(self.born).as_millis();
        self.heard_ms.store(u64::try_from(heard).unwrap_or(ALONE), Ordering::SeqCst);
        self.in_doubt.swap(false, Ordering::SeqCst)
    }

    /// These organizations have changed; the change is committed.
    pub(super) fn touch<'a>(&self, organizations: impl IntoIterator<Item = &'a OrganizationId>) {
        for organization in organizations {
            self.slot(organization).fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Any organization may have changed.
    pub(super) fn touch_all(&self) {
        for slot in &self.slots {
            slot.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The moment up to which the copy is Clerk's truth; it never goes back.
    pub(super) fn as_of_ms(&self) -> Option<i64> {
        Some(self.as_of_ms.load(Ordering::SeqCst)).filter(|at_ms| *at_ms != NEVER)
    }

    /// Moves that moment on, after [`Self::touch`]: a list is never older than it says.
    pub(super) fn advance(&self, as_of_ms: Option<i64>) {
        if let Some(at_ms) = as_of_ms {
            self.as_of_ms.fetch_max(at_ms, Ordering::SeqCst);
        }
    }

    fn slot(&self, organization: &OrganizationId) -> &AtomicU64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "which bits of the hash are taken does not matter"
        )]
        let hash = self.hasher.hash_one(organization.as_str()) as usize;
        &self.slots[hash % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_moves_the_number_of_its_organization() {
        let generations = Generations::new(None);
        let ids: Vec<_> =
            (0..100).map(|number| OrganizationId::parse(&format!("org_{number}")).unwrap()).collect();
        let before: Vec<_> = ids.iter().map(|id| generations.of(id)).collect();
        generations.touch(&ids[..1]);
        assert!(generations.of(&ids[0]) > before[0]);
        // Not one that shares its number with it: that would be a rare thing.
        assert!(ids.iter().zip(&before).filter(|(id, before)| generations.of(id) == **before).count() > 90);
        generations.touch_all();
        assert!(ids.iter().zip(&before).all(|(id, before)| generations.of(id) > *before));
    }

    #[test]
    fn in_doubt_nothing_is_current() {
        let generations = Generations::new(None);
        let id = OrganizationId::parse("org_1").unwrap();
        assert_eq!(generations.of(&id), generations.of(&id));
        assert!(generations.doubt() && !generations.doubt());
        let kept = generations.of(&id);
        assert!(generations.of(&id) > kept);
        generations.trust(Instant::now());
        assert!(generations.of(&id) > kept);
        assert_eq!(generations.of(&id), generations.of(&id));
    }

    #[test]
    fn whoever_stood_still_believes_nothing() {
        let mut generations = Generations::new(None);
        generations.born = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        let id = OrganizationId::parse("org_1").unwrap();
        generations.trust(Instant::now().checked_sub(ALL_HEAR + Duration::from_millis(50)).unwrap());
        assert!(generations.of(&id) < generations.of(&id));
        generations.trust(Instant::now());
        assert_eq!(generations.of(&id), generations.of(&id));
    }

    #[test]
    fn the_moment_never_goes_back() {
        let generations = Generations::new(None);
        assert_eq!(generations.as_of_ms(), None);
        for at_ms in [Some(-5), Some(7), None, Some(3)] {
            generations.advance(at_ms);
        }
        assert_eq!(generations.as_of_ms(), Some(7));
    }
}
