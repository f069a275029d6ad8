//! The promise of every 2xx: what was acknowledged survives the end of the process, however it ends.
//!
//! The real program runs on a real file under a stream of signed events. A longer run:
//! `ROSTER_KILL_ROUNDS=500 cargo test crash`.

mod demo;
mod kill;
mod stop;
mod town;
