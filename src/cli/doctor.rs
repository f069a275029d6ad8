//! `roster doctor`: looks at everything that can be wrong from outside, and says how to mend it.
//!
//! It changes nothing: neither does it make a database, nor does it bring one up to date.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use super::Failure;
use super::paint::{Paint, paint};
use crate::clerk::backend_api::{ApiError, BackendApi, Order, Patience};
use crate::clerk::jwks::KeySet;
use crate::clock;
use crate::config::{self, Config, Database, Flags, KeySource};
use crate::domain::time::iso8601;
use crate::store::{ServerLook, backup, look_at_server};
use crate::telemetry::causes;

/// Clocks that are further apart than this refuse good tokens.
const SKEW_MS: i64 = 5_000;

/// What came out of one check.
enum Finding {
    /// It is as it should be.
    Fine(String),
    /// It works, and something about it is worth knowing.
    Warning(String),
    /// It does not work until somebody does something.
    Mend(String),
}

use Finding::{Fine, Mend, Warning};

/// Checks one thing after the other, a line each.
pub async fn run(flags: &Flags) -> Result<(), Failure> {
    let mut report = Report::default();
    match config::load(flags) {
        Ok(config) => check(&config, &mut report).await,
        Err(problems) => {
            for problem in problems.iter() {
                report.add("configuration", Mend(problem.to_string()));
            }
            report.add("the rest", Warning("not looked at: the configuration comes first".to_owned()));
        }
    }
    match report.to_mend {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow::anyhow!("one thing needs mending"))),
        some => Err(Failure::Failed(anyhow::anyhow!("{some} things need mending"))),
    }
}

#[derive(Default)]
struct Report {
    to_mend: u32,
}

impl Report {
    fn add(&mut self, what: &str, finding: Finding) {
        let (mark, colour, text) = match finding {
            Fine(text) => ("ok  ", Paint::Green, text),
            Warning(text) => ("warn", Paint::Yellow, text),
            Mend(text) => {
                self.to_mend += 1;
                ("mend", Paint::Red, text)
            }
        };
        // Whoever closed the pipe has the exit code.
        let _ = writeln!(std::io::stdout(), "{}  {what:<15} {text}", paint(colour, mark));
    }
}

async fn check(config: &Config, report: &mut Report) {
    report.add("configuration", configuration(config));
    let (database, last_arrival_ms) = database(&config.database).await;
    report.add("database", database);
    let (keys, key_ids) = key_set(&config.keys).await;
    report.add("key set", keys);
    report.add("webhook secret", webhook_secret(config));
    let (api, clerk_ahead_ms) = clerk_api(config, &key_ids).await;
    report.add("Clerk API", api);
    report.add("clock", clock_against(clerk_ahead_ms, last_arrival_ms));
}

fn configuration(config: &Config) -> Finding {
    if config.authorized_parties.is_empty() {
        return Warning(
            "every value is well-formed, but tokens of every origin are accepted: set CLERK_AUTHORIZED_PARTIES, \
             for example CLERK_AUTHORIZED_PARTIES=https://app.example.com"
                .to_owned(),
        );
    }
    Fine("every value is well-formed".to_owned())
}

/// The finding, and when the newest event came in.
async fn database(database: &Database) -> (Finding, Option<i64>) {
    let path = match database {
        Database::Sqlite(path) => path,
        Database::Postgres(url) => return server(url).await,
    };
    let shown = path.display();
    // What lies beside a file lies beside that to which a symbolic link leads.
    let real = path.canonicalize().unwrap_or_else(|_| path.clone());
    let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let mend =
            format!("the folder of {shown} is not there: make it, or set DATABASE_URL to another file");
        return (Mend(mend), None);
    }
    if !is_writable(folder) {
        let mend = format!("the folder of {shown} cannot be written by this user: the service must own it");
        return (Mend(mend), None);
    }
    if !path.exists() {
        return (Fine(format!("{shown} is not there yet; `roster serve` makes it")), None);
    }
    if OpenOptions::new().append(true).open(path).is_err() {
        return (Mend(format!("{shown} cannot be written by this user: the service must own it")), None);
    }
    let look = match backup::look(path).await {
        Ok(Some(look)) => look,
        Ok(None) => return (Fine(format!("{shown} is empty; `roster serve` fills it")), None),
        Err(error) => return (Mend(format!("{shown}: {}", causes(&error))), None),
    };
    let finding = if look.is_newer {
        Mend(format!("{shown} is from a newer Roster: install that version, or restore a backup"))
    } else if is_open_to_others(path) {
        Warning(format!("{shown} names people and others here may read it: `chmod 600 {shown}`"))
    } else {
        Fine(format!("{shown} can be written; {}", newest_event(look.last_arrival_ms)))
    };
    (finding, look.last_arrival_ms)
}

#[cfg(unix)]
fn is_writable(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn is_writable(_folder: &Path) -> bool {
    true
}

async fn server(url: &SecretString) -> (Finding, Option<i64>) {
    let ServerLook { is_standby, may_create, site } = match look_at_server(url).await {
        Ok(look) => look,
        Err(error) => return (Mend(causes(&error).to_string()), None),
    };
    let last_arrival_ms = site.and_then(|site| site.last_arrival_ms);
    let finding = if is_standby {
        Mend("PostgreSQL is a standby here: name the primary in DATABASE_URL".to_owned())
    } else if site.is_some_and(|site| site.is_newer) {
        Mend("the database is from a newer Roster: install that version".to_owned())
    } else if !may_create {
        Mend(
            "this role may not create tables, as updates do: make it the owner of the database, or GRANT CREATE ON \
             the SCHEMA"
                .to_owned(),
        )
    } else if site.is_none() {
        Fine("PostgreSQL answers; `roster serve` makes the tables".to_owned())
    } else {
        Fine(format!("PostgreSQL answers; {}", newest_event(last_arrival_ms)))
    };
    (finding, last_arrival_ms)
}

fn newest_event(at_ms: Option<i64>) -> String {
    at_ms.map_or_else(
        || "no event has come in yet".to_owned(),
        |at_ms| format!("the newest event came in at {}", iso8601(at_ms)),
    )
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_path: &Path) -> bool {
    false
}

/// The finding, and the ids of the keys.
async fn key_set(source: &KeySource) -> (Finding, Vec<String>) {
    let url = match source {
        KeySource::None => {
            let mend = "no token can be checked: set CLERK_PUBLISHABLE_KEY (dashboard, API keys), \
                        for example CLERK_PUBLISHABLE_KEY=pk_live_…";
            return (Mend(mend.to_owned()), Vec::new());
        }
        KeySource::Pem(_) => return (Fine("CLERK_JWT_KEY is a usable key".to_owned()), Vec::new()),
        KeySource::Jwks { url, .. } => url,
    };
    match KeySet::probe(source.clone()).await {
        Ok(ids) if ids.is_empty() => {
            (Mend(format!("{url} holds no usable key: check CLERK_JWKS_URL and CLERK_ISSUER")), ids)
        }
        Ok(ids) => (Fine(format!("{url} holds {}", keys(ids.len()))), ids),
        Err(error) => (
            Mend(format!(
                "{url} cannot be had ({error:#}): check CLERK_PUBLISHABLE_KEY, the network, and proxies on the way"
            )),
            Vec::new(),
        ),
    }
}

fn keys(count: usize) -> String {
    if count == 1 { "1 usable key".to_owned() } else { format!("{count} usable keys") }
}

fn webhook_secret(config: &Config) -> Finding {
    match config.webhook_secrets.len() {
        0 => Mend(
            "webhooks are answered 503: set CLERK_WEBHOOK_SIGNING_SECRET to the signing secret of the endpoint's \
             page (dashboard, Webhooks), for example CLERK_WEBHOOK_SIGNING_SECRET=whsec_…"
                .to_owned(),
        ),
        1 => Fine("has the form of one".to_owned()),
        some => Fine(format!("{some} secrets, each has the form of one; remove the old ones after a rotation")),
    }
}

/// The finding, and how far Clerk's clock is ahead of ours.
async fn clerk_api(config: &Config, key_ids: &[String]) -> (Finding, Option<i64>) {
    let Some(key) = &config.secret_key else {
        let text = "CLERK_SECRET_KEY is not set: nothing that webhooks miss is ever put right; \
                    set it (dashboard, API keys), for example CLERK_SECRET_KEY=sk_live_…";
        return (Warning(text.to_owned()), None);
    };
    let patience = Patience { timeout: Duration::from_secs(10), retries: 1, ..Patience::default() };
    let api = BackendApi::with_patience(&config.api_url, key.clone(), config.clerk_rate, patience);
    let instance = match &api {
        Ok(api) => api.instance().await.map_err(anyhow::Error::from),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let (Ok(api), instance) = (api, instance) else {
        return (Mend("CLERK_API_URL is not a URL".to_owned()), None);
    };
    let instance = match instance {
        Ok(instance) => instance,
        Err(error) => return (Mend(format!("{error:#}")), None),
    };
    let ahead_ms = Some(instance.observed_at_ms.saturating_sub(clock::now_ms()));
    let (id, environment) = (&instance.value.id, &instance.value.environment_type);
    if config.instance_id.as_ref().is_some_and(|configured| configured != id) {
        let text = format!(
            "CLERK_SECRET_KEY is of {id}, CLERK_INSTANCE_ID is another instance: take both from the same one"
        );
        return (Mend(text), ahead_ms);
    }
    // The instance's own key set; where it cannot be had, the keys are not compared.
    let own = KeySource::Jwks { url: format!("{}/v1/jwks", config.api_url), bearer: Some(key.clone()) };
    let own = KeySet::probe(own).await.unwrap_or_default();
    if !own.is_empty() && !key_ids.is_empty() && !own.iter().any(|kid| key_ids.contains(kid)) {
        let text = format!(
            "CLERK_SECRET_KEY is of {id}, but tokens are checked with the keys of another instance: \
             take CLERK_PUBLISHABLE_KEY and CLERK_SECRET_KEY from the same one"
        );
        return (Mend(text), ahead_ms);
    }
    let finding = match api.organizations_page(1, 0, Order::OldestFirst).await {
        Ok(_) => Fine(format!("{} takes the key of {id} ({environment})", config.api_url)),
        Err(error @ ApiError::FeatureOff { .. }) => Warning(error.to_string()),
        Err(error) => Mend(error.to_string()),
    };
    (finding, ahead_ms)
}

fn clock_against(clerk_ahead_ms: Option<i64>, last_arrival_ms: Option<i64>) -> Finding {
    let mend = "tokens and webhooks are refused: switch time synchronization on (timedatectl set-ntp true)";
    if let Some(ahead_ms) = clerk_ahead_ms {
        let seconds = ahead_ms.abs().div_euclid(1_000);
        return match ahead_ms {
            // Clerk tells whole seconds, rounded down.
            ahead_ms if ahead_ms.abs() <= SKEW_MS => Fine("agrees with Clerk's".to_owned()),
            0.. => Mend(format!("is {seconds} s behind Clerk's: {mend}")),
            _ => Mend(format!("is {seconds} s ahead of Clerk's: {mend}")),
        };
    }
    let now_ms = clock::now_ms();
    match last_arrival_ms {
        Some(at_ms) if at_ms > now_ms.saturating_add(SKEW_MS) => {
            Mend(format!("was set back: the newest event came in at {}; {mend}", iso8601(at_ms)))
        }
        _ => Fine(format!("shows {}; nothing to compare it with", iso8601(now_ms))),
    }
}
