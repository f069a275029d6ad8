//! Every test that needs more than one room, in one binary: a folder for each flow.
#![expect(unreachable_pub, reason = "the modules of a test binary are reachable from nowhere")]

mod backend_api;
mod fixtures;
mod reading;
mod running;
mod store;
mod support;
mod tokens;
