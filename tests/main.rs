//! Every test that needs more than one room, in one binary: a folder for each flow.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the right answer, in its helpers too")]
#![expect(unreachable_pub, reason = "the modules of a test binary are reachable from nowhere")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what is not as a test expects ends the test; helpers of tests are tests"
)]

mod crash;
mod fixtures;
mod isolation;
mod reading;
mod running;
mod store;
mod support;
mod tokens;
