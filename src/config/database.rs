//! `DATABASE_URL`

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::Database;

/// Reads a database URL. The error continues a sentence that begins with the variable's name.
pub(super) fn parse(text: &str) -> Result<Database, &'static str> {
    let (scheme, rest) = text.split_once(':').ok_or("must begin with sqlite: or postgres:")?;
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => sqlite(rest.strip_prefix("//").unwrap_or(rest)),
        "postgres" | "postgresql" => postgres(text),
        _ => Err("must begin with sqlite: or postgres:"),
    }
}

/// The driver ignores what it does not know, so a misspelt parameter would do nothing, in silence.
const PARAMETERS: [&str; 10] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "user", "password", "dbname", "options"];
/// What hosts of databases put into the addresses that they hand out, and what does no harm when it is left out.
const LEFT_OUT: [&str; 3] = ["channel_binding", "application_name", "connect_timeout"];

fn postgres(text: &str) -> Result<Database, &'static str> {
    let wrong = "is not a postgres: URL, such as postgres://roster:password@db.example.com/roster";
    let url = reqwest::Url::parse(text).map_err(|_| wrong)?;
    if !url.has_host() && !url.query_pairs().any(|(name, _)| name == "host") {
        return Err(wrong);
    }
    let is_known = |name: &str| PARAMETERS.contains(&name) || LEFT_OUT.contains(&name);
    if !url.query_pairs().all(|(name, _)| is_known(&name)) {
        return Err("has a parameter that is not known; those are sslmode, sslrootcert, sslcert, sslkey, \
                    host, port, user, password, dbname and options");
    }
    // The driver's own reading of it, so that it cannot fail later.
    text.parse::<sqlx::postgres::PgConnectOptions>().map_err(|_| wrong)?;
    Ok(Database::Postgres(text.into()))
}

fn sqlite(path: &str) -> Result<Database, &'static str> {
    // What it means happens anyway.
    let path = path.strip_suffix("?mode=rwc").unwrap_or(path);
    if path.contains('?') {
        return Err(
            "must be a plain path: parameters but ?mode=rwc are not taken (a question mark of the path is \
                    written %3F)",
        );
    }
    let path = percent_decode_str(path).decode_utf8().map_err(|_| "must be UTF-8 when it is decoded")?;
    if path.is_empty() || path.ends_with('/') {
        return Err("must name a file");
    }
    if path.contains('\0') {
        return Err("must not contain a zero byte");
    }
    if path.starts_with(':') || path.starts_with("file:") {
        return Err("must name a file: a database in memory would not survive the process");
    }
    Ok(Database::Sqlite(PathBuf::from(path.as_ref())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn servers_are_given_what_the_driver_knows() {
        for url in [
            "postgres://roster:secret@db.example.com/roster",
            "postgresql://db/roster?sslmode=verify-full&sslrootcert=/etc/ca.pem&channel_binding=require",
            "postgres://roster@db/app?options=-csearch_path%3Droster",
            "postgres:///roster?host=/run/postgresql",
        ] {
            assert!(matches!(parse(url), Ok(Database::Postgres(_))), "{url}");
        }
    }

    #[test]
    fn sqlite_paths_are_relative_or_absolute_and_percent_decoded() {
        for (url, path) in [
            ("sqlite:roster.db", "roster.db"),
            ("sqlite://roster.db", "roster.db"),
            ("sqlite:///data/roster.db", "/data/roster.db"),
            ("sqlite:/data/roster.db", "/data/roster.db"),
            ("SQLite://a%20b%3F.db", "a b?.db"),
            ("sqlite:///data/roster.db?mode=rwc", "/data/roster.db"),
        ] {
            assert!(matches!(parse(url), Ok(Database::Sqlite(parsed)) if parsed == Path::new(path)), "{url}");
        }
        for bad in [
            "roster.db",
            "mysql://h/db",
            "sqlite:",
            "sqlite://",
            "sqlite:///data/",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:file::memory:",
            "sqlite://a.db?mode=ro",
            "sqlite:a%00b",
            "sqlite:%FF",
            "postgres:",
            "postgres:///roster",
            "postgres://db:port/roster",
            "postgres://db/roster?sslmode=perhaps",
            "postgres://db/roster?ssl_mode=require",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
