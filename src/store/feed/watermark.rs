//! Up to which version nobody is answered as before it.
//!
//! Whoever looks at others touches what they wrote; the writer touches what it wrote itself, and does so after its
//! commit, when the other may have seen the version already. Both have to be done.

use std::collections::BTreeSet;

/// What is done of which version.
#[derive(Debug)]
pub(super) struct Watermark {
    /// Up to this one: looked at, and touched unless it is our own.
    seen: i64,
    /// Our own, after that: touched.
    wrote: BTreeSet<i64>,
    /// Our own, being committed: not touched.
    writing: Option<i64>,
}

impl Watermark {
    pub(super) fn new(version: i64) -> Self {
        Self { seen: version, wrote: BTreeSet::new(), writing: None }
    }

    /// This one is about to be committed.
    pub(super) fn writes(&mut self, version: i64) {
        self.writing = Some(version);
    }

    /// It is committed, and what it changed is touched.
    pub(super) fn wrote(&mut self, version: i64) {
        self.writing = None;
        self.wrote.insert(version);
    }

    /// It is not, or nobody knows; everything was touched.
    pub(super) fn failed(&mut self) {
        self.writing = None;
    }

    /// What others wrote up to this one is touched.
    pub(super) fn saw(&mut self, version: i64) {
        self.seen = self.seen.max(version);
    }

    /// Every version up to this one is committed and touched.
    pub(super) fn version(&mut self) -> i64 {
        while self.wrote.remove(&(self.seen + 1)) {
            self.seen += 1;
        }
        self.wrote = self.wrote.split_off(&(self.seen + 1));
        self.writing.map_or(self.seen, |writing| self.seen.min(writing - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_when_all_before_it_are() {
        let mut known = Watermark::new(7);
        known.writes(8);
        assert_eq!(known.version(), 7);
        known.wrote(8);
        assert_eq!(known.version(), 8);
        // The ninth is another's.
        known.wrote(10);
        assert_eq!(known.version(), 8);
        known.wrote(11);
        known.saw(9);
        assert_eq!(known.version(), 11);
        assert!(known.wrote.is_empty());
    }

    #[test]
    fn what_is_seen_before_it_is_touched_waits() {
        let mut known = Watermark::new(0);
        known.writes(3);
        known.saw(5);
        assert_eq!(known.version(), 2);
        known.wrote(3);
        assert_eq!(known.version(), 5);
        known.writes(6);
        known.failed();
        known.saw(6);
        assert_eq!(known.version(), 6);
    }
}
