//! `DATABASE_URL`

use std::path::PathBuf;

use super::Database;

/// Reads a database URL. The error continues a sentence that begins with the variable's name.
pub(super) fn parse(text: &str) -> Result<Database, &'static str> {
    let (scheme, rest) = text.split_once(':').ok_or("must begin with sqlite: or postgres:")?;
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => sqlite(rest.strip_prefix("//").unwrap_or(rest)),
        "postgres" | "postgresql" if reqwest::Url::parse(text).is_ok_and(|url| url.has_host()) => {
            Err("names PostgreSQL, which is not supported by this build yet")
        }
        "postgres" | "postgresql" => Err("is not a postgres: URL"),
        _ => Err("must begin with sqlite: or postgres:"),
    }
}

fn sqlite(path: &str) -> Result<Database, &'static str> {
    if path.contains('?') {
        return Err(
            "must be a plain path: parameters such as ?mode= are not taken, the file is made when it is \
                    missing (write a question mark of the path as %3F)",
        );
    }
    let path = percent_decode(path)
        .ok_or("has a % that is not followed by two hexadecimal digits, or is not UTF-8")?;
    if path.is_empty() || path.ends_with('/') {
        return Err("must name a file");
    }
    if path.contains('\0') {
        return Err("must not contain a zero byte");
    }
    if path.starts_with(':') || path.starts_with("file:") {
        return Err("must name a file: a database in memory would not survive the process");
    }
    Ok(Database::Sqlite(PathBuf::from(path)))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn sqlite_paths_are_relative_or_absolute_and_percent_decoded() {
        for (url, path) in [
            ("sqlite:roster.db", "roster.db"),
            ("sqlite://roster.db", "roster.db"),
            ("sqlite:///data/roster.db", "/data/roster.db"),
            ("sqlite:/data/roster.db", "/data/roster.db"),
            ("SQLite://a%20b%3F.db", "a b?.db"),
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
            "sqlite://a.db?mode=rwc",
            "sqlite:a%2",
            "sqlite:a%00b",
            "sqlite:%FF",
            "postgres:",
            "postgres://user:word@db/roster",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
