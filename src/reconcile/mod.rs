//! Heals the copy: asks Clerk what it holds, and puts right what webhooks missed.
//!
//! A pass walks Clerk's lists page by page and hands what differs to the store, through the door that
//! webhooks use as well, so neither can overwrite what is newer. What the walk did not show may be gone:
//! each such object is asked for by its id, and only Clerk's word that it is not there removes it here, up
//! to the brake. Where a pass stands is written down with every page, and the next one goes on there.
//!
//! Absence is never proof. Lists shift under a walk, pages come back short or empty, and whole features are
//! switched off: all of that means "unknown".

mod gone;
mod history;
pub mod hydrate;
mod lease;
mod pass;
mod progress;
pub mod read_through;
mod recent;
mod remove;
pub mod report;
mod run;
pub mod schedule;
mod turns;
mod walk;

pub use history::{PastPass, history};
pub use pass::WalkError;
pub use progress::last_success_ms;
pub use report::{Drift, Entities, Report};
pub use run::{Ask, Finished, Glance, Reconciler, count_passes_of_commands};
