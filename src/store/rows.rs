//! Statements over many rows at once: on SQLite every statement crosses to a thread and back, and everywhere
//! a row of its own costs a round trip.
//!
//! PostgreSQL takes all rows with one statement, as an array for each column. SQLite takes them in lots of a few sizes,
//! filled up with rows that are left out again, so that prepared statements can be used again. `Script` has several run
//! in few goes.

mod script;

use std::sync::{Arc, OnceLock};

use sqlx::AssertSqlSafe;

pub(super) use self::script::{Answers, Asked, Script};
use super::connection::{Connection, Row};
use super::error::StoreError;
use crate::domain::{InvitationId, MembershipId, OrganizationId, UserId};

/// How many rows go into one statement of SQLite: powers of two, up to this one. A page of Clerk's fits into it. The
/// widest row times this stays far below the 32,766 parameters that SQLite takes.
pub(super) const GREATEST_LOT: usize = 512;

/// How many sizes of lots there are.
const LOTS: usize = GREATEST_LOT.ilog2() as usize + 1;

/// How many statements, or scripts of them, a connection remembers. One of many rows takes some hundred KiB.
pub(super) const PREPARED: usize = 128;

/// One value of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Text(Option<&'a str>),
    /// A text that goes to SQLite's thread without a copy.
    Id(&'a Arc<str>),
    Number(Option<i64>),
}

impl<'a> Cell<'a> {
    /// The type that PostgreSQL has for it.
    fn postgres(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Id(_) => "TEXT",
            Self::Number(_) => "INT8",
        }
    }

    fn text(&self) -> Option<&'a str> {
        match *self {
            Self::Text(text) => text,
            Self::Id(id) => Some(id),
            Self::Number(_) => None,
        }
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

macro_rules! id {
    ($($id:ident),*) => {$(
        impl<'a> From<&'a $id> for Cell<'a> {
            fn from(id: &'a $id) -> Self {
                Self::Id(id.as_shared())
            }
        }

        impl<'a> From<Option<&'a $id>> for Cell<'a> {
            fn from(id: Option<&'a $id>) -> Self {
                id.map_or(Self::Text(None), Self::from)
            }
        }
    )*};
}

id!(UserId, OrganizationId, MembershipId, InvitationId);

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

/// A statement over rows of so many columns. `VALUES {rows}` in its text stands for them. The first cell of a row is
/// never NULL. Where they are joined with, a row that is given twice is found twice.
pub(super) struct Statement<const COLUMNS: usize>(Forms);

impl<const COLUMNS: usize> Statement<COLUMNS> {
    pub(super) const fn new(text: &'static str) -> Self {
        let sqlite = [const { OnceLock::new() }; LOTS];
        Self(Forms { text, columns: COLUMNS, sqlite, postgres: OnceLock::new() })
    }

    /// Over so many rows, for SQLite.
    #[cfg(test)]
    pub(super) fn over_lot(&self, rows: usize) -> String {
        self.0.over_lot(rows)
    }

    /// Runs it over rows, and answers with what it returns; nothing when there are none.
    pub(super) async fn fetch(
        &'static self,
        db: &mut Connection,
        rows: &[[Cell<'_>; COLUMNS]],
    ) -> Result<Vec<Row>, StoreError> {
        self.0.fetch(db, rows.as_flattened().to_vec()).await
    }
}

/// A statement as each database takes it.
struct Forms {
    text: &'static str,
    columns: usize,
    sqlite: [OnceLock<Arc<str>>; LOTS],
    postgres: OnceLock<Arc<str>>,
}

impl Forms {
    async fn fetch(
        &'static self,
        db: &mut Connection,
        mut cells: Vec<Cell<'_>>,
    ) -> Result<Vec<Row>, StoreError> {
        let Some(first) = cells.get(..self.columns) else { return Ok(Vec::new()) };
        if let Some(arrays) = db.arrays() {
            let text = self.postgres.get_or_init(|| self.over_arrays(first, 1).into());
            // Marks for parameters, their types and names of columns.
            return arrays.fetch(AssertSqlSafe(Arc::clone(text)), &columns(&cells, self.columns)).await;
        }
        self.fill_up(&mut cells);
        let mut answers = Vec::new();
        for (text, cells) in self.lots(&cells) {
            answers.append(&mut db.fetch(AssertSqlSafe(Arc::clone(text)), cells).await?);
        }
        Ok(answers)
    }

    /// Adds rows of NULLs, so that the last lot has one of the sizes that there are.
    fn fill_up(&self, cells: &mut Vec<Cell<'_>>) {
        debug_assert!(
            cells
                .iter()
                .step_by(self.columns)
                .all(|first| first.text().is_some() || first.number().is_some()),
            "such a row would be left out"
        );
        let rows = cells.len() / self.columns;
        let last = rows % GREATEST_LOT;
        if last > 0 {
            cells.resize((rows - last + last.next_power_of_two()) * self.columns, Cell::Text(None));
        }
    }

    /// The text for SQLite, for each lot, and its rows, which are filled up.
    fn lots<'a, 'c>(
        &'static self,
        cells: &'a [Cell<'c>],
    ) -> impl Iterator<Item = (&'static Arc<str>, &'a [Cell<'c>])> {
        cells.chunks(GREATEST_LOT * self.columns).filter_map(|cells| {
            let rows = cells.len() / self.columns;
            let text = self.sqlite.get(rows.ilog2() as usize)?;
            Some((text.get_or_init(|| self.over_lot(rows).into()), cells))
        })
    }

    /// `VALUES (?,?),(?,?)`, without those that the lot was filled up with.
    fn over_lot(&self, rows: usize) -> String {
        let values = format!("VALUES {}", placeholders(self.columns, rows, unnamed));
        // One row and two are never filled up.
        let rows = if rows > 2 {
            format!("SELECT * FROM ({values}) AS v WHERE v.column1 IS NOT NULL")
        } else {
            values
        };
        let text = self.text.replace("VALUES {rows}", &rows);
        // A batch ends with the first statement that fails. To undo alone one that blanks a whole organization, SQLite would
        // keep a copy of every page that it changes, in memory.
        match text.strip_prefix("UPDATE ") {
            Some(what) => format!("UPDATE OR ROLLBACK {what}"),
            None => text,
        }
    }

    /// The text for PostgreSQL, for any number of rows like this one: an array for each column, the parameters
    /// from `first` on.
    fn over_arrays(&self, row: &[Cell<'_>], first: usize) -> String {
        let (arrays, names): (Vec<_>, Vec<_>) = (row.iter().zip(1..))
            .map(|(cell, number)| {
                (format!("${}::{}[]", first + number - 1, cell.postgres()), format!("column{number}"))
            })
            .unzip();
        let rows = format!("SELECT * FROM UNNEST({}) AS u ({})", arrays.join(", "), names.join(", "));
        self.text.replace("VALUES {rows}", &rows)
    }

    /// Whether it is a `SELECT`. What others return is not handed on.
    fn asks(&self) -> bool {
        self.text.starts_with("SELECT")
    }
}

/// A column of rows.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Text(Vec<Option<&'a str>>),
    Number(Vec<Option<i64>>),
}

/// A column holds what its first cell does: text or numbers.
fn columns<'a>(cells: &[Cell<'a>], columns: usize) -> Vec<Column<'a>> {
    let column = |at: usize| {
        let cells = || cells.iter().skip(at).step_by(columns);
        match cells().next() {
            Some(Cell::Number(_)) => Column::Number(cells().map(Cell::number).collect()),
            _ => Column::Text(cells().map(Cell::text).collect()),
        }
    };
    (0..columns).map(column).collect()
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
pub(super) fn ids<'a, I: Into<Cell<'a>>>(ids: impl IntoIterator<Item = I>) -> Vec<[Cell<'a>; 1]> {
    ids.into_iter().map(|id| [cell(id)]).collect()
}
