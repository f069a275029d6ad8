//! A small Clerk, because the real one cannot be reached from a test, a demo or a CI.
//!
//! It is the only stand-in in this repository. The service never calls it; `roster dev`, the tests and the
//! benchmarks do. An [`Instance`] holds the truth and says what happens to it as events; [`sender`] delivers
//! them as badly as a network may; [`server`] is its face on the network.

pub mod backend_api;
pub mod event;
pub mod fixtures;
pub mod ingest;
pub mod instance;
pub mod keys;
pub mod random;
pub mod sender;
pub mod server;
pub mod shapes;
pub mod tokens;

pub use event::Event;
pub use instance::{Instance, NoSuchObject};
pub use sender::{Plan, Sender};
pub use shapes::NewUser;
