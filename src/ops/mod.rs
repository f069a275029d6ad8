//! The operators' listener: what the program says about itself, to scrapers and to people.
//!
//! It is a listener of its own, on loopback unless told otherwise, so that no route of it is ever in reach of
//! those who may ask the public one. What it shows has no names, no addresses and no tokens.

mod actions;
mod console;
mod gauges;
mod metrics;
mod stream;

use std::time::Duration;

use ::metrics_exporter_prometheus::PrometheusHandle;
use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use self::gauges::Gauges;
use crate::api::edge::{self, Listener};
use crate::api::only;
use crate::api::problem::{Code, Problem};

pub use console::Console;

/// Version 0.0.4 of the text format is what every scraper reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often what was timed is put into its buckets. Until then every single time is kept.
const UPKEEP: Duration = Duration::from_secs(5);

/// The counts of this process, from the moment on that this is made.
#[derive(Debug, Clone)]
pub struct Ops {
    handle: PrometheusHandle,
}

impl Ops {
    /// Begins to count. All services of a process share their counts.
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self { handle: metrics::install().context("the metrics cannot be set up")? })
    }

    /// The routes of the listener. The counts are kept in order, and consoles watch, until `stop`.
    pub async fn router(self, console: Console, stop: CancellationToken) -> anyhow::Result<Router> {
        let gauges = Gauges::begin(console.store.clone()).await?;
        let pages = console::routes(console, stop.clone())?;
        let handle = self.handle.clone();
        tokio::spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
                handle.run_upkeep();
            }
        });
        let routes = Router::new()
            .route("/metrics", only("GET, HEAD", get(show_metrics)))
            .with_state((self.handle, gauges))
            .merge(pages)
            .fallback(async || Problem::new(Code::NotFound, "There is no such route; try / or /metrics."));
        Ok(edge::around(Listener::Operators, routes))
    }
}

/// `GET /metrics`
async fn show_metrics(State((handle, gauges)): State<(PrometheusHandle, Gauges)>) -> Response {
    gauges.refresh().await;
    ([(CONTENT_TYPE, TEXT_FORMAT), (CACHE_CONTROL, "no-store")], handle.render()).into_response()
}
