//! Spans, sent to an OpenTelemetry collector over OTLP (HTTP, protobuf).
//!
//! What is exported are the spans of this program at level `TRACE`, and no others: logs show them to those only who
//! ask for that level, and where nothing is exported they are never made. Their names and attributes are
//! OpenTelemetry's own where it has some. They hold ids, types and templates of routes; no token, no query, no body.
//!
//! The queue is bounded (`OTEL_BSP_MAX_QUEUE_SIZE`, 2,048 spans): a collector that is away or slow costs spans and
//! never a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use reqwest::Url;
use tracing::{Level, Metadata, Span, Subscriber, info, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::causes;
use crate::clock;

/// How long the end of the program waits for the collector.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

const SERVICE: &str = "roster";

/// The way to the collector, for as long as the program runs.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Prepares to send to a collector; `/v1/traces` is added. Everything else that the `OTEL_…` variables of the
    /// environment say is heeded by the library.
    pub(super) fn to(endpoint: &Url) -> anyhow::Result<Self> {
        let address = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
        let exporter = Otlp::builder().with_http().with_endpoint(address).build();
        let exporter =
            exporter.context("spans cannot be exported; check the OTEL_EXPORTER_OTLP_… variables")?;
        let exporter = Announced { exporter, is_failing: AtomicBool::new(false) };
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        global::set_tracer_provider(provider.clone());
        Ok(Self(Some(provider)))
    }

    /// Takes our spans, whatever the logs take.
    pub(super) fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(
        &self,
    ) -> Option<impl Layer<S> + use<S>> {
        let tracer = self.0.as_ref()?.tracer(SERVICE);
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false);
        Some(layer.with_filter(filter_fn(is_exported)))
    }

    /// Sends what waits, and waits a little for it.
    pub async fn flush(self) {
        let Some(provider) = self.0 else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_LIMIT)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!("the last spans were not exported");
        }
    }
}

fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() == Level::TRACE && metadata.target().starts_with(SERVICE)
}

fn resource() -> Resource {
    let from_environment = Resource::builder().build();
    let is_named = from_environment
        .get(&"service.name".into())
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if is_named { resource.build() } else { resource.with_service_name(SERVICE).build() }
}

/// Says once that the collector takes nothing, and once that it does again.
#[derive(Debug)]
struct Announced {
    exporter: Otlp,
    is_failing: AtomicBool,
}

impl SpanExporter for Announced {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Err(error) if !was_failing => {
                warn!(error = %causes(error), "spans cannot be exported, and are dropped: check OTEL_EXPORTER_OTLP_ENDPOINT and the collector");
            }
            Ok(()) if was_failing => info!("spans are exported again"),
            _ => {}
        }
        exported
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Makes the caller's span the parent of ours, where the request names one (W3C Trace Context).
pub(crate) fn continue_from(span: &Span, headers: &HeaderMap) {
    if !span.is_disabled() {
        // It fails when nothing is exported, and then nobody wants to know.
        let _ = span.set_parent(parent(headers));
    }
}

/// The span of a request that was answered before it could have one.
pub(crate) fn answered(
    headers: &HeaderMap,
    method: &str,
    route: &'static str,
    request_id: &str,
    status: StatusCode,
    took: Duration,
) {
    let tracer = global::tracer(SERVICE);
    let ended = clock::system_time();
    let mut span = tracer
        .span_builder(format!("{method} {route}"))
        .with_kind(SpanKind::Server)
        .with_start_time(ended.checked_sub(took).unwrap_or(ended))
        .with_attributes([
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("http.route", route),
            KeyValue::new("request_id", request_id.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
        ])
        .start_with_context(&tracer, &parent(headers));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
    span.end_with_timestamp(ended);
}

fn parent(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
