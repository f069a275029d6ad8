//! The alert rules and the dashboard name nothing that the service does not show, and a real Prometheus takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::watched::Watched;
use crate::support::delivery::Delivery;
use crate::support::site::{USERS, clerk};

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
    let dashboard: Value = serde_json::from_str(&read("grafana/roster.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
    }
}

/// Debian's Prometheus, which scrapes a program every second, by our rules.
struct Prometheus {
    process: Child,
    url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Prometheus {
    fn start(folder: &Path, watched: &Watched) -> Self {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/roster.rules.yml");
        let target = watched.ops.trim_start_matches("http://");
        let settings = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ['{}']
scrape_configs: [{{job_name: roster, static_configs: [{{targets: ['{target}']}}]}}]",
            rules.display()
        );
        fs::write(folder.join("prometheus.yml"), settings).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new("prometheus");
        command.current_dir(folder).args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}")).stdout(Stdio::null()).stderr(Stdio::null());
        let process =
            command.spawn().expect("Prometheus is needed for the tests: apt-get install prometheus");
        Self { process, url: format!("http://{address}") }
    }

    /// What it answers; `None` while it is not up.
    async fn ask(&self, watched: &Watched, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let request = watched.request("GET", &format!("{}{path}", self.url)).query(query);
        let answer = request.send().await.ok()?;
        serde_json::from_str(&answer.text().await.unwrap()).ok()
    }

    /// How many series a query has.
    async fn series(&self, watched: &Watched, query: &str) -> usize {
        let Some(answer) = self.ask(watched, "/api/v1/query", &[("query", query)]).await else { return 0 };
        assert_eq!(answer["status"], "success", "{query}: {}", answer["error"]);
        answer["data"]["result"].as_array().unwrap().len()
    }
}

#[tokio::test]
async fn prometheus_scrapes_it_and_answers_what_the_dashboard_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (program, server) = (folder.path().join("roster"), folder.path().join("prometheus"));
    fs::create_dir(&program).unwrap();
    fs::create_dir(&server).unwrap();
    let clerk = clerk(1);
    let watched = Watched::start(&program, &clerk, &[]);
    let prometheus = Prometheus::start(&server, &watched);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut number = 0;
    // Rates need counters that have moved.
    while prometheus.series(&watched, r#"sum_over_time(up{job="roster"}[20s]) >= 4"#).await == 0 {
        assert!(Instant::now() < deadline, "it was not scraped");
        let user = crate::delivery::payloads::user(&format!("user_{number}")).to_string();
        watched.deliver(&Delivery::new(&format!("msg_{number}"), user)).await;
        watched.list(&clerk, USERS, "user_1", "org_1").await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let dashboard: Value = serde_json::from_str(&read("grafana/roster.json")).unwrap();
    let mut shown = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "20s");
            let series = prometheus.series(&watched, &query.replace("$job", "roster")).await;
            *shown.entry(panel["title"].as_str().unwrap()).or_insert(0) += series;
        }
    }
    // Nothing is reconciled here.
    let empty: Vec<_> = shown.iter().filter(|(_, series)| **series == 0).map(|(title, _)| *title).collect();
    assert_eq!(empty, ["Drift found", "Passes by outcome", "Repaired and refused", "Since the last pass"]);
    let rules = prometheus.ask(&watched, "/api/v1/rules", &[]).await.unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap();
    let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() > 10);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{}: {}", rule["name"], rule["lastError"]);
    }
}
