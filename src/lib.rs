//! Roster: a durable local copy of your Clerk users and organizations.
pub mod api;
pub mod app;
pub mod clerk;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod replay;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod webhook;
