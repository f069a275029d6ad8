//! Bytes that nobody would send who means well: good input, damaged at random.
//!
//! Each target takes what is good (`fixtures/`, and what these tests make) and damages it, byte by byte and value by
//! value. Whatever comes of it: no panic, no 5xx, and nothing accepted that was not signed. proptest makes the damage
//! smaller until it cannot be smaller and still be wrong, and keeps it in `tests/hostile/found/`, which is tried first
//! in every later run.
//!
//! A longer run: `PROPTEST_CASES=100000 cargo test --release hostile`

mod answers;
mod bodies;
pub mod damage;
mod overload;
mod parameters;
mod signatures;
mod wire;

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

/// So many cases, unless `PROPTEST_CASES` says otherwise. What goes wrong is kept in `found`.
pub fn runner(cases: u32, found: &'static str) -> TestRunner {
    let mut config = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::Direct(found)));
    TestRunner::new(config)
}

/// Runs a target whose cases have to wait for something.
pub fn run_async<T: std::fmt::Debug>(
    mut runner: TestRunner,
    strategy: &impl proptest::strategy::Strategy<Value = T>,
    case: impl AsyncFn(T) -> Result<(), TestCaseError>,
) {
    let runtime = tokio::runtime::Handle::current();
    let run = || runner.run(strategy, |value| runtime.block_on(case(value)));
    if let Err(error) = tokio::task::block_in_place(run) {
        panic!("{error}");
    }
}
