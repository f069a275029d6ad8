//! Reads the text format of Prometheus (0.0.4), stricter than a scraper does.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a series, by name.
type Labels = BTreeMap<String, String>;

/// One family: its type, and the value of each of its samples, by name and labels.
#[derive(Debug)]
pub struct Family {
    pub kind: String,
    pub samples: BTreeMap<(String, Labels), f64>,
}

/// One scrape.
#[derive(Debug)]
pub struct Scrape {
    pub text: String,
    pub families: BTreeMap<String, Family>,
}

impl Scrape {
    pub fn parse(text: String) -> Self {
        assert!(text.ends_with('\n'), "the last line must end");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let (mut helped, mut current) = (BTreeSet::new(), None);
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(!help.trim().is_empty() && help.ends_with('.'), "{line}");
                assert!(helped.insert(name.to_owned()), "described twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(is_name(name) && helped.contains(name), "{line}");
                let family = Family { kind: kind.to_owned(), samples: BTreeMap::new() };
                assert!(families.insert(name.to_owned(), family).is_none(), "{line}");
                current = Some(name.to_owned());
            } else {
                let family = current.clone().unwrap_or_else(|| panic!("no family yet: {line}"));
                let (name, labels, value) = sample(line);
                let entry = families.get_mut(&family).unwrap();
                let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("of no family: {line}"));
                let suffixes: &[_] =
                    if entry.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{line}");
                assert!(entry.kind == "gauge" || value >= 0.0, "{line}");
                assert!(entry.samples.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        for (name, family) in &families {
            assert!(!family.samples.is_empty(), "{name} has no series");
            assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
            if family.kind == "histogram" {
                check_buckets(name, family);
            }
        }
        Self { text, families }
    }

    /// The sum of the samples of a name that have at least these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let suffixes = ["", "_sum", "_count"];
        let family = suffixes.iter().find_map(|suffix| self.families.get(name.strip_suffix(suffix)?));
        let family = family.unwrap_or_else(|| panic!("{name} is not there"));
        let fits = |has: &Labels| {
            labels.iter().all(|(name, value)| has.get(*name).is_some_and(|found| found == value))
        };
        let samples = family.samples.iter().filter(|((sample, has), _)| sample == name && fits(has));
        samples.map(|(_, value)| value).sum()
    }

    /// The series of a counter that are not zero, as `value label=value …`.
    pub fn moved(&self, name: &str) -> Vec<String> {
        let samples = self.families[name].samples.iter().filter(|(_, value)| **value != 0.0);
        let mut lines: Vec<_> = samples
            .map(|((_, labels), value)| {
                let labels: Vec<_> = labels.values().map(String::as_str).collect();
                format!("{} {value}", labels.join(" "))
            })
            .collect();
        lines.sort();
        lines
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_')
}

/// `name{label="value",…} 1`, or without labels.
fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    assert!(value.is_finite(), "{line}");
    let Some((name, rest)) = series.split_once('{') else {
        assert!(is_name(series), "{line}");
        return (series.to_owned(), Labels::new(), value);
    };
    assert!(is_name(name), "{line}");
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("no end: {line}"));
    let mut labels = Labels::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").unwrap();
        // None of our labels has anything to escape.
        let (text, after) = after.split_once('"').unwrap();
        assert!(is_name(label) && !text.is_empty() && !text.contains('\\'), "{line}");
        assert!(labels.insert(label.to_owned(), text.to_owned()).is_none(), "{line}");
        rest = after.strip_prefix(',').unwrap_or(after);
        assert!(after.is_empty() || after.starts_with(','), "{line}");
    }
    (name.to_owned(), labels, value)
}

/// The buckets of each series only grow, the last one holds everything, and there are sum and count.
fn check_buckets(name: &str, family: &Family) {
    let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for ((sample, labels), count) in &family.samples {
        if *sample == format!("{name}_bucket") {
            let mut labels = labels.clone();
            let edge = labels.remove("le").unwrap();
            let edge = if edge == "+Inf" { f64::INFINITY } else { edge.parse().unwrap() };
            series.entry(labels).or_default().push((edge, *count));
        }
    }
    assert!(!series.is_empty(), "{name} has no buckets");
    for (labels, mut buckets) in series {
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        assert!(buckets.len() > 5 && buckets.is_sorted_by(|(_, one), (_, other)| one <= other), "{name}");
        let (last, all) = buckets[buckets.len() - 1];
        let count = family.samples.get(&(format!("{name}_count"), labels.clone()));
        assert!(last.is_infinite() && count == Some(&all), "{name} {labels:?}");
        assert!(family.samples.contains_key(&(format!("{name}_sum"), labels)), "{name}");
    }
}
