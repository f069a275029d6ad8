//! The examples for several instances say what is so: names of settings, routes, ports and labels.

use std::fs;
use std::path::PathBuf;

use yaml_rust2::{Yaml, YamlLoader};

fn deploy(file: &str) -> Vec<Yaml> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    YamlLoader::load_from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn of_kind<'a>(all: &'a [Yaml], kind: &str) -> Vec<&'a Yaml> {
    let found: Vec<_> = all.iter().filter(|one| one["kind"].as_str() == Some(kind)).collect();
    assert!(!found.is_empty(), "there is no {kind}");
    found
}

/// The variables that the README explains.
fn is_setting(name: &str) -> bool {
    let readme = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    readme.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{name}`"))) || name == "PORT"
}

#[test]
fn kubernetes_finds_what_it_asks_for() {
    let all = deploy("kubernetes/roster.yaml");
    let deployment = of_kind(&all, "Deployment")[0];
    let pod = &deployment["spec"]["template"];
    let labels = pod["metadata"]["labels"].as_hash().unwrap();
    assert_eq!(deployment["spec"]["selector"]["matchLabels"].as_hash().unwrap(), labels);
    let budget = of_kind(&all, "PodDisruptionBudget")[0];
    assert_eq!(budget["spec"]["selector"]["matchLabels"].as_hash().unwrap(), labels);

    let container = &pod["spec"]["containers"][0];
    let ports = container["ports"].as_vec().unwrap();
    let ports: Vec<_> = ports.iter().map(|port| port["name"].as_str().unwrap()).collect();
    for service in of_kind(&all, "Service") {
        assert_eq!(service["spec"]["selector"].as_hash().unwrap(), labels);
        for port in service["spec"]["ports"].as_vec().unwrap() {
            assert!(ports.contains(&port["targetPort"].as_str().unwrap()));
        }
    }
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        let asked = &container[probe]["httpGet"];
        assert_eq!((asked["path"].as_str(), asked["port"].as_str()), (Some(path), Some("http")), "{probe}");
    }
    let settings =
        of_kind(&all, "ConfigMap")[0]["data"].as_hash().unwrap().keys().map(|name| name.as_str().unwrap());
    let environment = container["env"].as_vec().unwrap().iter().map(|one| one["name"].as_str().unwrap());
    for name in settings.chain(environment) {
        assert!(is_setting(name), "{name}");
    }

    let monitor = deploy("kubernetes/servicemonitor.yaml");
    let wanted = monitor[0]["spec"]["selector"]["matchLabels"].as_hash().unwrap();
    let watched = of_kind(&all, "Service").into_iter().filter(|service| {
        let labels = service["metadata"]["labels"].as_hash().unwrap();
        wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
    });
    let port = monitor[0]["spec"]["endpoints"][0]["port"].as_str();
    let watched: Vec<_> = watched.map(|service| service["spec"]["ports"][0]["name"].as_str()).collect();
    assert_eq!(watched, [port], "the monitor finds the operators' service and no other");
}

#[test]
fn the_balancer_of_the_compose_file_knows_every_roster() {
    let compose = &deploy("compose/compose.yaml")[0];
    let services = compose["services"].as_hash().unwrap();
    let proxy =
        fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/compose/Caddyfile"))
            .unwrap();
    let rosters: Vec<_> = services
        .keys()
        .map(|name| name.as_str().unwrap())
        .filter(|name| name.starts_with("roster"))
        .collect();
    assert!(rosters.len() > 1);
    for name in rosters {
        assert!(proxy.contains(&format!("{name}:8080")), "{name}");
        let roster = &compose["services"][name];
        assert_eq!(roster["environment"]["PORT"].as_str(), Some("8080"));
        for (setting, _) in roster["environment"].as_hash().unwrap() {
            assert!(is_setting(setting.as_str().unwrap()), "{setting:?}");
        }
    }
    assert!(proxy.contains("health_uri /readyz"));
}
