//! A database that belongs to another program, such as the app in whose `.env` it stands.

use roster::config::Database;
use roster::store::{Store, StoreError};
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::support::database::{Kind, on_both_databases, server_database};

on_both_databases!(tables_of_others_are_not_mixed_with_ours);

async fn run(database: &Database, text: &str) {
    let text = AssertSqlSafe(text.to_owned());
    match database {
        Database::Sqlite(path) => {
            let file = SqliteConnectOptions::new().filename(path).create_if_missing(true);
            sqlx::raw_sql(text).execute(&mut file.connect().await.unwrap()).await.unwrap();
        }
        Database::Postgres(url) => {
            let server: PgConnectOptions = url.expose_secret().parse().unwrap();
            sqlx::raw_sql(text).execute(&mut server.connect().await.unwrap()).await.unwrap();
        }
    }
}

async fn tables_of_others_are_not_mixed_with_ours(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let database = match kind {
        Kind::Sqlite => Database::Sqlite(folder.path().join("app.db")),
        Kind::Postgres => server_database().await,
    };
    for (theirs, gone) in [
        ("CREATE TABLE \"Account\" (id TEXT)", "DROP TABLE \"Account\""),
        (
            "CREATE TABLE _sqlx_migrations (version BIGINT, description TEXT);
            INSERT INTO _sqlx_migrations VALUES (1, 'their first'), (2, 'their second')",
            "DROP TABLE _sqlx_migrations",
        ),
    ] {
        run(&database, theirs).await;
        let bytes = || {
            folder
                .path()
                .join("app.db")
                .exists()
                .then(|| std::fs::read(folder.path().join("app.db")).unwrap())
        };
        let before = bytes();
        let refused = Store::open(&database).await.unwrap_err();
        assert!(matches!(refused, StoreError::Occupied), "{refused}");
        assert!(bytes() == before, "not even its journal is another one");
        run(&database, gone).await;
    }
    // What Litestream keeps in a file is in nobody's way.
    run(&database, "CREATE TABLE _litestream_seq (id INTEGER)").await;
    let opened = Store::open(&database).await;
    if kind == Kind::Sqlite {
        opened.unwrap().close().await;
        Store::open(&database).await.unwrap().close().await;
    } else {
        assert!(matches!(opened, Err(StoreError::Occupied)));
        run(&database, "CREATE SCHEMA \"Our Roster\"").await;
        let Database::Postgres(url) = &database else { unreachable!() };
        // The tables of the others are on the path, too.
        let path = r"-csearch_path%3D%22Our%5C%20Roster%22,public";
        let ours = format!("{}?options={path}", url.expose_secret());
        for _ in 0..2 {
            Store::open(&Database::Postgres(ours.as_str().into())).await.unwrap().close().await;
        }
    }
}
