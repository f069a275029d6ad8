//! Roster: a durable local copy of your Clerk users and organizations, answered in microseconds.
pub mod api;
pub mod app;
pub mod clerk;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod reconcile;
pub mod replay;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod webhook;
