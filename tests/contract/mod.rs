//! The outside of the reading side, held byte by byte: what CONTRACT says, as answers.

mod caching;
mod documents;
mod errors;
mod lists;
mod pages;
mod people;
mod routes;
