//! What can go wrong with a database file: each fault is made to happen, and either the start is refused with a
//! sentence that names the mend, or what needs the file is answered 503 until the cause has gone, and no longer.
//!
//! Every call that fails, one after the other: `ROSTER_FAULTS=all cargo test faults`.

mod calls;
mod damage;
mod files;
mod full;
mod locked;
mod victim;
