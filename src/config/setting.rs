//! The table of every variable. Flags, keys of `roster.toml` and `--help` are made from it.

/// One variable.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the environment and in `.env`.
    pub variable: &'static str,
    /// Its long flag, without the two hyphens.
    pub flag: &'static str,
    /// A value that is accepted, for `--help` and for error messages.
    pub example: &'static str,
    /// One sentence for `--help`.
    pub help: &'static str,
}

impl Setting {
    /// Its key in `roster.toml`.
    pub fn key(&self) -> String {
        self.flag.replace('-', "_")
    }

    /// Looks a variable up by its name.
    pub fn named(variable: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.variable == variable)
    }
}

const fn setting(
    variable: &'static str,
    flag: &'static str,
    example: &'static str,
    help: &'static str,
) -> Setting {
    Setting { variable, flag, example, help }
}

/// Every variable that Roster knows.
pub const SETTINGS: &[Setting] = &[
    setting(
        "DATABASE_URL",
        "database-url",
        "sqlite://roster.db",
        "Where the read model is kept [default: sqlite://roster.db]",
    ),
    setting("ROSTER_LISTEN", "listen", "127.0.0.1:8080", "Public listener [default: 127.0.0.1:8080]"),
    setting("PORT", "port", "8080", "Without ROSTER_LISTEN: listen on 0.0.0.0 and this port"),
    setting(
        "ROSTER_OPS_LISTEN",
        "ops-listen",
        "127.0.0.1:9090",
        "Operators' listener [default: 127.0.0.1:9090]",
    ),
    setting(
        "ROSTER_OPS_TOKEN",
        "ops-token",
        "a-long-random-text",
        "Bearer token for the actions of the operators' listener",
    ),
    setting(
        "CLERK_WEBHOOK_SIGNING_SECRET",
        "clerk-webhook-signing-secret",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "Signing secret of the webhook endpoint; several, separated by commas, are all valid",
    ),
    setting(
        "CLERK_PUBLISHABLE_KEY",
        "clerk-publishable-key",
        "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k",
        "Gives the issuer of tokens and the address of their keys",
    ),
    setting(
        "CLERK_ISSUER",
        "clerk-issuer",
        "https://clerk.example.com",
        "The issuer of tokens [default: from the publishable key]",
    ),
    setting(
        "CLERK_JWKS_URL",
        "clerk-jwks-url",
        "https://clerk.example.com/.well-known/jwks.json",
        "Address of the key set [default: from the publishable key]",
    ),
    setting(
        "CLERK_JWT_KEY",
        "clerk-jwt-key",
        "\"-----BEGIN PUBLIC KEY-----\\nMIIB…\\n-----END PUBLIC KEY-----\"",
        "PEM public key; with it no network is needed to check tokens",
    ),
    setting(
        "CLERK_AUTHORIZED_PARTIES",
        "clerk-authorized-parties",
        "https://app.example.com,http://localhost:3000",
        "Origins whose tokens are accepted, separated by commas",
    ),
    setting("CLERK_SECRET_KEY", "clerk-secret-key", "sk_test_…", "Secret key of Clerk's Backend API"),
    setting(
        "CLERK_API_URL",
        "clerk-api-url",
        "https://api.clerk.com",
        "Base of Clerk's Backend API [default: https://api.clerk.com]",
    ),
    setting(
        "CLERK_INSTANCE_ID",
        "clerk-instance-id",
        "ins_2aBcDeFgHiJkLmNoPqRsTuVwXyZ",
        "Events of another instance, or of none, are ignored, and no pass runs with the key of another one",
    ),
    setting(
        "ROSTER_CLERK_RATE",
        "clerk-rate",
        "50",
        "Requests per 10 s towards Clerk [default: half of Clerk's limit]",
    ),
    setting(
        "ROSTER_ADMIN_ROLES",
        "admin-roles",
        "org:admin,org:owner",
        "Roles that may use the admin endpoint [default: org:admin]",
    ),
    setting(
        "ROSTER_RECONCILE_CRON",
        "reconcile-cron",
        "\"*/15 * * * *\"",
        "When incremental passes run, UTC [default: every 15 minutes]",
    ),
    setting(
        "ROSTER_RECONCILE_FULL_CRON",
        "reconcile-full-cron",
        "\"0 3 * * *\"",
        "When full passes run, UTC [default: daily, 03:00]",
    ),
    setting(
        "ROSTER_RECONCILE_MAX_DELETES",
        "reconcile-max-deletes",
        "10",
        "The most that a pass may remove, per entity [default: the larger of 10 and 5 %]",
    ),
    setting(
        "ROSTER_READ_THROUGH_MS",
        "read-through-ms",
        "800",
        "How long a caller waits for an organization that is not known yet [default: 800]",
    ),
    setting("ROSTER_CACHE_MB", "cache-mb", "256", "Size of the snapshot cache [default: 256]"),
    setting("ROSTER_JOURNAL_DAYS", "journal-days", "30", "How long events stay in the journal [default: 30]"),
    setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "otel-exporter-otlp-endpoint",
        "http://localhost:4318",
        "OpenTelemetry collector that spans are sent to, over HTTP [default: none]",
    ),
    setting("ROSTER_LOG", "log", "info,roster=debug", "Log filter [default: info]"),
    setting("RUST_LOG", "rust-log", "info", "Log filter when ROSTER_LOG is not set"),
    setting(
        "ROSTER_LOG_FORMAT",
        "log-format",
        "json",
        "text or json [default: text on a terminal, json elsewhere]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_the_variable_in_lower_case_with_hyphens_without_roster() {
        for setting in SETTINGS {
            let short = setting.variable.strip_prefix("ROSTER_").unwrap_or(setting.variable);
            assert_eq!(setting.flag, short.to_lowercase().replace('_', "-"));
        }
    }
}
