//! The promise of every 2xx: what was acknowledged survives the end of the process, however it ends.
//!
//! The real program runs on a real file under a stream of signed events. A longer run, with its figures:
//! `ROSTER_KILL_ROUNDS=1000 cargo test crash::kill -- --nocapture`.

mod backup;
mod demo;
mod kill;
#[cfg(target_os = "linux")]
mod power;
mod stop;
mod town;
