//! Passes against the simulated Clerk: whatever was lost, whatever goes wrong, the copy ends as Clerk's truth,
//! and nothing that Clerk has is ever removed.

mod brake;
mod faults;
mod incremental;
mod lists;
mod lost_events;
mod model;
mod one_at_a_time;
mod report;
mod snapshots;
mod town;
