//! What the tests share.

pub mod answer;
pub mod binary;
pub mod cluster;
pub mod database;
pub mod delivery;
pub mod site;
