//! Roster: a durable local copy of your Clerk users and organizations.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`api`] | the public routes: callers, lists, errors |
//! | [`app`] | knows every part: opens, wires, serves, drains |
//! | [`cli`] | a file for each command |
//! | [`clerk`] | all we know of Clerk's wire |
//! | [`clock`] | the only file that asks for the time |
//! | [`config`] | checked before the first socket opens |
//! | [`domain`] | plain types, and the rule that decides order (`domain::merge`) |
//! | [`ops`] | the operators' listener: metrics and the console |
//! | [`reconcile`] | asks Clerk what webhooks missed, and puts it right |
//! | [`replay`] | the sending side of a webhook |
//! | [`sim`] | a small Clerk, for the demo and the tests |
//! | [`store`] | the only room with SQL |
//! | [`telemetry`] | logs, and spans for a collector |
//! | [`webhook`] | verifies deliveries (`webhook::verify`) and takes them |
//!
//! Data flows one way:
//!
//! - delivery: bytes, verify, `clerk::event`, `domain::Change`, `store.deliver`, and only then 2xx
//! - pass: `clerk::backend_api`, `reconcile::walk`, `domain::Change`, `store.apply_up_to`
//! - request: token, `api::Caller`, `MemberQuery`, `store.roll` or `store.each_member`, JSON row by row

pub mod api;
pub mod app;
pub mod clerk;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod ops;
pub mod reconcile;
pub mod replay;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod webhook;
