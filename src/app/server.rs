//! Takes connections and speaks HTTP/1.1 and HTTP/2 (without TLS) on them.
//!
//! Written out because `axum::serve` has no time limits: a client that connects and stays silent would hold
//! its connection for ever.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::Response;
use futures_util::TryFutureExt as _;
use hyper::body::Incoming;
use hyper::{Request, Version, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};
use tracing::{debug, warn};

use super::refusals::InOurWords;
use super::stuck::Unstuck;
use super::untaken::Untaken;

/// How long a new connection may take to send the head of its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long a connection may be idle between requests. Load balancers reuse theirs for 60 s: closing earlier
/// would cut off a request that is already on its way.
const IDLE: Duration = Duration::from_secs(75);
/// The longest head of a request, in bytes. `edge::unreadable` tells callers this number.
const MAX_HEAD: usize = 64 * 1024;
/// How long requests may go on after the stop signal.
const DRAIN: Duration = Duration::from_secs(25);
/// How long to wait when the system has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(250);

/// What can be served: routes, or something before them.
pub trait Http:
    Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Http for S where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Serves until `shutdown`, then lets open requests finish. False when some had to be cut off.
pub async fn serve<S: Http>(listener: TcpListener, service: S, shutdown: CancellationToken) -> bool {
    let http = http();
    let graceful = GracefulShutdown::new();
    let cut_off = CancellationToken::new();
    while let Some(stream) = shutdown.run_until_cancelled(accept(&listener)).await {
        let connection = connection(http.clone(), stream, service.clone(), graceful.watcher());
        tokio::spawn(cut_off.clone().run_until_cancelled_owned(connection));
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_ok();
    cut_off.cancel();
    drained
}

fn http() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(MAX_HEAD);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(IDLE)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    http
}

/// Lets this process have as many connections as it may. Shells and containers allow 1,024 at first, for the sake of old
/// programs, and more to whoever asks; everybody who follows changes keeps one.
#[cfg(unix)]
pub fn allow_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        debug!(%error, "the number of open files stays limited");
    }
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub fn allow_connections() {}

/// The next connection. A failure to accept is never the end of the service.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_the_clients(error.kind()) => {}
            Err(error) => {
                warn!(
                    %error,
                    "a connection could not be accepted; when too many files are open, allow more \
                     (LimitNOFILE, `docker --ulimit nofile=65536`, `ulimit -n`)"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_the_clients(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}

async fn connection<S: Http>(http: Builder<TokioExecutor>, stream: TcpStream, service: S, watcher: Watcher) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let untaken = Untaken::default();
    let service = {
        let (asked, untaken) = (Arc::clone(&asked), untaken.clone());
        service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let over_http_2 = (request.version() == Version::HTTP_2).then(|| untaken.clone());
            service.clone().oneshot(request).map_ok(move |response| match over_http_2 {
                Some(untaken) => untaken.watch(response),
                None => response,
            })
        })
    };
    let stream = TokioIo::new(InOurWords::new(Unstuck::new(stream)));
    let connection = watcher.watch(http.serve_connection(stream, service).into_owned());
    let silent = async {
        tokio::time::sleep(FIRST_REQUEST).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = connection => {
            if let Err(error) = result {
                debug!(error, "a connection ended early");
            }
        }
        () = silent => debug!("a connection asked nothing and was closed"),
        () = untaken.too_long() => debug!("an answer was not taken, and its connection was closed"),
    }
}
