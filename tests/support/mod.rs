//! What the tests share.

pub mod answer;
pub mod database;
pub mod delivery;
pub mod site;
