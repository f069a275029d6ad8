//! The alert rules and the dashboard name nothing that the service does not show.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::watched::Watched;
use crate::support::site::clerk;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)).unwrap()
}

/// Every series that a text names, and the labels that it selects by.
fn selectors(text: &str) -> Vec<(String, Vec<String>)> {
    let starts = text.match_indices("roster_").map(|(start, _)| &text[start..]);
    let selectors = starts.map(|rest| {
        let end = rest.find(|one: char| !one.is_ascii_lowercase() && one != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        // In JSON the quotes are escaped; no value of ours holds a comma or a brace.
        let inside = rest.strip_prefix('{').map_or("", |rest| rest.split('}').next().unwrap());
        let labels = inside.split(',').filter_map(|matcher| matcher.split(['=', '!']).next());
        (name.to_owned(), labels.filter(|label| !label.is_empty()).map(str::to_owned).collect())
    });
    selectors.collect()
}

#[tokio::test]
async fn rules_and_dashboard_name_what_a_scrape_shows() {
    let folder = tempfile::tempdir().unwrap();
    let watched = Watched::start(folder.path(), &clerk(1), &[]);
    let scrape = watched.scrape().await;
    let mut used = BTreeSet::new();
    for file in ["prometheus/roster.rules.yml", "prometheus/roster.rules.test.yml", "grafana/roster.json"] {
        let found = selectors(&read(file));
        assert!(found.len() > 10, "{file}");
        for (name, labels) in found {
            let suffixes = ["", "_bucket", "_sum", "_count"];
            let family = suffixes.iter().find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                scrape.families.get_key_value(family)
            });
            let (family, series) = family.unwrap_or_else(|| panic!("{file}: there is no {name}"));
            let known: BTreeSet<_> = series.samples.keys().flat_map(|(_, labels)| labels.keys()).collect();
            for label in labels {
                let ours = known.contains(&label) || label == "job" || label == "instance";
                assert!(ours, "{file}: {name} has no label {label}");
            }
            used.insert(family.clone());
        }
    }
    assert_eq!(used, scrape.families.keys().cloned().collect(), "every family is of use to somebody");
}

#[test]
fn every_alert_is_seen_to_fire() {
    let (rules, tests) = (read("prometheus/roster.rules.yml"), read("prometheus/roster.rules.test.yml"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        assert!(tests.contains(&format!(r#"'ALERTS{{alertname="{alert}",alertstate="firing""#)), "{alert}");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana/roster.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
    }
}
