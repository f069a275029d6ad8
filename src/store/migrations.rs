//! Every schema there was, in order, for both databases.
//!
//! The files of one number say the same twice. On several instances the old program runs beside the new one for a
//! while: from the first release on (the files after 0007) a migration adds, and what nobody uses any more is removed by
//! a later release. A column that is added costs the old program one more try of a
//! batch, and an answer of 503 for each connection that reads the table.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! migrations {
    ($database:literal, $($version:literal => $name:expr, $file:literal;)+) => {
        Migrator::with_migrations(vec![$(Migration::new(
            $version,
            $name.into(),
            MigrationType::Simple,
            include_str!(concat!("../../migrations/", $database, "/", $file, ".sql")).into_sql_str(),
            false,
        )),+])
    };
    ($database:literal) => {
        migrations! { $database,
            1 => super::holder::FIRST, "0001_read_model";
            2 => "reconcile", "0002_reconcile";
            3 => "dead letters", "0003_dead_letters";
            4 => "versions", "0004_versions";
            5 => "events by object", "0005_events_by_object";
            6 => "fallen memberships", "0006_fallen_memberships";
            7 => "two indexes fewer", "0007_two_indexes_fewer";
        }
    };
}

pub(super) fn sqlite() -> Migrator {
    migrations!("sqlite")
}

pub(super) fn postgres() -> Migrator {
    migrations!("postgres")
}
