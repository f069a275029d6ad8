//! The change feed over a real socket: what is told, to whom, until when, and that nothing falls between.

mod ending;
mod following;
mod instances;
mod keeping;
pub mod reader;
mod resuming;
mod slow;
mod town;
