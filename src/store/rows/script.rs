//! Statements over many rows, one after the other, in few goes.

use sqlx::AssertSqlSafe;

use super::{Cell, Forms, GREATEST_LOT, Statement, columns};
use crate::store::connection::{Connection, PART, Row};
use crate::store::error::StoreError;

/// Up to how many rows of a statement go to SQLite together with others of as many rows or fewer. The hand-over of more
/// counts less beside the work, and each text is remembered with all that is prepared for it.
const TOGETHER: usize = 64;

/// Statements that are run step by step, as they were added.
///
/// To SQLite neighbours go together, as one text, as far as their sizes allow: each hand-over to the thread of a
/// connection and back takes longer than a statement over a few rows. sqlx runs every statement of a text there and
/// gives each the parameters that follow those of the one before.
///
/// PostgreSQL is given those of a step as one statement, because each round trip takes longer than most of them. There
/// none of a step sees what the others write, so they must not depend on each other, nor write the same rows.
#[derive(Default)]
pub(in crate::store) struct Script<'a> {
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
pub(in crate::store) struct Asked(usize);

/// What the statements of a script returned.
pub(in crate::store) struct Answers(Vec<Vec<Row>>);

impl Answers {
    /// The rows of one of them, once.
    pub(in crate::store) fn take(&mut self, asked: Asked) -> Vec<Row> {
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
    pub(in crate::store) fn add<const COLUMNS: usize>(
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
    pub(in crate::store) fn then(&mut self) {
        self.step += 1;
    }

    /// Runs them all.
    pub(in crate::store) async fn run(self, db: &mut Connection) -> Result<Answers, StoreError> {
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

/// Whether a statement goes to SQLite with those before it, the greatest of which has `most` rows. Beside a great one
/// the others are as great or of one row, or there would be a text for each combination of sizes.
fn go_together(most: usize, rows: usize) -> bool {
    let (fewer, more) = (most.min(rows), most.max(rows));
    let is_alike = || fewer <= 1 || fewer.next_power_of_two() == more.next_power_of_two();
    more <= TOGETHER || more <= GREATEST_LOT && is_alike()
}

/// Hands statements to SQLite as one text. One that is alone goes lot by lot, with the texts that `fetch` has.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::{cell, ids};
    use crate::store::sqlite;

    static INSERT: Statement<2> = Statement::new("INSERT INTO sequences (name, value) VALUES {rows}");
    static FIND: Statement<1> = Statement::new(
        "SELECT s.name, s.value FROM (VALUES {rows}) AS r CROSS JOIN sequences s WHERE s.name = r.column1
        ORDER BY s.name",
    );
    static FORGET: Statement<1> =
        Statement::new("DELETE FROM sequences WHERE name IN (VALUES {rows}) RETURNING name");

    async fn database() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        sqlite::prepare(&path).await.unwrap();
        let db = sqlite::writer(&path).acquire().await.unwrap();
        (folder, db)
    }

    #[tokio::test]
    async fn as_many_rows_come_out_as_went_in() {
        let (_folder, mut db) = database().await;
        let db = &mut db;
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

    #[tokio::test]
    async fn each_statement_sees_what_those_before_it_wrote() {
        let (_folder, mut db) = database().await;
        for count in [1, 2, 64, 65, 512, 513, 1_100] {
            let names: Vec<_> = (0..count).map(|number| format!("many {number:04}")).collect();
            let all = || names.iter().map(String::as_str);
            let few = || all().take(2);
            let mut script = Script::default();
            let first_before = script.add(&FIND, ids(all().take(1)));
            script.add(&INSERT, all().skip(2).map(|name| [cell(name), cell(0)]));
            let rest = script.add(&FIND, ids(all()));
            script.add(&INSERT, few().map(|name| [cell(name), cell(1)]));
            let first = script.add(&FIND, ids(all().take(1)));
            let whole = script.add(&FIND, ids(all()));
            let mut answers = script.run(&mut db).await.unwrap();
            let found = [first_before, rest, first, whole].map(|asked| answers.take(asked).len());
            assert_eq!(found, [0, names.len().saturating_sub(2), 1, names.len()], "{count} names");
            FORGET.fetch(&mut db, &ids(all())).await.unwrap();
        }
    }

    #[test]
    fn great_statements_go_with_their_like_and_with_single_rows() {
        for (most, rows) in [(0, 512), (1, 512), (512, 1), (2, 64), (65, 128), (257, 512)] {
            assert!(go_together(most, rows), "{most} and {rows}");
        }
        for (most, rows) in [(2, 65), (65, 2), (64, 65), (256, 257), (1, 513), (513, 1), (513, 513)] {
            assert!(!go_together(most, rows), "{most} and {rows}");
        }
    }
}
