//! Spans, as a collector gets them from the real program.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use roster::sim::backend_api::SECRET_KEY;
use roster::sim::server::{Server, Shared};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::watched::{Watched, ada};
use crate::support::answer::Answer;
use crate::support::binary::Program;
use crate::support::delivery::{Delivery, SECRET, now_s};
use crate::support::site::{USERS, clerk, token};

/// A trace that somebody else began, and the span in it that calls us.
const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const CALLER: u128 = 0xb7ad_6b71_6920_3331;
const PATIENCE: Duration = Duration::from_mins(1);

/// Takes what is exported, after having refused the first so many times.
#[derive(Clone, Default)]
struct Collector {
    taken: Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>,
    asked: Arc<AtomicU32>,
    refuses: u32,
}

impl Collector {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().unwrap();
        let resources = taken.iter().flat_map(|(_, request)| &request.resource_spans);
        resources.flat_map(|spans| &spans.scope_spans).flat_map(|spans| spans.spans.clone()).collect()
    }

    /// The value of an attribute of the program itself.
    fn resource(&self, key: &str) -> String {
        let taken = self.taken.lock().unwrap();
        let resource = taken[0].1.resource_spans[0].resource.clone().unwrap();
        let found = resource.attributes.into_iter().find(|attribute| attribute.key == key).unwrap();
        show(found.value.unwrap().value.unwrap())
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if collector.asked.fetch_add(1, Ordering::SeqCst) < collector.refuses {
        return StatusCode::BAD_REQUEST;
    }
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    collector.taken.lock().unwrap().push((headers, request));
    StatusCode::OK
}

fn show(value: Value) -> String {
    match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(show(found.value.clone()?.value?))
}

fn number(id: &[u8]) -> u128 {
    id.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The name of a span, and of the span that it belongs to.
fn place(span: &Span, spans: &[Span]) -> String {
    let parent = spans.iter().find(|other| other.span_id == span.parent_span_id);
    let parent = match parent {
        Some(parent) => parent.name.clone(),
        None if number(&span.parent_span_id) == CALLER => "caller".to_owned(),
        None => "-".to_owned(),
    };
    format!("{} in {parent}", span.name)
}

fn traceparent() -> String {
    format!("00-{TRACE:032x}-{CALLER:016x}-01")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_deliveries_and_passes_are_told_to_the_collector() {
    let collector = Collector::default();
    let url = collector.start().await;
    let mut instance = clerk(1);
    let (user, organization) = ada(&mut instance);
    instance.take_events();
    let event = instance.change_email(&user, "grace@example.com").unwrap();
    let bearer = token(&instance, now_s() - 5, &user, &organization, "admin");
    let server = Server::start(Shared::new(instance)).await.unwrap();
    let settings = [
        ("CLERK_API_URL", &*server.url()),
        ("CLERK_SECRET_KEY", SECRET_KEY),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of-the-collector"),
        // Nothing is sent before the end but what the end itself sends.
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(folder.path(), &clerk(1), &settings);
    watched.program.wait_for(r#""message":"pass""#);

    let delivery = Delivery::of(&event).with("traceparent", traceparent());
    let verdict = watched.deliver(&delivery).await;
    assert!(verdict.starts_with("200"), "{verdict}");
    assert_eq!(
        watched.deliver(&delivery.clone().with("svix-signature", "v1,AAAA")).await,
        "401 UNAUTHORIZED"
    );
    // The first is made, the second is ready.
    for id in ["r-1", "r-2"] {
        let request = watched.request("GET", &format!("{}{USERS}", watched.service));
        let request = request.bearer_auth(&bearer).header("traceparent", traceparent());
        let answer = Answer::of(request.header("x-request-id", id)).await;
        assert_eq!(answer.ids(), [&*user]);
    }
    assert_eq!(watched.ask("GET", &format!("{}/{user}", watched.service)).await.status, 404);
    assert_eq!(watched.ask("GET", &format!("{}/readyz", watched.service)).await.status, 200);
    watched.scrape().await;
    assert_eq!(collector.asked(), 0);
    watched.program.terminate();
    assert_eq!(watched.program.wait().code(), Some(0));

    let spans = collector.spans();
    let mut places: Vec<_> = spans.iter().map(|span| place(span, &spans)).collect();
    places.sort();
    let calls = places.iter().filter(|place| *place == "GET in pass").count();
    assert!(calls >= 4, "{places:?}");
    places.retain(|place| place != "GET in pass");
    insta::assert_snapshot!(places.join("\n"), @r"
    GET /api/v1/entities/users in caller
    GET /api/v1/entities/users in caller
    GET in -
    POST /webhooks/clerk in caller
    POST /webhooks/clerk in caller
    apply in delivery
    delivery in POST /webhooks/clerk
    delivery in POST /webhooks/clerk
    pass in -
    verify in delivery
    verify in delivery
    ");
    for span in &spans {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
        if place(span, &spans).ends_with("in caller") {
            assert_eq!(number(&span.trace_id), TRACE);
            // A server's, by OpenTelemetry's numbers.
            assert_eq!(span.kind, 2);
        }
    }
    let of = |key: &str, value: &str| {
        spans.iter().filter(|span| attribute(span, key).as_deref() == Some(value)).count()
    };
    assert_eq!((of("request_id", "r-1"), of("request_id", "r-2")), (1, 1));
    assert_eq!((of("http.route", USERS), of("http.response.status_code", "401")), (2, 1));
    assert_eq!((of("message_id", &event.message_id), of("outcome", "rejected")), (1, 1));
    assert_eq!((of("kind", "full"), of("outcome", "completed")), (1, 1));
    assert!(of("url.path", "/v1/users/count") > 0);

    assert_eq!(collector.resource("service.name"), "roster");
    let taken = collector.taken.lock().unwrap();
    assert!(taken.iter().all(|(headers, _)| headers["x-key"] == "of-the-collector"));
    for private in [&*bearer, SECRET_KEY, SECRET, "Ada", "Okafor", "@example.com", "ada@", "grace"] {
        let told = taken.iter().map(|(_, request)| format!("{request:?}")).any(|text| text.contains(private));
        assert!(!told, "{private}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_sends_its_spans_before_it_ends() {
    let collector = Collector::default();
    let url = collector.start().await;
    let mut instance = clerk(1);
    ada(&mut instance);
    let server = Server::start(Shared::new(instance)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let environment = [
        ("CLERK_API_URL", &*server.url()),
        ("CLERK_SECRET_KEY", SECRET_KEY),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("{url}/")),
        ("OTEL_SERVICE_NAME", "people"),
    ];
    let program = Program::start(folder.path(), &["reconcile"], &environment);
    assert_eq!(program.wait().code(), Some(0));
    let spans = collector.spans();
    assert_eq!(spans.iter().filter(|span| place(span, &spans) == "pass in -").count(), 1);
    assert!(spans.iter().any(|span| place(span, &spans) == "GET in pass"));
    assert_eq!(collector.resource("service.name"), "people");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_takes_nothing_is_one_warning_and_no_harm() {
    let collector = Collector { refuses: 3, ..Collector::default() };
    let url = collector.start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let mut watched = Watched::start(folder.path(), &clerk(1), &settings);
    for times in 1..=4 {
        let answer = watched.ask("GET", &format!("{}/nowhere", watched.service)).await;
        assert_eq!(answer.status, 404);
        let deadline = Instant::now() + PATIENCE;
        while collector.asked() < times {
            assert!(Instant::now() < deadline, "the collector was not asked {times} times");
            sleep(Duration::from_millis(10)).await;
        }
    }
    watched.program.wait_for("spans are exported again");
    let warnings = watched.program.seen().iter().filter(|line| line.contains("WARN"));
    let about_spans: Vec<_> = warnings.filter(|line| line.contains("span")).collect();
    assert_eq!(about_spans.len(), 1, "{about_spans:?}");
    assert!(about_spans[0].contains("spans cannot be exported, and are dropped"));
    assert_eq!(collector.spans().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_does_not_keep_the_program_from_ending() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{nobody}");
    let mut watched = Watched::start(folder.path(), &clerk(1), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]);
    assert_eq!(watched.ask("GET", &format!("{}/nowhere", watched.service)).await.status, 404);
    watched.program.terminate();
    watched.program.wait_for("stopped");
    assert_eq!(watched.program.wait().code(), Some(0));
}
