//! A small Clerk, because the real one cannot be reached from a test, a demo or a CI.
//!
//! It is the only stand-in in this repository. The service never calls it; `roster dev`, the tests and the
//! benchmarks do.

pub mod keys;
