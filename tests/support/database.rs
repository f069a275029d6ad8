//! A real database for a test, and a look at its rows.

use std::ops::Deref;
use std::path::Path;

use roster::config::Database;
use roster::store::Store;
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{
    AssertSqlSafe, Column as _, ColumnIndex, ConnectOptions as _, Connection as _, Decode, Row, Type,
    ValueRef as _,
};

use super::binary::Program;
use super::cluster::Cluster;

/// Which of the two databases a test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Makes each of these functions of a [`Kind`] a test on either database.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $test() {
                $crate::support::database::wait_for(super::$test($crate::support::database::Kind::Sqlite));
            })+
        }
        mod postgres {
            $(#[test]
            fn $test() {
                $crate::support::database::wait_for(super::$test($crate::support::database::Kind::Postgres));
            })+
        }
    };
}
pub(crate) use on_both_databases;

/// Copies the files of a database as they are at one moment, as a cut of power leaves them.
pub fn copy_at_once(program: &Program, from: &Path, to: &Path) {
    program.frozen(|| {
        for file in ["roster.db", "roster.db-wal"] {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    });
}

/// Runs a test to its end.
pub fn wait_for<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// A store in a database of its own, gone with the value.
pub struct TestStore {
    pub store: Store,
    pub folder: tempfile::TempDir,
    pub database: Database,
    rows: Rows,
}

impl TestStore {
    pub async fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap()).await
    }

    /// On either database.
    pub async fn on(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::new().await,
            Kind::Postgres => Self::open(tempfile::tempdir().unwrap(), server_database().await).await,
        }
    }

    /// One that forgets everything when the machine stops: for tests that open hundreds of them.
    pub async fn in_memory() -> Self {
        Self::within(folder_in_memory()).await
    }

    /// The same with the content of a closed file.
    pub async fn copy_of(file: &Path) -> Self {
        let folder = folder_in_memory();
        std::fs::copy(file, folder.path().join("roster.db")).unwrap();
        Self::within(folder).await
    }

    /// Another instance on the same database.
    pub async fn another(&self) -> Self {
        Self::open(tempfile::tempdir().unwrap(), self.database.clone()).await
    }

    async fn within(folder: tempfile::TempDir) -> Self {
        let path = folder.path().join("roster.db");
        Self::open(folder, Database::Sqlite(path)).await
    }

    async fn open(folder: tempfile::TempDir, database: Database) -> Self {
        let store = Store::open(&database).await.unwrap();
        let rows = Rows::in_database(&database).await;
        Self { store, folder, database, rows }
    }

    /// Writes past the program, as somebody with the database at hand could.
    pub async fn plant(&self, sql: &'static str) {
        match &self.database {
            Database::Sqlite(path) => {
                let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Database::Postgres(url) => {
                let options: sqlx::postgres::PgConnectOptions = url.expose_secret().parse().unwrap();
                let mut connection = options.connect().await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}

/// A new database on the server that the tests share.
pub async fn server_database() -> Database {
    let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap();
    Database::Postgres(cluster.url(&cluster.database().await).into())
}

fn folder_in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Everything that can be seen in the file can be asked of the store of a test.
impl Deref for TestStore {
    type Target = Rows;

    fn deref(&self) -> &Rows {
        &self.rows
    }
}

/// A look at the rows of a database, past the program.
pub enum Rows {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Rows {
    pub async fn of(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).pragma("query_only", "on");
        Self::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
    }

    pub async fn in_database(database: &Database) -> Self {
        match database {
            Database::Sqlite(path) => Self::of(path).await,
            Database::Postgres(url) => {
                let pool = PgPoolOptions::new().max_connections(1);
                Self::Postgres(pool.connect(url.expose_secret()).await.unwrap())
            }
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// Every row of a query, a line each, with `prefix` taken out of the text.
    pub async fn rows(&self, sql: &str, prefix: &str) -> Vec<String> {
        let query = AssertSqlSafe(sql.to_owned());
        let line = |cells: Vec<(String, String)>| {
            let cells =
                cells.into_iter().map(|(name, value)| format!("{name}={}", value.replace(prefix, "")));
            cells.collect::<Vec<_>>().join(" ")
        };
        match self {
            Self::Sqlite(pool) => {
                let rows = sqlx::query(query).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| line(cells(row))).collect()
            }
            Self::Postgres(pool) => {
                let rows = sqlx::query(query).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| line(cells(row))).collect()
            }
        }
    }

    /// Every row of every table but the migrations', a line each.
    pub async fn everything(&self) -> Vec<String> {
        self.tables(|_| true).await
    }

    /// Every row of the read model; the journal and what goes with it left out.
    pub async fn model(&self) -> Vec<String> {
        self.tables(|table| table != "events" && table != "progress").await
    }

    async fn tables(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let names = match self {
            Self::Sqlite(_) => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
                    AND name <> '_sqlx_migrations' ORDER BY name"
            }
            Self::Postgres(_) => {
                "SELECT table_name AS name FROM information_schema.tables
                    WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations' ORDER BY 1"
            }
        };
        let mut lines = Vec::new();
        for name in self.rows(names, "name=").await {
            let name = name.trim_start_matches("name=");
            if wanted(name) {
                let mut rows = self.rows(&format!("SELECT * FROM {name}"), "").await;
                rows.sort();
                lines.extend(rows.into_iter().map(|row| format!("{name}: {row}")));
            }
        }
        lines
    }

    /// The journal, as `message type outcome`, in the order of message ids.
    pub async fn journal(&self) -> Vec<String> {
        let rows = self.rows("SELECT message_id, type, outcome FROM events ORDER BY message_id", "").await;
        let cells = ["message_id=", "type=", "outcome="];
        rows.into_iter().map(|row| cells.iter().fold(row, |row, cell| row.replace(cell, ""))).collect()
    }

    /// The whole read model of the objects whose ids begin with `prefix`. Digests speak of ids, so they are
    /// left out where several prefixes are compared.
    pub async fn read_model(&self, prefix: &str) -> Vec<String> {
        let range = format!("BETWEEN '{prefix}' AND '{prefix}~'");
        let version = "updated_at_ms, observed_at_ms";
        let queries = [
            format!(
                "SELECT id, {version}, first_name, last_name, username, email, image_url, has_image, banned,
                    public_metadata, created_at_ms, last_sign_in_at_ms, deleted_at_ms
                FROM users WHERE id {range} ORDER BY id"
            ),
            format!(
                "SELECT id, {version}, name, deleted_at_ms FROM organizations WHERE id {range} ORDER BY id"
            ),
            format!(
                "SELECT id, {version}, organization_id, user_id, created_at_ms, role, public_metadata,
                    deleted_at_ms, fallen, unlistable FROM memberships WHERE id {range} ORDER BY id"
            ),
            format!(
                "SELECT id, {version}, organization_id, user_id, email, role, status, public_metadata,
                    created_at_ms, expires_at_ms, deleted_at_ms, fallen
                FROM invitations WHERE id {range} ORDER BY id"
            ),
            format!("SELECT * FROM members WHERE organization_id {range} ORDER BY organization_id, user_id"),
            format!("SELECT message_id, payload FROM events WHERE message_id {range} ORDER BY message_id"),
        ];
        let mut lines = Vec::new();
        for query in queries {
            lines.extend(self.rows(&query, prefix).await);
        }
        lines
    }
}

/// The names and the values of a row.
fn cells<R: Row>(row: &R) -> Vec<(String, String)>
where
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
{
    let cell = |column: &<R::Database as sqlx::Database>::Column| {
        let at = column.ordinal();
        let value = if row.try_get_raw(at).unwrap().is_null() {
            "-".to_owned()
        } else if let Ok(number) = row.try_get::<i64, _>(at) {
            number.to_string()
        } else {
            row.try_get::<String, _>(at).unwrap()
        };
        (column.name().to_owned(), value)
    };
    row.columns().iter().map(cell).collect()
}
