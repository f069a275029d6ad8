//! Logs: to standard error, so that what a command prints stays clean. Spans: to a collector, where one is named.

pub mod traces;

use std::error::Error;
use std::fmt::{self, Display};
use std::io::IsTerminal as _;

use reqwest::Url;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, registry};

use self::traces::Traces;
use crate::config::{Log, LogFormat};

/// Starts logging for the whole process. A second call changes nothing.
pub fn init(log: &Log) {
    // It fails only when a subscriber is there already, as in tests that start several services.
    let _ = registry().with(lines(log)).with(filter(log)).try_init();
}

/// The same, and spans to the collector at `endpoint`. Without one, nothing of that runs.
pub fn init_with_traces(log: &Log, endpoint: Option<&Url>) -> anyhow::Result<Traces> {
    let Some(endpoint) = endpoint else {
        init(log);
        return Ok(Traces::default());
    };
    let traces = Traces::to(endpoint)?;
    let logs = lines(log).with_filter(filter(log));
    let _ = registry().with(logs).with(traces.layer()).try_init();
    tracing::info!(host = endpoint.host_str(), "spans are exported");
    Ok(traces)
}

fn filter(log: &Log) -> EnvFilter {
    let filter = log.filter.as_deref().unwrap_or("info");
    EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"))
}

fn lines(log: &Log) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = std::io::stderr().is_terminal();
    // https://no-color.org: set and not empty.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal && !plain);
    let json = log.format.map_or(!terminal, |format| format == LogFormat::Json);
    if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() }
}

/// An error with all that caused it, on one line: of an error that is logged as such, JSON has the first words only.
pub fn causes(error: &dyn Error) -> impl Display {
    fmt::from_fn(move |f| {
        let mut said = error.to_string();
        write!(f, "{said}")?;
        let mut source = error.source();
        while let Some(cause) = source {
            let words = cause.to_string();
            // Some say it themselves.
            if !said.ends_with(&words) {
                write!(f, ": {words}")?;
            }
            (said, source) = (words, cause.source());
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("the disk is full")]
        Disk,
        #[error("nothing was written")]
        Silent(#[source] Box<Failure>),
        #[error("the page was not written: {0}")]
        Telling(#[source] Box<Failure>),
    }

    #[test]
    fn every_cause_is_said_once() {
        let full = || Box::new(Failure::Disk);
        let said = |error: &Failure| causes(error).to_string();
        assert_eq!(said(&Failure::Disk), "the disk is full");
        assert_eq!(said(&Failure::Silent(full())), "nothing was written: the disk is full");
        assert_eq!(said(&Failure::Telling(full())), "the page was not written: the disk is full");
        assert_eq!(
            said(&Failure::Silent(Box::new(Failure::Telling(full())))),
            "nothing was written: the page was not written: the disk is full"
        );
    }
}
