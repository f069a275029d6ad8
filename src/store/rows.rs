//! Statements over many rows at once: on SQLite every statement crosses to a thread and back, and everywhere
//! a row of its own costs a round trip.
//!
//! PostgreSQL takes all rows with one statement, as an array for each column. SQLite takes them in lots of a few sizes,
//! filled up with rows that are left out again, so that prepared statements can be used again; and small ones together.

use std::sync::{Arc, OnceLock};

use sqlx::AssertSqlSafe;

use super::connection::{Connection, PART, Row};
use super::error::StoreError;
use crate::domain::{InvitationId, MembershipId, OrganizationId, UserId};

/// How many rows go into one statement of SQLite: powers of two, up to this one. A page of Clerk's fits into it. The
/// widest row times this stays far below the 32,766 parameters that SQLite takes.
pub(super) const GREATEST_LOT: usize = 512;

/// How many sizes of lots there are.
const LOTS: usize = GREATEST_LOT.ilog2() as usize + 1;

/// Up to how many rows of a statement go to SQLite together with other statements. The hand-over of more does not
/// count beside the work, and each text is remembered with all that is prepared for it: with a statement of more rows go
/// only such of one row.
const TOGETHER: usize = 64;

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

/// Statements that are run step by step, as they were added.
///
/// To SQLite they go together, as one text: each hand-over to the thread of a connection and back takes longer than
/// a statement over a few rows. sqlx runs every statement of a text there and gives each the parameters that follow those of the
/// one before.
///
/// PostgreSQL is given those of a step as one statement, because each round trip takes longer than most of them. There
/// none of a step sees what the others write, so they must not depend on each other, nor write the same rows.
#[derive(Default)]
pub(super) struct Script<'a> {
    added: Vec<Added<'a>>,
    step: usize,
}

struct Added<'a> {
    forms: &'static Forms,
    cells: Vec<Cell<'a>>,
    step: usize,
}

/// The place of a statement in its script.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked(usize);

/// What the statements of a script returned.
pub(super) struct Answers(Vec<Vec<Row>>);

impl Answers {
    /// The rows of one of them, once.
    pub(super) fn take(&mut self, asked: Asked) -> Vec<Row> {
        self.0.get_mut(asked.0).map(std::mem::take).unwrap_or_default()
    }

    fn add(&mut self, at: usize, rows: impl IntoIterator<Item = Row>) {
        if let Some(answer) = self.0.get_mut(at) {
            answer.extend(rows);
        }
    }
}

impl<'a> Script<'a> {
    /// Adds a statement; it is left out when there are no rows.
    pub(super) fn add<const COLUMNS: usize>(
        &mut self,
        statement: &'static Statement<COLUMNS>,
        rows: impl IntoIterator<Item = [Cell<'a>; COLUMNS]>,
    ) -> Asked {
        debug_assert!(!statement.0.text.contains("RETURNING"), "on PostgreSQL nobody would see it");
        let cells = rows.into_iter().flatten().collect();
        self.added.push(Added { forms: &statement.0, cells, step: self.step });
        Asked(self.added.len() - 1)
    }

    /// What is added from now on sees what was written before.
    pub(super) fn then(&mut self) {
        self.step += 1;
    }

    /// Runs them all.
    pub(super) async fn run(self, db: &mut Connection) -> Result<Answers, StoreError> {
        let mut answers = Answers(self.added.iter().map(|_| Vec::new()).collect());
        if db.is_postgres() {
            self.run_joined(db, &mut answers).await?;
            return Ok(answers);
        }
        let (mut group, mut most) = (Vec::new(), 0);
        for (at, added) in self.added.into_iter().enumerate().filter(|(_, added)| !added.cells.is_empty()) {
            let rows = added.cells.len() / added.forms.columns;
            if !go_together(most, rows) {
                run_group(db, std::mem::take(&mut group), &mut answers).await?;
                most = 0;
            }
            most = most.max(rows);
            group.push((at, added));
        }
        run_group(db, group, &mut answers).await?;
        Ok(answers)
    }

    async fn run_joined(self, db: &mut Connection, answers: &mut Answers) -> Result<(), StoreError> {
        let all: Vec<_> =
            self.added.iter().enumerate().filter(|(_, added)| !added.cells.is_empty()).collect();
        for step in all.chunk_by(|(_, one), (_, next)| one.step == next.step) {
            let Some(arrays) = db.arrays() else { break };
            let statements = || step.iter().map(|(_, added)| *added);
            let columns: Vec<_> =
                statements().flat_map(|added| columns(&added.cells, added.forms.columns)).collect();
            // Constants, and marks for parameters.
            let rows = arrays.fetch(AssertSqlSafe(joined(statements())), &columns).await?;
            let asked: Vec<_> = step.iter().filter(|(_, added)| added.forms.asks()).collect();
            match asked.as_slice() {
                [] => {}
                [(at, _)] => answers.add(*at, rows),
                several => {
                    for row in rows {
                        let (part, row) = row.part()?;
                        if let Some((at, _)) = several.get(part) {
                            answers.add(*at, [row]);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether statements over up to so many rows, and one over so many, go to SQLite as one text.
fn go_together(most: usize, rows: usize) -> bool {
    let (fewer, more) = (most.min(rows), most.max(rows));
    more <= TOGETHER || fewer <= 1 && more <= GREATEST_LOT
}

/// Hands statements to SQLite as one text, but one that is alone lot by lot.
async fn run_group(
    db: &mut Connection,
    mut group: Vec<(usize, Added<'_>)>,
    answers: &mut Answers,
) -> Result<(), StoreError> {
    if group.len() <= 1 {
        if let Some((at, Added { forms, cells, .. })) = group.pop() {
            answers.add(at, forms.fetch(db, cells).await?);
        }
        return Ok(());
    }
    let (mut together, mut all_cells, mut lots) = (String::new(), Vec::new(), Vec::new());
    for (at, Added { forms, mut cells, .. }) in group {
        forms.fill_up(&mut cells);
        for (text, cells) in forms.lots(&cells) {
            together.push_str(text);
            together.push(';');
            all_cells.extend_from_slice(cells);
            lots.push(at);
        }
    }
    // Texts of lots.
    let rows = db.fetch_each(AssertSqlSafe(together), &all_cells).await?;
    for (at, rows) in lots.into_iter().zip(rows) {
        answers.add(at, rows);
    }
    Ok(())
}

/// One statement of PostgreSQL that does what several do, and returns what each `SELECT` of them returns: a full join on
/// nothing has the rows of both sides, one after the other, and the columns of both. `Row::part` takes them apart.
fn joined<'a>(all: impl Iterator<Item = &'a Added<'a>>) -> String {
    let (mut asking, mut writing, mut first) = (Vec::new(), Vec::new(), 1);
    for (number, Added { forms, cells, .. }) in all.enumerate() {
        let text = forms.over_arrays(cells.get(..forms.columns).unwrap_or_default(), first);
        first += forms.columns;
        if forms.asks() {
            asking.push(text);
        } else {
            writing.push(format!("w{number} AS ({text})"));
        }
    }
    let asks = match asking.as_slice() {
        [] => "SELECT".to_owned(),
        [alone] => alone.clone(),
        several => {
            let part = |(number, text): (usize, &String)| {
                let on = if number == 0 { "" } else { " ON FALSE" };
                format!("(SELECT TRUE AS {PART}, a.* FROM ({text}) AS a) AS a{number}{on}")
            };
            let parts: Vec<_> = several.iter().enumerate().map(part).collect();
            format!("SELECT * FROM {}", parts.join(" FULL JOIN "))
        }
    };
    if writing.is_empty() { asks } else { format!("WITH {} {asks}", writing.join(", ")) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite;

    static INSERT: Statement<2> = Statement::new("INSERT INTO sequences (name, value) VALUES {rows}");
    static FIND: Statement<1> = Statement::new(
        "SELECT s.name, s.value FROM (VALUES {rows}) AS r CROSS JOIN sequences s WHERE s.name = r.column1
        ORDER BY s.name",
    );
    static FORGET: Statement<1> =
        Statement::new("DELETE FROM sequences WHERE name IN (VALUES {rows}) RETURNING name");

    #[tokio::test]
    async fn as_many_rows_come_out_as_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        sqlite::prepare(&path).await.unwrap();
        let db = &mut sqlite::writer(&path).acquire().await.unwrap();
        for count in [0, 1, 2, 3, 5, 63, 64, 65, 511, 512, 513, 1_100] {
            let names: Vec<_> = (0..count).map(|number: i64| format!("name {number:04}")).collect();
            let rows = || names.iter().zip(0..).map(|(name, number)| [cell(name.as_str()), cell(number)]);
            let mut script = Script::default();
            script.add(&INSERT, rows());
            let found = script.add(&FIND, ids(names.iter().map(String::as_str)));
            let found = script.run(db).await.unwrap().take(found);
            let found: Vec<(String, i64)> = found.iter().map(|row| row.tuple().unwrap()).collect();
            assert_eq!(found, names.iter().cloned().zip(0..).collect::<Vec<_>>());
            let forgotten = FORGET.fetch(db, &ids(names.iter().map(String::as_str))).await.unwrap();
            assert_eq!(forgotten.len(), names.len());
        }
    }
}
