//! The same work on three sizes, and what the largest one costs in memory and at the start.

use std::thread::sleep;
use std::time::Duration;

use super::super::client;
use super::super::measure::{Contender, Line, contest, median};
use super::super::report::{Ratio, Section, Target, number};
use super::super::servers::{Server, roster};
use super::super::work::{Feed, list_of_50, lists, reads};
use super::super::{Bench, data};
use crate::town::{EACH, Town};

const STARTS: usize = 5;
/// After so long without a request a service is idle.
const REST: Duration = Duration::from_secs(2);
/// The default of `ROSTER_CACHE_MB`.
const CACHE_MB: f64 = 256.0;
const IDLE_MB: f64 = 60.0;

/// A size that runs.
struct Running {
    town: Town,
    server: Server,
    feed: Feed,
}

pub(crate) fn scale(bench: &Bench) -> Vec<Section> {
    let start = |town: &Town| Running {
        town: *town,
        server: roster(&bench.clerk, data::roster_folder(*town), None),
        feed: Feed::of(*town),
    };
    let sizes: Vec<_> = bench.sizes.iter().map(start).collect();
    let largest = &sizes[sizes.len() - 1];
    // Before it has done anything.
    sleep(REST);
    let (idle, _) = largest.server.process.memory_mib();

    let time = bench.turns.time;
    let list = sizes.iter().map(|one| {
        let request = list_of_50(one.town, &bench.clerk, 0);
        Contender::reads(&people(one.town), &one.server, reads(one.server.address, vec![request], time, 50))
    });
    let list = contest(bench.turns, list.collect(), || {});
    let flood = sizes.iter().map(|one| {
        let plan = move |last| vec![one.feed.flood(one.server.address, 16, time, last)];
        Contender::new(&people(one.town), &one.server, plan)
    });
    let flood = contest(bench.turns, flood.collect(), || {});
    let memory = memory(bench, largest, idle);
    drop(sizes);
    vec![
        compared("List of 50 on three sizes, 16 connections", "requests", list),
        compared("Durable webhooks on three sizes, 16 connections", "webhooks", flood),
        memory,
        start_time(bench),
    ]
}

fn people(town: Town) -> String {
    format!("{} users", number(town.users as f64))
}

fn compared(title: &str, what: &'static str, lines: Vec<Line>) -> Section {
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    let of = format!("{}, of the {what} with {}", last.name, first.name);
    let value = last.figures.per_second / first.figures.per_second;
    let ratios = vec![Ratio::new(&of, value, Target::AtLeast(0.85))];
    Section { row: "scale", title: title.to_owned(), what, lines, ratios }
}

/// Reads of many organizations while webhooks arrive, until the cache is as full as it gets.
fn memory(bench: &Bench, one: &Running, idle: f64) -> Section {
    let time = bench.turns.time * 5;
    let requests = lists(one.town, &bench.clerk, bench.organizations);
    let mut read = reads(one.server.address, requests, time, EACH);
    // The webhooks before have let some of these organizations grow.
    read.looks_right = std::rc::Rc::new(|body| body.starts_with(b"[{"));
    client::run(&[read, one.feed.stream(one.server.address, 500, time)]);
    let (now, most) = one.server.process.memory_mib();
    let ratios = vec![
        Ratio::new("idle, MiB", idle, Target::AtMost(IDLE_MB)),
        Ratio::told("after the load, MiB", now),
        Ratio::new("at most, MiB (the cache may take 256)", most, Target::AtMost(IDLE_MB + CACHE_MB)),
    ];
    let title = format!("Memory with {}", people(one.town));
    Section { row: "scale", title, what: "requests", lines: Vec::new(), ratios }
}

/// From the start of the process until `/readyz` says 200.
fn start_time(bench: &Bench) -> Section {
    let town = bench.sizes[bench.sizes.len() - 1];
    let mut folder = data::roster_folder(town);
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let server = roster(&bench.clerk, folder, None);
        times.push(server.started_in.as_secs_f64() * 1e3);
        folder = server.stop();
    }
    let ratios =
        vec![Ratio::new("milliseconds until `/readyz` says 200", median(times), Target::AtMost(1e3))];
    let title = format!("Start with {}", people(town));
    Section { row: "scale", title, what: "requests", lines: Vec::new(), ratios }
}
