//! The one door for writes.

mod convergence;
mod history;
mod journal;
mod neighbours;
mod others;
mod passes;
mod plans;
mod questions;
mod upgrade;
