//! Up to which version nobody is answered as before it.
//!
//! Looks at the log touch all that they find; what the writer has touched itself, after its commit, needs no look.

use std::collections::BTreeSet;

/// Every version up to one is touched.
#[derive(Debug)]
pub(super) struct Watermark {
    seen: i64,
    /// Our own after that, touched as well.
    wrote: BTreeSet<i64>,
}

impl Watermark {
    pub(super) fn new(version: i64) -> Self {
        Self { seen: version, wrote: BTreeSet::new() }
    }

    /// We have committed this one, and what it changed is touched.
    pub(super) fn wrote(&mut self, version: i64) {
        self.wrote.insert(version);
    }

    /// Everything up to this one is touched.
    pub(super) fn saw(&mut self, version: i64) {
        self.seen = self.seen.max(version);
    }

    /// Every version up to this one is committed and touched.
    pub(super) fn version(&mut self) -> i64 {
        while self.wrote.remove(&(self.seen + 1)) {
            self.seen += 1;
        }
        self.wrote = self.wrote.split_off(&(self.seen + 1));
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_when_all_before_it_are() {
        let mut known = Watermark::new(7);
        known.wrote(8);
        assert_eq!(known.version(), 8);
        // The ninth is another's.
        known.wrote(10);
        assert_eq!(known.version(), 8);
        known.wrote(11);
        known.saw(9);
        assert_eq!(known.version(), 11);
        // A look may be faster than the answer to our commit.
        known.saw(13);
        assert_eq!(known.version(), 13);
        known.wrote(12);
        known.wrote(13);
        assert_eq!(known.version(), 13);
        assert!(known.wrote.is_empty());
    }
}
