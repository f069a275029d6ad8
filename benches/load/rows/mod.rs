//! The rows of the table of targets, a file each.

mod list;
mod mixed;
mod pages;
mod postgres;
mod scale;
mod spread;
mod webhooks;

use super::Bench;
use super::report::Section;

/// A row: its name on the command line, and what measures it.
pub(crate) type Row = (&'static str, fn(&Bench) -> Vec<Section>);

pub(crate) const ROWS: [Row; 9] = [
    ("list", list::list),
    ("tokens", list::tokens),
    ("not-modified", list::not_modified),
    ("spread", spread::spread),
    ("pages", pages::pages),
    ("webhooks", webhooks::webhooks),
    ("mixed", mixed::mixed),
    ("scale", scale::scale),
    ("postgres", postgres::postgres),
];
