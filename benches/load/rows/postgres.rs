//! The same work on a file and on PostgreSQL with its usual settings, on the same disk.

use super::super::measure::{Contender, Line, contest};
use super::super::report::{Ratio, Section, Target};
use super::super::servers::{Server, roster, roster_on};
use super::super::work::{Feed, list_of_50, reads};
use super::super::{Bench, data};

/// Webhooks a second.
const WEBHOOKS: f64 = 3_500.0;

pub(crate) fn postgres(bench: &Bench) -> Vec<Section> {
    let (cluster, database) = data::on_postgres(bench.town);
    let on_file = roster(&bench.clerk, data::roster_folder(bench.town), None);
    let on_server = roster_on(&cluster, &database, &bench.clerk);
    let servers = [("SQLite", &on_file), ("PostgreSQL", &on_server)];
    // One each for all rounds: events of a second one would be older than those that were taken.
    let feeds = [(); 2].map(|()| Feed::of(bench.town));
    let mut sections = vec![list(bench, servers)];
    sections.extend([16, 64].map(|connections| webhooks(bench, servers, &feeds, connections)));
    sections
}

/// From the cache, so that neither database has anything to do.
fn list(bench: &Bench, servers: [(&str, &Server); 2]) -> Section {
    let request = list_of_50(bench.town, &bench.clerk, 0);
    let contenders = servers.map(|(name, server)| {
        Contender::reads(name, server, reads(server.address, vec![request.clone()], bench.turns.time, 50))
    });
    let lines = contest(bench.turns, contenders.into(), || {});
    let ratios = vec![Ratio::new("of the requests with SQLite", of_the_file(&lines), Target::AtLeast(0.90))];
    let title = "List of 50, warm, on both databases, 16 connections".to_owned();
    Section { row: "postgres", title, what: "requests", lines, ratios }
}

fn webhooks(bench: &Bench, servers: [(&str, &Server); 2], feeds: &[Feed; 2], connections: usize) -> Section {
    let time = bench.turns.time;
    let contenders = servers.into_iter().zip(feeds).map(|((name, server), feed)| {
        Contender::new(name, server, move |last| vec![feed.flood(server.address, connections, time, last)])
    });
    let lines = contest(bench.turns, contenders.collect(), || {});
    let ratios = vec![
        Ratio::new("webhooks a second", lines[1].figures.per_second, Target::AtLeast(WEBHOOKS)),
        Ratio::new("p99 in ms", lines[1].figures.p99_us / 1e3, Target::AtMost(25.0)),
        Ratio::told("of the webhooks with SQLite", of_the_file(&lines)),
    ];
    let title = format!("Durable webhooks on both databases, {connections} connections");
    Section { row: "postgres", title, what: "webhooks", lines, ratios }
}

fn of_the_file(lines: &[Line]) -> f64 {
    lines[1].figures.per_second / lines[0].figures.per_second
}
