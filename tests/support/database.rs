//! A real SQLite file for a test, and a look at its rows.

use roster::config::Database;
use roster::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Column as _, Row as _, ValueRef as _};

/// A store in a folder of its own, gone with the value.
pub struct TestStore {
    pub store: Store,
    pub folder: tempfile::TempDir,
    rows: SqlitePool,
}

impl TestStore {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        let store = Store::open(&Database::Sqlite(path.clone())).await.unwrap();
        let rows = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(SqliteConnectOptions::new().filename(path))
            .await
            .unwrap();
        Self { store, folder, rows }
    }

    /// Every row of a query, a line each, with `prefix` taken out of the text.
    pub async fn rows(&self, sql: &str, prefix: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&self.rows).await.unwrap();
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
