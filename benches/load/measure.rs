//! Takes turns: everybody gets several short rounds, one after another, so that what else the machine does meets
//! all of them. Printed and compared are medians.

use std::time::Duration;

use super::client::{self, Done, Work};
use super::process::own_cpu_s;
use super::servers::Server;

/// How long and how often.
#[derive(Clone, Copy)]
pub(crate) struct Turns {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

/// Says what to do in a round, from the requests a second of the round before.
type Plan<'a> = Box<dyn FnMut(Option<f64>) -> Vec<Work> + 'a>;

/// Somebody who takes turns.
pub(crate) struct Contender<'a> {
    name: String,
    server: &'a Server,
    plan: Plan<'a>,
}

impl<'a> Contender<'a> {
    /// The first work of the plan is measured; the others are what else happens.
    pub(crate) fn new(
        name: &str,
        server: &'a Server,
        plan: impl FnMut(Option<f64>) -> Vec<Work> + 'a,
    ) -> Self {
        Self { name: name.to_owned(), server, plan: Box::new(plan) }
    }

    /// The same every time.
    pub(crate) fn reads(name: &str, server: &'a Server, work: Work) -> Self {
        Self::new(name, server, move |_| vec![work.clone()])
    }

    fn round(&mut self, last: Option<f64>) -> Figures {
        let works = (self.plan)(last);
        let before = (self.server.cpu_s(), own_cpu_s());
        let done = client::run(&works);
        let after = (self.server.cpu_s(), own_cpu_s());
        let all: usize = done.iter().map(|done| done.latencies_us.len()).sum();
        let each = |seconds: f64| seconds * 1e6 / all as f64;
        Figures::of(&done[0], each(after.0 - before.0), each(after.1 - before.1))
    }
}

/// What is measured of a round, or the medians of several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    /// The CPU time of the server for each request.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The CPU time of this program for each request.
    pub(crate) load_us: f64,
}

impl Figures {
    fn of(done: &Done, cpu_us: f64, load_us: f64) -> Self {
        let count = done.latencies_us.len();
        assert_ne!(count, 0, "nothing was answered");
        let at = |share: f64| f64::from(done.latencies_us[((count - 1) as f64 * share) as usize]);
        let per_second = count as f64 / done.took.as_secs_f64();
        Self { per_second, cpu_us, p50_us: at(0.50), p99_us: at(0.99), load_us }
    }

    fn medians(rounds: &[Self]) -> Self {
        let median = |what: fn(&Self) -> f64| median(rounds.iter().map(what).collect());
        Self {
            per_second: median(|round| round.per_second),
            cpu_us: median(|round| round.cpu_us),
            p50_us: median(|round| round.p50_us),
            p99_us: median(|round| round.p99_us),
            load_us: median(|round| round.load_us),
        }
    }
}

/// One line of a table.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) figures: Figures,
}

/// Lets everybody take turns, after one round that does not count. `between` is called before each turn of all.
pub(crate) fn contest(turns: Turns, mut contenders: Vec<Contender>, mut between: impl FnMut()) -> Vec<Line> {
    let mut rounds: Vec<Vec<Figures>> = contenders.iter_mut().map(|one| vec![one.round(None)]).collect();
    for _ in 0..turns.rounds {
        between();
        for (contender, rounds) in contenders.iter_mut().zip(&mut rounds) {
            let last = rounds.last().map(|round| round.per_second);
            rounds.push(contender.round(last));
        }
    }
    let line = |(contender, rounds): (Contender, Vec<Figures>)| Line {
        name: contender.name,
        figures: Figures::medians(&rounds[1..]),
    };
    contenders.into_iter().zip(rounds).map(line).collect()
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}
