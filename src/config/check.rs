//! Turns texts into a [`Config`], and collects every mistake on the way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use reqwest::Url;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

use super::problem::{Problem, Problems};
use super::setting::Setting;
use super::values::FLAG;
use super::{Config, KeySource, Log, LogFormat, Values, cron, database, keys};
use crate::domain::Role;

impl Values {
    /// Checks everything that is set and fills in the defaults.
    pub fn check(mut self) -> Result<Config, Problems> {
        let problems = std::mem::take(&mut self.problems);
        let mut check = Check { values: self, problems };
        let config = check.config();
        Problems::some(check.problems).map_or(Ok(config), Err)
    }
}

struct Check {
    values: Values,
    problems: Vec<Problem>,
}

impl Check {
    fn config(&mut self) -> Config {
        let default = Config::default();
        let keys = self.keys();
        Config {
            database: self.parse("DATABASE_URL", database::parse).unwrap_or(default.database),
            listen: self.listen().unwrap_or(default.listen),
            ops_listen: self.parse("ROSTER_OPS_LISTEN", address).unwrap_or(default.ops_listen),
            ops_token: self.parse("ROSTER_OPS_TOKEN", token),
            webhook_secrets: self.list("CLERK_WEBHOOK_SIGNING_SECRET", webhook_secret),
            authorized_parties: self.list("CLERK_AUTHORIZED_PARTIES", origin),
            instance_id: self.parse("CLERK_INSTANCE_ID", instance_id),
            clerk_rate: self.number("ROSTER_CLERK_RATE", 1, 10_000).unwrap_or(if keys.live {
                500
            } else {
                50
            }),
            admin_roles: match self.list("ROSTER_ADMIN_ROLES", role) {
                roles if roles.is_empty() => default.admin_roles,
                roles => roles,
            },
            reconcile_cron: self.parse("ROSTER_RECONCILE_CRON", schedule).unwrap_or(default.reconcile_cron),
            reconcile_full_cron: self
                .parse("ROSTER_RECONCILE_FULL_CRON", schedule)
                .unwrap_or(default.reconcile_full_cron),
            max_deletes: self.number("ROSTER_RECONCILE_MAX_DELETES", 0, u64::MAX),
            read_through_ms: self
                .number("ROSTER_READ_THROUGH_MS", 0, 60_000)
                .unwrap_or(default.read_through_ms),
            cache_mb: self.number("ROSTER_CACHE_MB", 0, 1_048_576).unwrap_or(default.cache_mb),
            journal_days: self.number("ROSTER_JOURNAL_DAYS", 1, 3_650).unwrap_or(default.journal_days),
            otlp_endpoint: self.parse("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
            log: self.log(default.log),
            keys: keys.source,
            issuer: keys.issuer,
            secret_key: keys.secret_key,
            api_url: keys.api_url.unwrap_or(default.api_url),
        }
    }

    /// Reads a variable when it is set. The parser's error continues the sentence "NAME …".
    fn parse<T, E: std::fmt::Display>(
        &mut self,
        variable: &'static str,
        parser: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (text, layer) = self.values.get(variable)?;
        match parser(text) {
            Ok(value) => Some(value),
            Err(what) => {
                let example = Setting::named(variable).map_or("", |setting| setting.example);
                let is_quoted = text.starts_with(['"', '\'']) && text.ends_with(['"', '\'']);
                let hint =
                    if is_quoted { " (without the quotes, which `docker --env-file` passes on)" } else { "" };
                self.problems.push(Problem::new(format!(
                    "{variable} ({layer}) {what}; for example {variable}={example}{hint}"
                )));
                None
            }
        }
    }

    /// Reads a variable that holds one or more entries, separated by commas.
    fn list<T>(
        &mut self,
        variable: &'static str,
        parser: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        let parse_all = |text: &str| {
            let entries: Vec<&str> =
                text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
            if entries.is_empty() {
                return Err("holds no entry".to_owned());
            }
            let count = entries.len();
            let numbered = entries.iter().enumerate().map(|(index, entry)| {
                parser(entry).map_err(|what| match count {
                    1 => what.to_owned(),
                    _ => format!("{what} (entry {} of {count})", index + 1),
                })
            });
            numbered.collect()
        };
        self.parse(variable, parse_all).unwrap_or_default()
    }

    fn number<T: FromStr + PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        variable: &'static str,
        least: T,
        greatest: T,
    ) -> Option<T> {
        self.parse(variable, |text| {
            let number = text.parse().ok().filter(|number| (least..=greatest).contains(number));
            number.ok_or_else(|| format!("must be a whole number from {least} to {greatest}"))
        })
    }

    fn is_flag(&self, variable: &'static str) -> bool {
        self.values.get(variable).is_some_and(|(_, layer)| layer == FLAG)
    }

    /// `PORT` is what many platforms set; an address of one's own wins over it, but not over a flag.
    fn listen(&mut self) -> Option<SocketAddr> {
        let port = self.number("PORT", 0, u16::MAX);
        let port = port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
        let listen = self.parse("ROSTER_LISTEN", address);
        if self.is_flag("PORT") && !self.is_flag("ROSTER_LISTEN") { port.or(listen) } else { listen.or(port) }
    }

    fn log(&mut self, default: Log) -> Log {
        let (ours, rusts) = (self.parse("ROSTER_LOG", log_filter), self.parse("RUST_LOG", log_filter));
        let is_rusts = self.is_flag("RUST_LOG") && !self.is_flag("ROSTER_LOG");
        let filter = if is_rusts { rusts.or(ours) } else { ours.or(rusts) };
        Log { filter: filter.or(default.filter), format: self.parse("ROSTER_LOG_FORMAT", log_format) }
    }

    /// A key that is configured wins, then an address that is configured, then the publishable key's. A
    /// secret key finds its own instance's keys; the issuer alone is the last resort.
    fn keys(&mut self) -> Keys {
        let pem = self.parse("CLERK_JWT_KEY", |text| {
            keys::public_pem(text).ok_or("must be a public RSA key in PEM form, of 2048 bits or more")
        });
        let frontend = self.parse("CLERK_PUBLISHABLE_KEY", |text| {
            keys::frontend_api(text)
                .ok_or("must be pk_test_ or pk_live_ and the rest as the dashboard shows it")
        });
        let frontend = frontend.map(|host| format!("https://{host}"));
        let issuer = self.parse("CLERK_ISSUER", |text| https_url(text).map(|_| text.to_owned()));
        let jwks_url = self.parse("CLERK_JWKS_URL", |text| https_url(text).map(|_| text.to_owned()));
        let secret = self.parse("CLERK_SECRET_KEY", |text| secret_key(text).map(|()| text.to_owned()));
        let api_url = self.parse("CLERK_API_URL", api_url);

        let live = secret.as_deref().is_some_and(|key| key.starts_with("sk_live_"));
        let secret_key = secret.map(SecretString::from);
        let well_known = |base: &String| format!("{}/.well-known/jwks.json", base.trim_end_matches('/'));
        let source = match (pem, jwks_url.or(frontend.as_ref().map(well_known)), &secret_key, &issuer) {
            (Some(pem), ..) => KeySource::Pem(pem),
            (None, Some(url), ..) => KeySource::Jwks { url, bearer: None },
            (None, None, Some(key), _) => {
                let base = api_url.clone().unwrap_or_else(|| Config::default().api_url);
                KeySource::Jwks { url: format!("{base}/v1/jwks"), bearer: Some(key.clone()) }
            }
            (None, None, None, Some(issuer)) => KeySource::Jwks { url: well_known(issuer), bearer: None },
            (None, None, None, None) => KeySource::None,
        };
        Keys { source, issuer: issuer.or(frontend), secret_key, live, api_url }
    }
}

/// What the Clerk variables say together.
struct Keys {
    source: KeySource,
    issuer: Option<String>,
    secret_key: Option<SecretString>,
    live: bool,
    api_url: Option<String>,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    const WHAT: &str = "must be an address of this machine and a port";
    if text.starts_with(':') {
        return Err(WHAT);
    }
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| WHAT)?.collect();
    // `localhost` may name both families; IPv4 is what people mean.
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or(WHAT)
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn token(text: &str) -> Result<SecretString, &'static str> {
    if is_plain(text) { Ok(SecretString::from(text)) } else { Err("must be ASCII without spaces") }
}

fn webhook_secret(text: &str) -> Result<SecretString, &'static str> {
    if text.starts_with("whsec_") && svix::webhooks::Webhook::new(text).is_ok() {
        Ok(SecretString::from(text))
    } else {
        Err("must be whsec_ and base64, as the endpoint's page shows it")
    }
}

/// The `azp` claim is compared letter by letter, so a form that no browser sends would never match.
fn origin(text: &str) -> Result<String, &'static str> {
    let rest = text.split_once("://").map(|(_, rest)| rest);
    let bare =
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#', '@'])) && is_plain(text);
    let canonical = Url::parse(text).is_ok_and(|url| match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization() == text,
        _ => true,
    });
    if bare && canonical {
        Ok(text.to_owned())
    } else {
        Err("must be origins: scheme, host and port as a browser sends them, in lower case, nothing behind")
    }
}

fn instance_id(text: &str) -> Result<String, &'static str> {
    if text.starts_with("ins_") && is_plain(text) { Ok(text.to_owned()) } else { Err("must begin with ins_") }
}

fn secret_key(text: &str) -> Result<(), &'static str> {
    let rest = text.strip_prefix("sk_test_").or_else(|| text.strip_prefix("sk_live_"));
    if rest.is_some_and(|rest| !rest.is_empty() && is_plain(rest)) {
        Ok(())
    } else {
        Err("must begin with sk_test_ or sk_live_")
    }
}

fn role(text: &str) -> Result<Role, &'static str> {
    if is_plain(text) && text != "org:" {
        Ok(Role::new(text))
    } else {
        Err("must be roles such as org:admin")
    }
}

fn schedule(text: &str) -> Result<String, &'static str> {
    if cron::is_valid(text) {
        Ok(text.to_owned())
    } else {
        Err("must be a cron expression of five fields, or six with seconds first")
    }
}

fn log_filter(text: &str) -> Result<String, &'static str> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|_| "must be a log filter")
}

fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json"),
    }
}

fn api_url(text: &str) -> Result<String, &'static str> {
    let url = https_url(text)?;
    if url.query().is_some() {
        return Err("must not have a query");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Collectors sit in the same network, often without TLS. What they ask for goes into
/// `OTEL_EXPORTER_OTLP_HEADERS`.
fn collector(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL")?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare && url.fragment().is_none() {
        Ok(url)
    } else {
        Err("must be an address that begins with http:// or https://, with no user, password or query")
    }
}

/// Keys and secrets travel over these, so plain `http` goes no further than this machine.
fn https_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL")?;
    if !url.has_host() {
        return Err("must be a URL with a host");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have no user, password or fragment");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err("must begin with https:// (plain http goes to localhost only)"),
    }
}

/// Whether a URL leads no further than this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
