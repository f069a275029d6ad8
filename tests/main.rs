//! Every test that needs more than one room, in one binary: a folder for each flow.

#![expect(unreachable_pub, reason = "the modules of a test binary are reachable from nowhere")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the right answer, in its helpers too"
)]

mod backend_api;
mod backfill;
mod canary;
mod changes;
mod contract;
mod crash;
mod delivery;
#[cfg(target_os = "linux")]
mod faults;
mod fixtures;
mod hostile;
mod instances;
mod isolation;
mod openapi;
mod ops;
mod reading;
mod reconcile;
mod running;
mod store;
mod support;
mod tidy;
mod tokens;
