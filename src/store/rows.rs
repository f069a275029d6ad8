//! Statements over many rows at once: on SQLite every statement crosses to a thread and back, and everywhere
//! a row of its own costs a round trip.
//!
//! PostgreSQL takes all rows with one statement, as an array for each column. SQLite takes them in lots of a few sizes,
//! so that a handful of prepared statements serves every batch.

use std::sync::{Arc, OnceLock};

use sqlx::AssertSqlSafe;

use super::connection::{Connection, Row};
use super::error::StoreError;

/// How many rows go into one statement of SQLite. The widest row times the greatest lot stays far below the 32,766
/// parameters that it takes.
const LOTS: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// How many statements a connection has to remember, for each text one of every lot.
pub(super) const PREPARED: usize = 512;

/// One value of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Text(Option<&'a str>),
    Number(Option<i64>),
}

impl<'a> Cell<'a> {
    /// The type that PostgreSQL has for it.
    fn postgres(&self) -> &'static str {
        match self {
            Self::Text(_) => "TEXT",
            Self::Number(_) => "INT8",
        }
    }

    fn text(&self) -> Option<&'a str> {
        if let Self::Text(text) = *self { text } else { None }
    }

    fn number(&self) -> Option<i64> {
        if let Self::Number(number) = *self { number } else { None }
    }
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

/// A statement over rows of so many columns. `VALUES {rows}` in its text stands for them.
pub(super) struct Statement<const COLUMNS: usize> {
    text: &'static str,
    sqlite: [OnceLock<Arc<str>>; LOTS.len()],
    postgres: OnceLock<Arc<str>>,
}

impl<const COLUMNS: usize> Statement<COLUMNS> {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, sqlite: [const { OnceLock::new() }; LOTS.len()], postgres: OnceLock::new() }
    }

    /// Runs it over rows; nothing when there are none.
    pub(super) async fn execute(
        &'static self,
        db: &mut Connection,
        rows: &[[Cell<'_>; COLUMNS]],
    ) -> Result<(), StoreError> {
        self.fetch(db, rows).await.map(drop)
    }

    /// Runs it over rows, and answers with what it returns.
    pub(super) async fn fetch(
        &'static self,
        db: &mut Connection,
        rows: &[[Cell<'_>; COLUMNS]],
    ) -> Result<Vec<Row>, StoreError> {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        if let Some(arrays) = db.arrays() {
            return arrays.fetch(self.over_arrays(first), &columns(rows)).await;
        }
        let mut answers = Vec::new();
        for (text, rows) in self.lots(rows) {
            answers.append(&mut db.fetch(text, rows.as_flattened()).await?);
        }
        Ok(answers)
    }

    /// The text for SQLite, for each lot, and its rows: `VALUES (?,?),(?,?)`.
    fn lots<'a, 'c>(
        &'static self,
        mut rows: &'a [[Cell<'c>; COLUMNS]],
    ) -> impl Iterator<Item = (Text, &'a [[Cell<'c>; COLUMNS]])> {
        std::iter::from_fn(move || {
            let (lot, text) = LOTS.iter().zip(&self.sqlite).find(|(lot, _)| **lot <= rows.len())?;
            let (now, later) = rows.split_at(*lot);
            rows = later;
            let text = text
                .get_or_init(|| self.text.replace("{rows}", &placeholders(COLUMNS, *lot, unnamed)).into());
            // Nothing but marks for parameters was put into a text that is a constant.
            Some((AssertSqlSafe(Arc::clone(text)), now))
        })
    }

    /// The text for PostgreSQL, for any number of rows like this one: an array for each column.
    fn over_arrays(&'static self, row: &[Cell<'_>; COLUMNS]) -> Text {
        let text = self.postgres.get_or_init(|| {
            let (arrays, names): (Vec<_>, Vec<_>) = (row.iter().zip(1..))
                .map(|(cell, number)| {
                    (format!("${number}::{}[]", cell.postgres()), format!("column{number}"))
                })
                .unzip();
            let rows = format!("SELECT * FROM UNNEST({}) AS u ({})", arrays.join(", "), names.join(", "));
            self.text.replace("VALUES {rows}", &rows).into()
        });
        // Marks for parameters, their types and names of columns.
        AssertSqlSafe(Arc::clone(text))
    }
}

type Text = AssertSqlSafe<Arc<str>>;

/// A column of rows.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Text(Vec<Option<&'a str>>),
    Number(Vec<Option<i64>>),
}

/// A column holds what its first cell does: text or numbers.
fn columns<'a, const COLUMNS: usize>(rows: &[[Cell<'a>; COLUMNS]]) -> Vec<Column<'a>> {
    let mut columns = Vec::with_capacity(COLUMNS);
    for at in 0..COLUMNS {
        let cells = || rows.iter().filter_map(|row| row.get(at));
        columns.push(match cells().next() {
            Some(Cell::Number(_)) => Column::Number(cells().map(Cell::number).collect()),
            _ => Column::Text(cells().map(Cell::text).collect()),
        });
    }
    columns
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
