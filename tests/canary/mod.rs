//! Marked values go in by every door, everything is done that can be done, and then the marks are looked for in
//! everything that came out and in everything that lies on the disk.
//!
//! `tests/delivery/privacy.rs` does so field by field for deliveries; here it is whole flows, by the real program.

mod flows;
mod marks;
mod town;
