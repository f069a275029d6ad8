use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use roster::app::server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<bool>,
}

async fn start(router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server::serve(listener, router, shutdown.clone()));
    Server { address, shutdown, task }
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_under_way_is_answered_after_the_stop_signal() {
    let (entered, mut entries) = mpsc::channel(1);
    let go_on = CancellationToken::new();
    let released = go_on.clone();
    let slow = move || async move {
        entered.send(()).await.unwrap();
        released.cancelled().await;
        "done"
    };
    let server = start(Router::new().route("/", get(slow))).await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    let request = tokio::spawn(exchange(server.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    entries.recv().await.unwrap();
    server.shutdown.cancel();
    // The listener is gone as soon as nobody can connect.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished());
    go_on.cancel();
    assert!(request.await.unwrap().ends_with("done"));
    assert!(server.task.await.unwrap(), "an idle connection is no reason to wait");
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_no_end_is_cut_off() {
    let endless = || std::future::pending::<&str>();
    let server = start(Router::new().route("/", get(endless))).await;
    let request = tokio::spawn(exchange(server.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.shutdown.cancel();
    let asked = Instant::now();
    assert!(!server.task.await.unwrap(), "it says so");
    assert_eq!(asked.elapsed().as_secs(), 25);
    assert_eq!(request.await.unwrap(), "");
}

#[tokio::test]
async fn a_long_head_is_refused() {
    let server = start(Router::new().route("/", get(|| async { "ok" }))).await;
    let fits =
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nA: {}\r\n\r\n", "a".repeat(32 * 1024));
    assert!(exchange(server.address, &fits).await.starts_with("HTTP/1.1 200"));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "a".repeat(64 * 1024));
    stream.write_all(long.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 431");
}

#[tokio::test]
async fn http_2_without_tls_is_spoken() {
    let server = start(Router::new().route("/", get(|| async { "ok" }))).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let answer = client.get(format!("http://{}/", server.address)).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "ok");
    drop(client);
    server.shutdown.cancel();
    assert!(server.task.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_is_closed() {
    let server = start(Router::new().route("/", get(|| async { "ok" }))).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    // The beginning of a head, and of HTTP/2's first bytes: neither version can be told yet.
    silent.write_all(b"PR").await.unwrap();
    let start = Instant::now();
    assert!(silent.read_u8().await.is_err());
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_nothing_of_an_answer_is_given_up() {
    const LENGTH: usize = 64 << 20;
    let server = start(Router::new().route("/", get(|| async { "x".repeat(LENGTH) }))).await;
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    stuck.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // By then as much is on its way as the systems keep.
    tokio::time::sleep(Duration::from_mins(1)).await;
    let mut answer = Vec::new();
    let _ = stuck.read_to_end(&mut answer).await;
    assert!(!answer.is_empty() && answer.len() < LENGTH, "{}", answer.len());

    // Slow is not stuck.
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    // From here on time passes as it does: what the systems do in between takes some.
    tokio::time::resume();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > LENGTH, "{}", answer.len());
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_nothing_of_an_answer_over_http_2_is_given_up() {
    const LENGTH: usize = 256 * 1024;
    const WINDOW: u32 = 64 * 1024;
    let routes = Router::new().route("/", get(|| async { "x".repeat(LENGTH) }));
    let server = start(routes.route("/few", get(|| async { "few" }))).await;
    let ask = async |path: &str, window: u32| {
        let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
        let client = client.http2_initial_stream_window_size(window).build().unwrap();
        client.get(format!("http://{}{path}", server.address)).send().await.unwrap()
    };
    for (path, window) in [("/", WINDOW), ("/", 0), ("/few", 0), ("/few", 1)] {
        let stuck = ask(path, window).await;
        // Before the first ping, after which the connection itself may be given up.
        tokio::time::sleep(Duration::from_secs(74)).await;
        assert!(stuck.bytes().await.is_err(), "{path} {window}");
    }

    // Slow is not stuck.
    let mut slow = ask("/", WINDOW).await;
    let mut taken = 0;
    while let Some(chunk) = slow.chunk().await.unwrap() {
        taken += chunk.len();
        if taken < 128 * 1024 {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    }
    assert_eq!(taken, LENGTH);
}
