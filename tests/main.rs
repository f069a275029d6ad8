//! Every test that needs more than one room, in one binary: a folder for each flow.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is the right answer, in its helpers too"
)]
#![expect(unreachable_pub, reason = "the modules of a test binary are reachable from nowhere")]

mod delivery;
mod fixtures;
mod reading;
mod running;
mod store;
mod support;
mod tidy;
mod tokens;
