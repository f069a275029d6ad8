//! One list, asked for again and again: the work that is closest to sending a file.

use super::super::client::{Work, ask, get};
use super::super::measure::{Contender, contest};
use super::super::report::{Ratio, Section, Target};
use super::super::servers::{LIST, Server, nginx, node_service, roster};
use super::super::work::{list_of_50, reads};
use super::super::{Bench, data};
use crate::town::FIFTY;

/// The list of 50, warm, by one bearer: beside a static file of the same bytes, and the Node service.
pub(crate) fn list(bench: &Bench) -> Vec<Section> {
    let request = list_of_50(bench.town, &bench.clerk, 0);
    let roster = roster(&bench.clerk, data::roster_folder(bench.town), None);
    let answer = ask(roster.address, &request).unwrap();
    let nginx = nginx(&answer);
    let one = node_service(&bench.clerk, data::node_folder(bench.town), 1);
    let two = node_service(&bench.clerk, data::node_folder(bench.town), 2);
    for other in [&nginx, &one, &two] {
        let body = ask(other.address, &request).unwrap().body;
        assert!(body == answer.body, "they do not answer the same: {}", String::from_utf8_lossy(&body));
    }
    let work = |server: &Server| reads(server.address, vec![request.clone()], bench.turns.time, 50);
    let contenders = vec![
        Contender::reads("Roster", &roster, work(&roster)),
        Contender::reads("nginx, static file", &nginx, work(&nginx)),
        Contender::reads("Node", &one, work(&one)),
        Contender::reads("Node, two processes", &two, work(&two)),
    ];
    let lines = contest(bench.turns, contenders, || {});
    let [roster, nginx, _, two] = [0, 1, 2, 3].map(|at| lines[at].figures);
    let ratios = vec![
        Ratio::new("of nginx's requests", roster.per_second / nginx.per_second, Target::AtLeast(0.80)),
        Ratio::new("of its CPU per request", roster.cpu_us / nginx.cpu_us, Target::AtMost(1.25)),
        Ratio::new("of its p99", roster.p99_us / nginx.p99_us, Target::AtMost(2.0)),
        Ratio::new(
            "times Node's requests (two processes)",
            roster.per_second / two.per_second,
            Target::AtLeast(15.0),
        ),
    ];
    let title = format!("List of 50, warm, 16 connections, {} bytes", answer.body.len());
    vec![Section { row: "list", title, what: "requests", lines, ratios }]
}

/// The same list for many bearers in turn.
pub(crate) fn tokens(bench: &Bench) -> Vec<Section> {
    let roster = roster(&bench.clerk, data::roster_folder(bench.town), None);
    let requests = |count: usize| (0..count).map(|session| list_of_50(bench.town, &bench.clerk, session));
    let work = |count| reads(roster.address, requests(count).collect(), bench.turns.time, 50);
    let many = format!("{} tokens in turn", bench.tokens);
    let contenders = vec![
        Contender::reads("one token", &roster, work(1)),
        Contender::reads(&many, &roster, work(bench.tokens)),
    ];
    let lines = contest(bench.turns, contenders, || {});
    let value = lines[1].figures.per_second / lines[0].figures.per_second;
    let ratios = vec![Ratio::new("of the requests with one token", value, Target::AtLeast(0.95))];
    let title = "List of 50, many tokens".to_owned();
    vec![Section { row: "tokens", title, what: "requests", lines, ratios }]
}

/// Callers who have the list already.
pub(crate) fn not_modified(bench: &Bench) -> Vec<Section> {
    let request = list_of_50(bench.town, &bench.clerk, 0);
    let roster = roster(&bench.clerk, data::roster_folder(bench.town), None);
    let nginx = nginx(&ask(roster.address, &request).unwrap());
    let token = bench.clerk.token(bench.town.members(FIFTY)[0], FIFTY, 0);
    let work = |server: &Server| {
        let answer = ask(server.address, &request).unwrap();
        let has = format!("If-None-Match: {}\r\n", answer.header("etag").expect("a tag"));
        let work = reads(server.address, vec![get(LIST, &token, &has)], bench.turns.time, 0);
        Work { status: 304, ..work }
    };
    let contenders = vec![
        Contender::reads("Roster", &roster, work(&roster)),
        Contender::reads("nginx, static file", &nginx, work(&nginx)),
    ];
    let lines = contest(bench.turns, contenders, || {});
    let value = lines[0].figures.per_second / lines[1].figures.per_second;
    let ratios = vec![Ratio::new("of nginx's requests", value, Target::AtLeast(0.85))];
    let title = "Not modified (304), 16 connections".to_owned();
    vec![Section { row: "not-modified", title, what: "requests", lines, ratios }]
}
