use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use roster::cli::Cli;
use roster::config::{Config, Database, Flags, KeySource, LogFormat, Problems, SETTINGS, Values};
use roster::sim::keys::SigningKey;
use secrecy::ExposeSecret as _;

use super::folder;

/// `clerk.example.com$`
const PUBLISHABLE: &str = "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k";

fn flags(arguments: &[&str]) -> Flags {
    Cli::try_parse_from(["roster", "serve"].iter().chain(arguments)).unwrap().settings
}

pub fn gather(flags: &Flags, environment: &[(&str, &str)], folder: &Path) -> Values {
    let map: HashMap<String, OsString> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(*value))).collect();
    Values::gather(flags, &|name| map.get(name).cloned(), folder)
}

fn check(environment: &[(&str, &str)]) -> Result<Config, Problems> {
    gather(&Flags::default(), environment, &folder()).check()
}

#[test]
fn nothing_set_means_the_documented_defaults() {
    let config = check(&[]).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    insta::assert_debug_snapshot!(config, @r#"
    Config {
        database: Sqlite(
            "roster.db",
        ),
        listen: 127.0.0.1:8080,
        ops_listen: 127.0.0.1:9090,
        ops_token: None,
        webhook_secrets: [],
        keys: None,
        issuer: None,
        authorized_parties: [],
        secret_key: None,
        api_url: "https://api.clerk.com",
        instance_id: None,
        clerk_rate: 50,
        admin_roles: [
            Role(
                "org:admin",
            ),
        ],
        reconcile_cron: "*/15 * * * *",
        reconcile_full_cron: "0 3 * * *",
        max_deletes: None,
        read_through_ms: 800,
        cache_mb: 256,
        journal_days: 30,
        otlp_endpoint: None,
        log: Log {
            filter: None,
            format: None,
        },
    }
    "#);
}

#[test]
fn flags_win_over_the_environment_over_dot_env_over_the_settings_file() {
    let folder = folder();
    fs::write(
        folder.join("roster.toml"),
        "listen = '127.0.0.1:1'\njournal_days = 1\ncache_mb = 1\nclerk_rate = 1",
    )
    .unwrap();
    fs::write(
        folder.join(".env"),
        "ROSTER_LISTEN=127.0.0.1:2\nROSTER_JOURNAL_DAYS=2\nexport ROSTER_CACHE_MB='2'",
    )
    .unwrap();
    let environment =
        [("ROSTER_LISTEN", "127.0.0.1:3"), ("ROSTER_JOURNAL_DAYS", "3"), ("ROSTER_CACHE_MB", " ")];
    let config = gather(&flags(&["--listen", "127.0.0.1:4"]), &environment, &folder).check().unwrap();
    assert_eq!((config.listen.port(), config.journal_days, config.cache_mb, config.clerk_rate), (4, 3, 2, 1));
}

#[test]
fn every_variable_is_a_flag_and_a_key_too() {
    let pem = SigningKey::generate("ins_1").unwrap().public_pem().unwrap();
    let good = |name: &str, example: &str| match name {
        "CLERK_JWT_KEY" => pem.clone(),
        "CLERK_SECRET_KEY" => "sk_test_1".to_owned(),
        _ => example.trim_matches('"').to_owned(),
    };
    let mut arguments = vec!["roster".to_owned(), "serve".to_owned()];
    let mut table = toml::Table::new();
    for setting in SETTINGS {
        let value = good(setting.variable, setting.example);
        arguments.extend([format!("--{}", setting.flag), value.clone()]);
        table.insert(setting.key(), value.into());
    }
    let from_flags = Cli::try_parse_from(arguments).unwrap().settings;
    let from_flags = gather(&from_flags, &[], &folder()).check().unwrap();
    let folder = folder();
    fs::write(folder.join("other.toml"), toml::to_string(&table).unwrap()).unwrap();
    let from_file = gather(&flags(&["--config", "other.toml"]), &[], &folder).check().unwrap();
    assert_eq!(format!("{from_flags:?}"), format!("{from_file:?}"));
    assert_eq!(from_flags.admin_roles.len(), 2);
    assert_eq!(from_flags.max_deletes, Some(10));
    assert_eq!(from_flags.log.format, Some(LogFormat::Json));
}

#[test]
fn the_settings_file_takes_lists_and_refuses_what_it_does_not_know() {
    let folder = folder();
    let path = folder.join("roster.toml");
    fs::write(&path, "clerk_authorized_parties = ['https://a.example', 'https://b.example:8443']").unwrap();
    let config = gather(&Flags::default(), &[], &folder).check().unwrap();
    assert_eq!(config.authorized_parties, ["https://a.example", "https://b.example:8443"]);

    fs::write(&path, "lisen = 'x'\ncache_mb = 1.5\nclerk_secret_key = 5").unwrap();
    let problems = gather(&Flags::default(), &[], &folder).check().unwrap_err().to_string();
    for expected in ["unknown key `lisen`", "`cache_mb`", "CLERK_SECRET_KEY (settings file)"] {
        assert!(problems.contains(expected), "{problems}");
    }
    fs::write(&path, "cache_mb = 1\nclerk_secret_key = hush-hush").unwrap();
    let problems = gather(&Flags::default(), &[], &folder).check().unwrap_err().to_string();
    assert!(problems.contains("roster.toml line 2") && !problems.contains("hush"), "{problems}");
    let problems = gather(&flags(&["--config", "gone.toml"]), &[], &folder).check().unwrap_err().to_string();
    assert!(problems.contains("gone.toml"), "{problems}");
}

#[test]
fn what_an_app_has_in_its_dot_env_does_no_harm() {
    let folder = folder();
    let write = |text: &str| fs::write(folder.join(".env"), text).unwrap();
    write(
        "\u{feff}NEXT_PUBLIC_NAME=My App's name\nFOO-BAR: 1\nBARE\nCLERK_INSTANCE_ID=ins_1\n\
         ROSTER_OPS_TOKEN=a-long$token # of ours\nDATABASE_URL=sqlite://a.db ",
    );
    let config = gather(&Flags::default(), &[], &folder).check().unwrap();
    assert_eq!(config.instance_id.as_deref(), Some("ins_1"));
    assert_eq!(config.ops_token.unwrap().expose_secret(), "a-long$token");
    assert!(matches!(config.database, Database::Sqlite(path) if path == Path::new("a.db")));

    write("CLERK_INSTANCE_ID=ins_1\n\nCLERK_SECRET_KEY=hush hush\n");
    let problems = gather(&Flags::default(), &[], &folder).check().unwrap_err().to_string();
    assert!(problems.contains("CLERK_SECRET_KEY (.env)") && !problems.contains("hush"), "{problems}");
}

#[test]
fn all_mistakes_are_listed_at_once_and_no_value_is_shown() {
    let wrong: Vec<(&str, &str)> =
        SETTINGS.iter().map(|setting| (setting.variable, "=hush, hush: [1] {{")).collect();
    let problems = check(&wrong).unwrap_err().to_string();
    for setting in SETTINGS {
        let line = problems.lines().find(|line| line.trim().starts_with(&format!("{} ", setting.variable)));
        let line = line.unwrap_or_else(|| panic!("{} is missing in {problems}", setting.variable));
        assert!(line.ends_with(&format!("; for example {}={}", setting.variable, setting.example)), "{line}");
    }
    assert!(!problems.contains("hush"), "{problems}");
}

#[test]
fn quotes_that_were_taken_for_a_part_of_the_value_are_named() {
    let problems = check(&[("CLERK_SECRET_KEY", "'sk_test_hush'")]).unwrap_err().to_string();
    assert!(problems.contains("(without the quotes") && !problems.contains("hush"), "{problems}");
}

#[test]
fn secrets_do_not_show_in_debug() {
    let environment = [
        ("CLERK_SECRET_KEY", "sk_live_hush"),
        ("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_aHVzaA==,whsec_aHVzaGh1c2g="),
        ("ROSTER_OPS_TOKEN", "hush"),
    ];
    let values = gather(&flags(&["--ops-token", "hush"]), &environment, &folder());
    let shown = format!("{values:?}");
    let config = values.check().unwrap();
    assert_eq!(config.webhook_secrets.len(), 2);
    assert_eq!(config.clerk_rate, 500);
    for text in [shown, format!("{config:?}"), format!("{:?}", flags(&["--ops-token", "hush"]))] {
        assert!(!text.contains("hush") && !text.contains("aHVza"), "{text}");
    }
}

#[test]
fn port_alone_opens_every_address_and_listen_wins() {
    let listen = |environment: &[(&str, &str)]| check(environment).map(|config| config.listen.to_string());
    assert_eq!(listen(&[("PORT", "3000")]).unwrap(), "0.0.0.0:3000");
    assert_eq!(listen(&[("PORT", "3000"), ("ROSTER_LISTEN", "[::1]:1")]).unwrap(), "[::1]:1");
    assert_eq!(listen(&[("ROSTER_LISTEN", "localhost:81")]).unwrap(), "127.0.0.1:81");
    let environment = [("ROSTER_LISTEN", "[::1]:1"), ("ROSTER_LOG", "error")];
    let flagged = |arguments: &[&str]| gather(&flags(arguments), &environment, &folder()).check().unwrap();
    assert_eq!(flagged(&["--port", "3000"]).listen.to_string(), "0.0.0.0:3000");
    assert_eq!(flagged(&["--port", "3000", "--listen", "[::1]:2"]).listen.to_string(), "[::1]:2");
    assert_eq!(flagged(&["--rust-log", "debug"]).log.filter.unwrap(), "debug");
    for (name, bad) in
        [("PORT", "65536"), ("PORT", "-1"), ("ROSTER_LISTEN", "8080"), ("ROSTER_LISTEN", ":8080")]
    {
        assert!(listen(&[(name, bad)]).unwrap_err().to_string().contains(name));
    }
}

#[test]
fn keys_come_from_the_pem_then_the_url_then_the_publishable_key_then_the_secret_key() {
    let pem = SigningKey::generate("ins_1").unwrap().public_pem().unwrap();
    let all = [
        ("CLERK_JWT_KEY", pem.as_str()),
        ("CLERK_JWKS_URL", "http://127.0.0.1:1/keys"),
        ("CLERK_PUBLISHABLE_KEY", PUBLISHABLE),
        ("CLERK_SECRET_KEY", "sk_test_1"),
        ("CLERK_ISSUER", "https://issuer.example/"),
        ("CLERK_API_URL", "http://[::1]:2/"),
    ];
    let source = |from: usize| check(&all[from..]).unwrap().keys;
    assert!(matches!(source(0), KeySource::Pem(text) if text == pem));
    let expected = [
        ("http://127.0.0.1:1/keys", false),
        ("https://clerk.example.com/.well-known/jwks.json", false),
        ("http://[::1]:2/v1/jwks", true),
        ("https://issuer.example/.well-known/jwks.json", false),
    ];
    for (from, (expected, with_key)) in (1..).zip(expected) {
        let KeySource::Jwks { url, bearer } = source(from) else { panic!("no key set from {from}") };
        assert_eq!((url.as_str(), bearer.is_some()), (expected, with_key));
    }
    assert!(matches!(source(5), KeySource::None));
    assert_eq!(check(&all).unwrap().issuer.as_deref(), Some("https://issuer.example/"));
    let derived = check(&all[2..3]).unwrap();
    assert_eq!(derived.issuer.as_deref(), Some("https://clerk.example.com"));
}

#[test]
fn a_publishable_key_must_hold_a_host() {
    for bad in ["clerk.example.com", "$", "a b$", "user@h$", "h/path$", "h#$", "h?q$"] {
        let key = format!("pk_live_{}", STANDARD.encode(bad));
        assert!(check(&[("CLERK_PUBLISHABLE_KEY", key.as_str())]).is_err(), "{bad}");
    }
    assert!(check(&[("CLERK_PUBLISHABLE_KEY", "pk_prod_Y2xlcmsuZXhhbXBsZS5jb20k")]).is_err());
    let unpadded = STANDARD.encode("clerk.example.co$").trim_end_matches('=').to_owned();
    assert!(check(&[("CLERK_PUBLISHABLE_KEY", &format!("pk_live_{unpadded}"))]).is_ok());
}

#[test]
fn a_pem_key_may_come_in_any_form_that_people_paste() {
    let key = SigningKey::generate("ins_1").unwrap();
    let pem = key.public_pem().unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    let forms = [
        pem.clone(),
        pem.trim().replace('\n', "\\n"),
        pem.replace('\n', "\r\n"),
        pem.replace('\n', ""),
        pem.replace('\n', " "),
        body.clone(),
    ];
    for form in forms {
        let config = check(&[("CLERK_JWT_KEY", form.as_str())]).unwrap();
        assert!(matches!(config.keys, KeySource::Pem(text) if text == pem), "{form}");
    }
    // The body of the X.509 form is a header of 24 bytes and the PKCS #1 form.
    let pkcs1 = STANDARD.encode(&STANDARD.decode(&body).unwrap()[24..]);
    for form in
        [pkcs1.clone(), format!("-----BEGIN RSA PUBLIC KEY-----\n{pkcs1}\n-----END RSA PUBLIC KEY-----")]
    {
        let config = check(&[("CLERK_JWT_KEY", form.as_str())]).unwrap();
        assert!(
            matches!(config.keys, KeySource::Pem(text) if text.contains("BEGIN RSA PUBLIC KEY")),
            "{form}"
        );
    }
    let private = STANDARD.encode(key.to_pkcs8().unwrap());
    for bad in [
        "hush".to_owned(),
        body[..200].to_owned(),
        private.clone(),
        format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----"),
        format!("-----BEGIN EC PUBLIC KEY-----\n{body}\n-----END EC PUBLIC KEY-----"),
        "-----BEGIN PUBLIC KEY-----".to_owned(),
    ] {
        assert!(check(&[("CLERK_JWT_KEY", bad.as_str())]).is_err(), "{bad}");
    }
}

#[test]
fn plain_http_goes_to_this_machine_only() {
    for name in ["CLERK_API_URL", "CLERK_JWKS_URL"] {
        for good in
            ["https://proxy.example/clerk", "http://localhost:1", "http://127.0.0.2:1", "http://[::1]:1"]
        {
            assert!(check(&[(name, good)]).is_ok(), "{name} {good}");
        }
        for bad in [
            "http://api.clerk.com",
            "http://localhost.example",
            "http://10.0.0.1",
            "ftp://localhost",
            "api.clerk.com",
            "https://user:word@api.clerk.com",
            "https://",
        ] {
            assert!(check(&[(name, bad)]).is_err(), "{name} {bad}");
        }
    }
    assert_eq!(check(&[("CLERK_API_URL", "http://localhost:1/")]).unwrap().api_url, "http://localhost:1");
}

#[test]
fn authorized_parties_are_origins() {
    let parties =
        |text: &str| check(&[("CLERK_AUTHORIZED_PARTIES", text)]).map(|config| config.authorized_parties);
    assert_eq!(parties(" https://a.example , ,http://localhost:3000").unwrap().len(), 2);
    assert_eq!(parties("chrome-extension://abcdef").unwrap(), ["chrome-extension://abcdef"]);
    for bad in
        [",", "a.example", "https://a.example/", "https://A.example", "https://a.example:443", "https://a/b"]
    {
        assert!(parties(bad).is_err(), "{bad}");
    }
    let problems = parties("https://a.example,b.example").unwrap_err().to_string();
    assert!(problems.contains("entry 2 of 2"), "{problems}");
}

#[test]
fn webhook_secrets_must_be_usable() {
    for bad in ["whsec_", "whsec_???", "aHVzaA==", "whsec_aHVzaA==,no"] {
        assert!(check(&[("CLERK_WEBHOOK_SIGNING_SECRET", bad)]).is_err(), "{bad}");
    }
    let config = check(&[("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_aHVzaA==")]).unwrap();
    assert_eq!(config.webhook_secrets[0].expose_secret(), "whsec_aHVzaA==");
}

#[test]
fn a_database_is_a_file_or_a_server_whose_password_is_not_shown() {
    let config = check(&[("DATABASE_URL", "sqlite:///data/roster.db")]).unwrap();
    assert!(matches!(config.database, Database::Sqlite(path) if path == Path::new("/data/roster.db")));
    let config = check(&[("DATABASE_URL", "postgres://u:hush@db/roster")]).unwrap();
    assert!(matches!(config.database, Database::Postgres(_)));
    assert!(!format!("{config:?}").contains("hush"));
    let problems =
        check(&[("DATABASE_URL", "postgres://u:hush@db/roster?sslmod=off")]).unwrap_err().to_string();
    assert!(problems.contains("a parameter that is not known") && !problems.contains("hush"), "{problems}");
}

#[test]
fn roster_log_wins_over_rust_log() {
    let filter = |environment: &[(&str, &str)]| check(environment).unwrap().log.filter.unwrap();
    assert_eq!(filter(&[("RUST_LOG", "warn")]), "warn");
    assert_eq!(filter(&[("RUST_LOG", "warn"), ("ROSTER_LOG", "roster=debug")]), "roster=debug");
    // A command says less, unless it was asked to say as much.
    let of_command = |environment: &[(&str, &str)]| check(environment).unwrap().log.or_warnings().filter;
    assert_eq!(of_command(&[]).as_deref(), Some("warn"));
    assert_eq!(of_command(&[("ROSTER_LOG", "info")]).as_deref(), Some("info"));
}

#[test]
fn a_command_may_look_at_a_few_variables_only() {
    let values = gather(&Flags::default(), &[("PORT", "81"), ("DATABASE_URL", "nonsense")], &folder());
    assert_eq!(values.keep(&["PORT"]).check().unwrap().listen.port(), 81);
}

#[test]
fn a_collector_is_an_address_without_secrets() {
    let endpoint =
        |text: &str| check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", text)]).map(|config| config.otlp_endpoint);
    for good in
        ["http://localhost:4318", "https://otlp.example.com/one/", "http://collector.monitoring.svc:4318"]
    {
        assert!(endpoint(good).unwrap().is_some(), "{good}");
    }
    for bad in
        ["localhost:4318", "grpc://localhost:4317", "http://key:hush@host", "http://host?key=hush", "http://"]
    {
        let problems = endpoint(bad).unwrap_err().to_string();
        assert!(problems.contains("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"), "{problems}");
        assert!(!problems.contains("hush"), "{problems}");
    }
}
