//! A database of every earlier schema is opened by the present program, which then knows all that it knew.

use std::fs;
use std::path::Path;

use roster::config::Database;
use roster::store::Store;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqlSafeStr as _};

use crate::support::database::{Kind, on_both_databases, server_database};
use crate::support::site::{ADMIN, Site, USERS};

on_both_databases!(a_database_of_every_earlier_schema_is_taken_over);

/// What a site of that time had written, by the number of the schema that first had a place for it. Nobody but
/// the present program writes these tables any more, so this text stays as it is.
const PAST: [(i64, &str); 4] = [
    (
        1,
        r#"INSERT INTO organizations (id, updated_at_ms, observed_at_ms, content_digest, name, created_at_ms, deleted_at_ms)
            VALUES ('org_old', 1000, 1000, 1, 'Harbour', 1000, NULL), ('org_gone', NULL, NULL, NULL, NULL, 1000, 5000);
        INSERT INTO users (id, updated_at_ms, observed_at_ms, content_digest, first_name, last_name, username, email,
                image_url, has_image, banned, public_metadata, created_at_ms, last_sign_in_at_ms, deleted_at_ms)
            VALUES ('user_ada', 1000, 1000, 1, 'Ada', 'Okafor', 'ada', 'Ada@example.com', 'https://img.example/ada', 1,
                    0, '{"team":"north"}', 1000, 4000, NULL),
                ('user_bob', 2000, 2000, 2, 'Bob', NULL, NULL, 'bob@example.com', NULL, 0, 0, '{}', 2000, NULL, NULL),
                ('user_gone', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, '{}', 3000, NULL, 5000);
        INSERT INTO memberships (id, organization_id, user_id, created_at_ms, updated_at_ms, observed_at_ms,
                content_digest, role, public_metadata, deleted_at_ms, fallen)
            VALUES ('orgmem_ada', 'org_old', 'user_ada', 1000, 1000, 1000, 1, 'org:admin', '{}', NULL, 0),
                ('orgmem_bob', 'org_old', 'user_bob', 2000, 2000, 2000, 2, 'org:member', '{"since":1}', NULL, 0),
                ('orgmem_gone', 'org_old', 'user_gone', 3000, NULL, NULL, NULL, 'org:member', '{}', 5000, 1),
                ('orgmem_fell', 'org_gone', 'user_ada', 3000, 3000, 3000, 12345, '', '{}', NULL, 1),
                ('orgmem_early', 'org_old', 'user_early', 3000, 3000, 3000, 3, 'org:member', '{}', NULL, 0);
        INSERT INTO invitations (id, organization_id, user_id, updated_at_ms, observed_at_ms, content_digest, email,
                role, status, public_metadata, created_at_ms, expires_at_ms, deleted_at_ms, fallen)
            VALUES ('orginv_cyd', 'org_old', NULL, 3000, 3000, 3, 'cyd@example.com', 'org:member', 'pending', '{}', 3000,
                NULL, NULL, 0);
        INSERT INTO members (organization_id, user_id, membership_id, account_created_at_ms, email_key)
            VALUES ('org_old', 'user_ada', 'orgmem_ada', 1000, 'ada@example.com'),
                ('org_old', 'user_bob', 'orgmem_bob', 2000, 'bob@example.com');
        INSERT INTO events (message_id, type, object_id, user_id, occurred_at_ms, received_at_ms, outcome, error, payload)
            VALUES ('msg_ada', 'user.created', 'user_ada', 'user_ada', 1000, NOW, 'applied', NULL, '{"type":"user.created"}'),
                ('msg_stale', 'user.updated', 'user_bob', 'user_bob', 900, NOW, 'stale', NULL, NULL),
                ('msg_dead', 'user.created', 'user_dead', 'user_dead', 1000, NOW, 'dead', 'a word that nobody knew',
                    '{"type":"user.created","timestamp":6000,"data":{"id":"user_dead","created_at":6000,"updated_at":6000}}');
        INSERT INTO progress (name, at_ms) VALUES ('last_applied_event', 4000)"#,
    ),
    (
        2,
        r"INSERT INTO passes (id, kind, outcome, started_at_ms, progress)
            VALUES ('0000000000000001', 'full', 'completed', 4500, '{}');
        INSERT INTO progress (name, at_ms) VALUES ('last_completed_pass', 4500);
        INSERT INTO leases (name, owner, expires_at_ms) VALUES ('reconcile', 'somebody who died', 4600)",
    ),
    (
        4,
        r"DELETE FROM sequences;
        INSERT INTO sequences (name, value) VALUES ('version', 7);
        INSERT INTO changes (version, organization_id, user_id, kind) VALUES (7, 'org_old', 'user_bob', 'upserted')",
    ),
    (7, "UPDATE memberships SET unlistable = 1 WHERE id IN ('orgmem_gone', 'orgmem_fell', 'orgmem_early')"),
];

/// The files of a database, in order.
fn schemas(folder: &str) -> Vec<Migration> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let migration = |file: &std::path::PathBuf| {
        let (number, name) = file.file_stem().unwrap().to_str().unwrap().split_once('_').unwrap();
        let text = AssertSqlSafe(fs::read_to_string(file).unwrap()).into_sql_str();
        Migration::new(
            number.parse().unwrap(),
            name.replace('_', " ").into(),
            MigrationType::Simple,
            text,
            false,
        )
    };
    files.iter().map(migration).collect()
}

/// What the program of that time had written.
fn past(newest: i64) -> AssertSqlSafe<String> {
    let texts: Vec<_> = PAST.iter().filter(|(since, _)| *since <= newest).map(|(_, text)| *text).collect();
    AssertSqlSafe(texts.join(";").replace("NOW", &roster::clock::now_ms().to_string()))
}

async fn a_database_of_every_earlier_schema_is_taken_over(kind: Kind) {
    let schemas = schemas(if kind == Kind::Sqlite { "sqlite" } else { "postgres" });
    for age in 1..=schemas.len() {
        let folder = tempfile::tempdir().unwrap();
        let past = past(schemas[age - 1].version);
        let migrator = Migrator::with_migrations(schemas[..age].to_vec());
        let database = match kind {
            Kind::Sqlite => Database::Sqlite(folder.path().join("roster.db")),
            Kind::Postgres => server_database().await,
        };
        match &database {
            Database::Sqlite(path) => {
                let file = SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let mut db = file.journal_mode(SqliteJournalMode::Wal).connect().await.unwrap();
                migrator.run(&mut db).await.unwrap();
                sqlx::raw_sql(past).execute(&mut db).await.unwrap();
                db.close().await.unwrap();
            }
            Database::Postgres(url) => {
                let server: PgConnectOptions = url.expose_secret().parse().unwrap();
                let mut db = server.connect().await.unwrap();
                migrator.run(&mut db).await.unwrap();
                sqlx::raw_sql(past).execute(&mut db).await.unwrap();
                db.close().await.unwrap();
            }
        }
        is_taken_over(&database, age).await;
        // And by the next start.
        let site = Site::start_with(|config| config.database = database.clone()).await;
        assert_eq!(site.members("org_old").await, ["user_ada", "user_cyd"], "schema {age}");
        site.stop().await;
    }
}

async fn is_taken_over(database: &Database, age: usize) {
    let site = Site::start_with(|config| config.database = database.clone()).await;
    assert_eq!(
        site.ask(USERS, "org_old").await.json()[0],
        json!({
            "id": "user_ada", "firstName": "Ada", "lastName": "Okafor", "email": "Ada@example.com",
            "profilePictureUrl": "https://img.example/ada", "createdAt": "1970-01-01T00:00:01.000Z",
            "updatedAt": "1970-01-01T00:00:01.000Z", "clerkId": "user_ada", "clerkOrgId": "org_old",
        }),
        "schema {age}"
    );
    assert_eq!(site.members("org_old").await, ["user_ada", "user_bob"], "schema {age}");
    let list = site.ask(&format!("{ADMIN}?activityStatus=all&include=membership"), "org_old").await;
    assert_eq!(
        list.header("roster-as-of"),
        Some(if age < 2 { "1970-01-01T00:00:04.000Z" } else { "1970-01-01T00:00:04.500Z" })
    );
    let list = list.json();
    let shown: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["email"], &row["activityStatus"], &row["role"]))
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            ["Ada@example.com", "active", "org:admin"],
            ["bob@example.com", "active", "org:member"],
            ["cyd@example.com", "pending", "org:member"]
        ]),
        "schema {age}"
    );
    assert_eq!(list[1]["membershipMetadata"], json!({"since": 1}));

    if age < 6 {
        let rows = site.rows.everything().await;
        let fell = rows.iter().find(|row| row.contains(" id=orgmem_fell ")).unwrap();
        assert!(fell.contains(" content_digest=0 "), "schema {age}: {fell}");
    }

    let rows = site.rows.everything().await;
    let unlistable = rows.iter().filter(|row| row.contains(" unlistable=1")).count();
    assert_eq!(unlistable, 3, "schema {age}: {rows:#?}");

    // Who has left is refused, and stays away.
    let gone = site.get(USERS, &site.token("user_gone", "org_old", "member", 5)).await;
    assert_eq!(gone.problem(), "403 FORBIDDEN");
    let back = r#"{"type":"user.updated","timestamp":9000,"data":{"id":"user_gone","created_at":3000,"updated_at":9000}}"#;
    assert_eq!(site.deliver_as("msg_back", back).await, "200 stale");

    // What came in then is known, and what is new goes on from there.
    assert_eq!(site.deliver_as("msg_ada", back).await, "200 duplicate");
    assert_eq!(site.deliver_as("msg_stale", back).await, "200 duplicate");
    let letter = r#"{"type":"user.created","timestamp":6000,"data":{"id":"user_dead","created_at":6000,"updated_at":6000}}"#;
    assert_eq!(site.deliver_as("msg_dead", letter).await, "200 applied", "a dead letter is tried again");
    let bob = r#"{"type":"user.deleted","timestamp":9000,"data":{"id":"user_bob","deleted":true}}"#;
    assert_eq!(site.deliver_as("msg_bob", bob).await, "200 applied");
    let cyd = json!({"type": "user.created", "timestamp": 9000, "data": {"id": "user_cyd", "created_at": 9000, "updated_at": 9000}});
    assert_eq!(site.deliver_as("msg_cyd", cyd.to_string()).await, "200 applied");
    let joined = json!({"type": "organizationMembership.created", "timestamp": 9001, "data": {
        "id": "orgmem_cyd", "created_at": 9001, "updated_at": 9001, "role": "org:member",
        "organization": {"id": "org_old"}, "public_user_data": {"user_id": "user_cyd"}}});
    assert_eq!(site.deliver_as("msg_joined", joined.to_string()).await, "200 applied");
    assert_eq!(site.members("org_old").await, ["user_ada", "user_cyd"], "schema {age}");
    site.stop().await;
}

/// A service and a command, or several commands, may be started at the same moment.
#[tokio::test]
async fn many_may_meet_a_file_that_is_new() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(folder.path().join("roster.db"));
        let open = || Store::open(&database);
        let (one, two, three, four) = tokio::join!(open(), open(), open(), open());
        for opened in [one, two, three, four] {
            opened.unwrap().close().await;
        }
    }
}
