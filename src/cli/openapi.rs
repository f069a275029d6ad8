//! `roster openapi`

use std::io::Write as _;

use anyhow::Context as _;

use super::Failure;
use crate::api::openapi;

/// Prints the document that `/openapi.json` answers.
pub fn run() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", openapi::json()).context("the document could not be printed")?;
    Ok(())
}
