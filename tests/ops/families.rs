use super::watched::Watched;
use crate::support::site::clerk;

/// Every family, and what its labels are.
const FAMILIES: [(&str, &str, &[&str]); 13] = [
    ("roster_cache_requests_total", "counter", &["cache", "outcome"]),
    ("roster_clerk_api_requests_total", "counter", &["status"]),
    ("roster_dead_letters", "gauge", &[]),
    ("roster_event_lag_seconds", "histogram", &[]),
    ("roster_http_request_seconds", "histogram", &["route"]),
    ("roster_http_requests_total", "counter", &["method", "route", "status"]),
    ("roster_last_event_timestamp_seconds", "gauge", &[]),
    ("roster_read_model_rows", "gauge", &["entity"]),
    ("roster_reconcile_drift_total", "counter", &["drift", "entity"]),
    ("roster_reconcile_last_success_timestamp_seconds", "gauge", &[]),
    ("roster_reconcile_runs_total", "counter", &["kind", "outcome"]),
    ("roster_webhook_events_total", "counter", &["outcome", "type"]),
    ("roster_webhook_seconds", "histogram", &[]),
];

#[tokio::test]
async fn every_family_is_there_from_the_start_and_says_zero() {
    let folder = tempfile::tempdir().unwrap();
    let watched = Watched::start(folder.path(), &clerk(1), &[]);
    let scrape = watched.scrape().await;
    let found: Vec<_> = scrape.families.iter().map(|(name, family)| (&**name, &*family.kind)).collect();
    assert_eq!(found, FAMILIES.map(|(name, kind, _)| (name, kind)));
    for (name, _, labels) in FAMILIES {
        for ((sample, has), value) in &scrape.families[name].samples {
            let has: Vec<_> = has.keys().filter(|label| *label != "le").collect();
            assert_eq!(has, labels, "{sample}");
            assert!(value.abs() < f64::EPSILON, "{sample} says {value}");
        }
    }
    for entity in ["users", "organizations", "memberships", "invitations"] {
        let rows = &scrape.families["roster_read_model_rows"].samples;
        assert!(rows.keys().any(|(_, labels)| labels["entity"] == entity), "{entity}");
    }
    let again = watched.scrape().await;
    assert_eq!(again.moved("roster_http_requests_total"), [""; 0], "those who look do not see themselves");
}
