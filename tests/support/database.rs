//! A real SQLite file for a test, and a look at its rows.

use std::ops::Deref;
use std::path::Path;

use roster::config::Database;
use roster::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Row as _, ValueRef as _};

/// A store in a folder of its own, gone with the value.
pub struct TestStore {
    pub store: Store,
    pub folder: tempfile::TempDir,
    rows: Rows,
}

impl TestStore {
    pub async fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap()).await
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

    async fn within(folder: tempfile::TempDir) -> Self {
        let path = folder.path().join("roster.db");
        let store = Store::open(&Database::Sqlite(path.clone())).await.unwrap();
        let rows = Rows::of(&path).await;
        Self { store, folder, rows }
    }

    /// Writes past the program, as somebody with the file at hand could.
    pub async fn plant(&self, sql: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("roster.db"));
        let mut connection = options.connect().await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
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

/// A look at the rows of a file, past the program.
pub struct Rows(SqlitePool);

impl Rows {
    pub async fn of(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).pragma("query_only", "on");
        Self(SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
    }

    pub async fn close(&self) {
        self.0.close().await;
    }

    /// Every row of a query, a line each, with `prefix` taken out of the text.
    pub async fn rows(&self, sql: &str, prefix: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&self.0).await.unwrap();
        rows.iter()
            .map(|row| {
                let cells = row.columns().iter().map(|column| {
                    let raw = row.try_get_raw(column.ordinal()).unwrap();
                    let value = if raw.is_null() {
                        "-".to_owned()
                    } else if let Ok(number) = row.try_get::<i64, _>(column.ordinal()) {
                        number.to_string()
                    } else {
                        row.try_get::<String, _>(column.ordinal()).unwrap()
                    };
                    format!("{}={}", column.name(), value.replace(prefix, ""))
                });
                cells.collect::<Vec<_>>().join(" ")
            })
            .collect()
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
        let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
            AND name <> '_sqlx_migrations' ORDER BY name";
        let names: Vec<(String,)> = sqlx::query_as(names).fetch_all(&self.0).await.unwrap();
        let mut lines = Vec::new();
        for (name,) in names.iter().filter(|(name,)| wanted(name)) {
            let rows = self.rows(&format!("SELECT * FROM {name} ORDER BY 1, 2"), "").await;
            lines.extend(rows.into_iter().map(|row| format!("{name}: {row}")));
        }
        lines
    }

    /// The journal, as `message type outcome`, in the order of message ids.
    pub async fn journal(&self) -> Vec<String> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT message_id, type, outcome FROM events ORDER BY message_id")
                .fetch_all(&self.0)
                .await
                .unwrap();
        rows.into_iter().map(|(id, event_type, outcome)| format!("{id} {event_type} {outcome}")).collect()
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
                    deleted_at_ms, fallen FROM memberships WHERE id {range} ORDER BY id"
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
