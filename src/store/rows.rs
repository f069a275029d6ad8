//! Statements over many rows at once: on SQLite every statement crosses to a thread and back, and everywhere
//! a row of its own costs a round trip.
//!
//! Rows go in lots of a few sizes, so that a handful of prepared statements serves every batch.

use std::sync::{Arc, OnceLock};

use sqlx::AssertSqlSafe;

use super::connection::{Connection, Row};
use super::error::StoreError;

/// How many rows go into one statement. The widest row times the greatest lot stays far below the 32,766
/// parameters that SQLite takes, and the 65,535 of PostgreSQL.
const LOTS: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// How many statements a connection has to remember, for each text one of every lot.
pub(super) const PREPARED: usize = 512;

/// One value of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Text(Option<&'a str>),
    Number(Option<i64>),
}

/// Makes the value of a row; flags are 0 and 1.
pub(super) fn cell<'a>(value: impl Into<Cell<'a>>) -> Cell<'a> {
    value.into()
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Option<String>> for Cell<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Self::Text(text.as_deref())
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Cell<'_> {
    fn from(flag: bool) -> Self {
        Self::Number(Some(flag.into()))
    }
}

/// A statement over rows of so many columns. `{rows}` in its text stands for them: `(?,?),(?,?)`.
pub(super) struct Statement<const COLUMNS: usize> {
    text: &'static str,
    sqlite: [OnceLock<Arc<str>>; LOTS.len()],
    postgres: [OnceLock<Arc<str>>; LOTS.len()],
}

impl<const COLUMNS: usize> Statement<COLUMNS> {
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            text,
            sqlite: [const { OnceLock::new() }; LOTS.len()],
            postgres: [const { OnceLock::new() }; LOTS.len()],
        }
    }

    /// Runs it over rows; nothing when there are none.
    pub(super) async fn execute(
        &'static self,
        db: &mut Connection,
        rows: &[[Cell<'_>; COLUMNS]],
    ) -> Result<(), StoreError> {
        for (text, rows) in self.lots(db.is_postgres(), rows) {
            db.execute(text, rows.as_flattened()).await?;
        }
        Ok(())
    }

    /// Runs it over rows, and answers with what it returns.
    pub(super) async fn fetch(
        &'static self,
        db: &mut Connection,
        rows: &[[Cell<'_>; COLUMNS]],
    ) -> Result<Vec<Row>, StoreError> {
        let mut answers = Vec::new();
        for (text, rows) in self.lots(db.is_postgres(), rows) {
            answers.append(&mut db.fetch(text, rows.as_flattened()).await?);
        }
        Ok(answers)
    }

    /// The text for each lot, and its rows.
    fn lots<'a, 'c>(
        &'static self,
        is_postgres: bool,
        mut rows: &'a [[Cell<'c>; COLUMNS]],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, &'a [[Cell<'c>; COLUMNS]])> {
        let (texts, mark): (_, fn(usize) -> String) =
            if is_postgres { (&self.postgres, numbered) } else { (&self.sqlite, unnamed) };
        std::iter::from_fn(move || {
            let (lot, text) = LOTS.iter().zip(texts).find(|(lot, _)| **lot <= rows.len())?;
            let (now, later) = rows.split_at(*lot);
            rows = later;
            let text =
                text.get_or_init(|| self.text.replace("{rows}", &placeholders(COLUMNS, *lot, mark)).into());
            // Nothing but marks for parameters was put into a text that is a constant.
            Some((AssertSqlSafe(Arc::clone(text)), now))
        })
    }
}

/// Marks for the parameters of so many rows.
pub(super) fn values(is_postgres: bool, columns: usize, rows: usize) -> String {
    placeholders(columns, rows, if is_postgres { numbered } else { unnamed })
}

/// SQLite looks for the name of a parameter by going through all of them, so they have none.
fn unnamed(_: usize) -> String {
    "?".to_owned()
}

/// `$1`
fn numbered(parameter: usize) -> String {
    format!("${parameter}")
}

/// `(?,?),(?,?)`
fn placeholders(columns: usize, rows: usize, mark: fn(usize) -> String) -> String {
    let row = |row: usize| {
        let marks: Vec<_> = (1..=columns).map(|column| mark(row * columns + column)).collect();
        format!("({})", marks.join(","))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(",")
}

/// Ids as rows of one column.
pub(super) fn ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<[Cell<'a>; 1]> {
    ids.into_iter().map(|id| [cell(id)]).collect()
}
