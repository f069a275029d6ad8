//! Nobody sees another organization's people, whatever they ask and however they ask it.
//!
//! A longer run: `PROPTEST_CASES=100000 cargo test --release isolation`.

mod ask;
mod feed;
mod lookup;
mod town;
mod walls;
