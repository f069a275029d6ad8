//! `.env.example`, which people copy: it names what there is, and is a configuration that works.

use std::fs;
use std::path::Path;

use roster::config::{Config, Flags, SETTINGS};
use roster::sim::keys::SigningKey;

use super::configuration::gather;
use super::folder;

/// The example for production, and the same with every line of it that shows a setting in force.
fn example() -> (String, String) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example")).unwrap();
    let in_force = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    let whole = text.lines().map(in_force).collect();
    (text, whole)
}

#[test]
fn the_example_names_every_variable_once_and_each_has_its_line() {
    let (_, whole) = example();
    let lines: Vec<_> = whole.lines().collect();
    let mut named: Vec<_> = lines
        .iter()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .filter(|name| !name.contains(' '))
        .collect();
    for name in &named {
        let at = lines.iter().position(|line| line.starts_with(&format!("{name}="))).unwrap();
        assert!(lines[at - 1].starts_with("# "), "{name} has no line that says what it is");
    }
    named.sort_unstable();
    // These two are other names for settings that it has.
    let mut known: Vec<_> = SETTINGS.iter().map(|setting| setting.variable).collect();
    known.retain(|variable| !["PORT", "RUST_LOG"].contains(variable));
    known.sort_unstable();
    assert_eq!(named, known);
}

#[test]
fn the_readme_explains_every_setting() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    // What `PORT` does stands in another row.
    for setting in SETTINGS.iter().filter(|setting| setting.variable != "PORT") {
        assert!(
            rows.iter().any(|row| row.contains(&format!("`{}`", setting.variable))),
            "{}",
            setting.variable
        );
    }
}

#[test]
fn the_example_is_a_configuration_that_is_accepted() {
    let (plain, whole) = example();
    let key = SigningKey::generate("ins_1").unwrap().public_pem().unwrap().replace('\n', "");
    let shown = whole.lines().find(|line| line.starts_with("CLERK_JWT_KEY=")).unwrap().to_owned();
    for text in [plain, whole.replace(&shown, &format!("CLERK_JWT_KEY=\"{key}\""))] {
        let folder = folder();
        // As it is, it starts nothing.
        fs::write(folder.join(".env"), &text).unwrap();
        let problems = gather(&Flags::default(), &[], &folder).check().unwrap_err().to_string();
        assert!(problems.contains("CLERK_WEBHOOK_SIGNING_SECRET"), "{problems}");
        fs::write(
            folder.join(".env"),
            text.replace("whsec_replace_me", "whsec_Zm9yIG5vYm9keSBidXQgdGhpcyB0ZXN0"),
        )
        .unwrap();
        let config = gather(&Flags::default(), &[], &folder).check().unwrap();
        assert_eq!((config.webhook_secrets.len(), config.secret_key.is_some()), (1, true));
        // What it shows as a default is the default.
        let default = Config::default();
        assert_eq!(config.listen, default.listen);
        assert_eq!(config.reconcile_cron, default.reconcile_cron);
        assert_eq!((config.cache_mb, config.journal_days), (default.cache_mb, default.journal_days));
    }
}
