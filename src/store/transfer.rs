//! Moves a site from one database to another, row by row, and checks what has arrived.
//!
//! The source is read in one transaction. Rows come in the order of their keys, so a move that was cut off goes on
//! behind the last row that had arrived. Until the end the target is marked, and no service opens it.

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::AssertSqlSafe;

use super::Store;
use super::connection::{Connection, Row};
use super::error::StoreError;
use super::rows::{Cell, cell, values};

/// How many rows one transaction takes.
const ROWS: usize = 500;

/// Stands in the target's counters while a move is not finished.
const MARK: &str = "moving";

/// What a column holds.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    Number,
}
use Holds::{Number, Text};

struct Table {
    name: &'static str,
    /// How many of the first columns are the key.
    key: usize,
    columns: &'static [(&'static str, Holds)],
}

/// All tables but `leases`: who holds one holds it where it was. The counters come last, by themselves.
const TABLES: [Table; 8] = [
    Table {
        name: "users",
        key: 1,
        columns: &[
            ("id", Text),
            ("updated_at_ms", Number),
            ("observed_at_ms", Number),
            ("content_digest", Number),
            ("first_name", Text),
            ("last_name", Text),
            ("username", Text),
            ("email", Text),
            ("image_url", Text),
            ("has_image", Number),
            ("banned", Number),
            ("public_metadata", Text),
            ("created_at_ms", Number),
            ("last_sign_in_at_ms", Number),
            ("deleted_at_ms", Number),
        ],
    },
    Table {
        name: "organizations",
        key: 1,
        columns: &[
            ("id", Text),
            ("updated_at_ms", Number),
            ("observed_at_ms", Number),
            ("content_digest", Number),
            ("name", Text),
            ("created_at_ms", Number),
            ("deleted_at_ms", Number),
        ],
    },
    Table {
        name: "memberships",
        key: 1,
        columns: &[
            ("id", Text),
            ("organization_id", Text),
            ("user_id", Text),
            ("created_at_ms", Number),
            ("updated_at_ms", Number),
            ("observed_at_ms", Number),
            ("content_digest", Number),
            ("role", Text),
            ("public_metadata", Text),
            ("deleted_at_ms", Number),
            ("fallen", Number),
            ("unlistable", Number),
        ],
    },
    Table {
        name: "invitations",
        key: 1,
        columns: &[
            ("id", Text),
            ("organization_id", Text),
            ("user_id", Text),
            ("updated_at_ms", Number),
            ("observed_at_ms", Number),
            ("content_digest", Number),
            ("email", Text),
            ("role", Text),
            ("status", Text),
            ("public_metadata", Text),
            ("created_at_ms", Number),
            ("expires_at_ms", Number),
            ("deleted_at_ms", Number),
            ("fallen", Number),
        ],
    },
    Table {
        name: "members",
        key: 3,
        columns: &[
            ("organization_id", Text),
            ("account_created_at_ms", Number),
            ("user_id", Text),
            ("membership_id", Text),
            ("email_key", Text),
        ],
    },
    Table {
        name: "events",
        key: 1,
        columns: &[
            ("message_id", Text),
            ("type", Text),
            ("object_id", Text),
            ("user_id", Text),
            ("occurred_at_ms", Number),
            ("received_at_ms", Number),
            ("outcome", Text),
            ("error", Text),
            ("payload", Text),
        ],
    },
    Table {
        name: "passes",
        key: 1,
        columns: &[
            ("id", Text),
            ("kind", Text),
            ("outcome", Text),
            ("started_at_ms", Number),
            ("progress", Text),
        ],
    },
    Table {
        name: "changes",
        key: 3,
        columns: &[("version", Number), ("organization_id", Text), ("user_id", Text), ("kind", Text)],
    },
];

/// Why a site was not moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Nothing is overwritten.
    #[error("the target holds a site already: name an empty database")]
    Taken,
    /// The rows are not the same.
    #[error(
        "`{0}` is not the same on both sides: something wrote to one of them; empty the target, stop every service, and begin again"
    )]
    Differs(&'static str),
    /// One of the databases did not do it.
    #[error("a database could not be used; run the same command again, and it goes on where it stopped")]
    Store(#[from] StoreError),
}

/// How many rows of a table were moved and found to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The table.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
}

/// One value that is on its way.
enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

impl Value {
    fn cell(&self) -> Cell<'_> {
        match self {
            Self::Text(text) => cell(text),
            Self::Number(number) => cell(*number),
        }
    }
}

impl Table {
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn key(&self) -> String {
        self.columns.iter().take(self.key).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// The next rows after a key, in order.
    async fn page(&self, db: &mut Connection, after: &[Value]) -> Result<Vec<Vec<Value>>, StoreError> {
        let (names, key, table) = (self.names(), self.key(), self.name);
        let beyond = match after.len() {
            0 => String::new(),
            count => format!(
                "WHERE ({key}) > ({})",
                (1..=count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
            ),
        };
        // Names out of the table above, and marks for parameters.
        let text = format!("SELECT {names} FROM {table} {beyond} ORDER BY {key} LIMIT {ROWS}");
        let cells: Vec<_> = after.iter().map(Value::cell).collect();
        let rows = db.fetch(AssertSqlSafe(text), &cells).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    fn read(&self, row: &Row) -> Result<Vec<Value>, StoreError> {
        let columns = self.columns.iter().enumerate();
        let value = |(at, (_, holds)): (usize, &(_, Holds))| match holds {
            Text => Ok(Value::Text(row.try_get(at)?)),
            Number => Ok(Value::Number(row.try_get(at)?)),
        };
        columns.map(value).collect()
    }

    async fn insert(&self, db: &mut Connection, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        let marks = values(db.is_postgres(), self.columns.len(), rows.len());
        let text = format!("INSERT INTO {} ({}) VALUES {marks}", self.name, self.names());
        let cells: Vec<_> = rows.iter().flatten().map(Value::cell).collect();
        db.begin_writing().await?;
        db.execute(AssertSqlSafe(text), &cells).await?;
        db.commit().await
    }

    /// The key of the last row.
    async fn last(&self, db: &mut Connection) -> Result<Vec<Value>, StoreError> {
        let descending = self.key().replace(", ", " DESC, ");
        let text = format!("SELECT {} FROM {} ORDER BY {descending} DESC LIMIT 1", self.names(), self.name);
        let row = db.fetch_optional(AssertSqlSafe(text), &[]).await?;
        let mut last = row.map_or(Ok(Vec::new()), |row| self.read(&row))?;
        last.truncate(self.key);
        Ok(last)
    }

    async fn copy(&self, from: &mut Connection, to: &mut Connection) -> Result<(), StoreError> {
        let mut after = self.last(to).await?;
        loop {
            let mut rows = self.page(from, &after).await?;
            if !rows.is_empty() {
                self.insert(to, &rows).await?;
            }
            match rows.pop() {
                Some(last) if rows.len() + 1 == ROWS => after = self.key_of(last),
                _ => return Ok(()),
            }
        }
    }

    fn key_of(&self, mut row: Vec<Value>) -> Vec<Value> {
        row.truncate(self.key);
        row
    }

    /// How many rows there are, and a digest of all that they say.
    async fn sum(&self, db: &mut Connection) -> Result<(u64, Vec<u8>), StoreError> {
        let mut digest = Context::new(&SHA256);
        let (mut count, mut after) = (0, Vec::new());
        loop {
            let mut rows = self.page(db, &after).await?;
            for value in rows.iter().flatten() {
                // PostgreSQL has no zero byte, and keeps another character for it.
                let said = match value {
                    Value::Text(text) => {
                        format!("t{:?};", text.as_ref().map(|text| text.replace('\0', "\u{fffd}")))
                    }
                    Value::Number(number) => format!("n{number:?};"),
                };
                digest.update(said.as_bytes());
            }
            count += rows.len() as u64;
            match rows.pop() {
                Some(last) if rows.len() + 1 == ROWS => after = self.key_of(last),
                _ => return Ok((count, digest.finish().as_ref().to_vec())),
            }
        }
    }
}

const SET: &str = "INSERT INTO sequences (name, value) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const UNSET: &str = "DELETE FROM sequences WHERE name = $1";
const COUNTERS: &str = "SELECT name, value FROM sequences ORDER BY name";
const MOMENTS: &str = "SELECT name, at_ms FROM progress ORDER BY name";
const SET_MOMENT: &str = "INSERT INTO progress (name, at_ms) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms";
const IS_MARKED: &str = "SELECT EXISTS (SELECT 1 FROM sequences WHERE name = $1)";

/// Whether a move into this database was begun and not finished.
pub(super) async fn is_under_way(db: &mut Connection) -> Result<bool, StoreError> {
    Ok(db.fetch_one(IS_MARKED, &[cell(MARK)]).await?.try_get(0)?)
}

/// Moves everything; `told` hears of each table that was found to be the same on both sides.
pub async fn run(from: &Store, to: &Store, mut told: impl FnMut(Moved)) -> Result<(), TransferError> {
    let mut source = from.readers.acquire().await?;
    let mut target = to.bookkeeping.acquire().await?;
    if is_under_way(&mut source).await? {
        return Err(StoreError::HalfMoved.into());
    }
    if !is_under_way(&mut target).await? {
        for table in &TABLES {
            if !table.last(&mut target).await?.is_empty() {
                return Err(TransferError::Taken);
            }
        }
        target.execute(SET, &[cell(MARK), cell(1_i64)]).await?;
    }
    if source.is_postgres() {
        // The moment that it shows is held until all of it is copied and compared.
        source.execute("SET idle_in_transaction_session_timeout = 0", &[]).await?;
    }
    source.begin_reading().await?;
    for table in &TABLES {
        table.copy(&mut source, &mut target).await?;
        let there = table.sum(&mut target).await?;
        if table.sum(&mut source).await? != there {
            return Err(TransferError::Differs(table.name));
        }
        if target.is_postgres() {
            // It plans by what it has counted, and by itself it would count a minute after the service has started.
            target.execute(AssertSqlSafe(format!("ANALYZE {}", table.name)), &[]).await?;
        }
        told(Moved { table: table.name, rows: there.0 });
    }
    let counters = source.fetch(COUNTERS, &[]).await?;
    let moments = source.fetch(MOMENTS, &[]).await?;
    target.begin_writing().await?;
    for (text, rows) in [(SET, counters), (SET_MOMENT, moments)] {
        for row in rows {
            let (name, value): (String, i64) = row.tuple().map_err(StoreError::from)?;
            target.execute(text, &[cell(name.as_str()), cell(value)]).await?;
        }
    }
    target.execute(UNSET, &[cell(MARK)]).await?;
    target.commit().await?;
    source.commit().await?;
    Ok(())
}
