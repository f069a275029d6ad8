//! The callers: HTTP/1.1 over kept connections, one thread for all of them.
//!
//! It takes CPU from the servers that it measures, so it does little: requests are bytes that are ready, of an
//! answer only the status and the length are read, and every so often the body is looked at.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::response::{Head, header};

/// Whoever waits so long waits in vain.
const PATIENCE: Duration = Duration::from_mins(1);

/// Says whether a body is what was asked for.
pub(crate) type LooksRight = Rc<dyn Fn(&[u8]) -> bool>;

/// What some callers do at the same time.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) address: SocketAddr,
    /// Taken in turn.
    pub(crate) requests: Rc<Vec<Vec<u8>>>,
    /// Whether to begin anew after the last one.
    pub(crate) again: bool,
    pub(crate) connections: usize,
    /// The time from one request of a connection to its next one; `None` is at once.
    pub(crate) pace: Option<Duration>,
    pub(crate) time: Duration,
    /// Every answer has this one.
    pub(crate) status: u16,
    /// Every so many-th body is looked at.
    pub(crate) look_at_each: usize,
    pub(crate) looks_right: LooksRight,
}

/// What became of it.
pub(crate) struct Done {
    /// How long each answer took, in microseconds, sorted.
    pub(crate) latencies_us: Vec<f32>,
    pub(crate) took: Duration,
}

/// Does all of it, at the same time.
pub(crate) fn run(works: &[Work]) -> Vec<Done> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(join_all(works.iter().map(callers)))
}

async fn callers(work: &Work) -> Done {
    let (next, latencies) = (Cell::new(0), RefCell::new(Vec::with_capacity(1 << 18)));
    let begun = Instant::now();
    join_all((0..work.connections).map(|_| caller(work, begun, &next, &latencies))).await;
    let took = begun.elapsed();
    let mut latencies_us = latencies.into_inner();
    latencies_us.sort_by(f32::total_cmp);
    Done { latencies_us, took }
}

async fn caller(work: &Work, begun: Instant, next: &Cell<usize>, latencies: &RefCell<Vec<f32>>) {
    let mut stream = TcpStream::connect(work.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 128 * 1_024];
    let mut pace = work.pace.map(interval);
    if let Some(pace) = &mut pace {
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    }
    loop {
        // A paced request that could not be sent in time has waited since its time.
        let due = match &mut pace {
            Some(pace) => pace.tick().await.into_std(),
            None => Instant::now(),
        };
        let at = next.get();
        if due - begun >= work.time || (at >= work.requests.len() && !work.again) {
            return;
        }
        next.set(at + 1);
        stream.write_all(&work.requests[at % work.requests.len()]).await.unwrap();
        let (head, length) = answer(&mut stream, &mut buffer).await;
        latencies.borrow_mut().push(due.elapsed().as_secs_f32() * 1e6);
        let answer = &buffer[..length];
        let looks_right = || !at.is_multiple_of(work.look_at_each) || (work.looks_right)(&head.body(answer));
        assert!(
            head.status == work.status && looks_right(),
            "not the right answer: {}",
            String::from_utf8_lossy(&answer[..length.min(2_000)])
        );
    }
}

async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> (Head, usize) {
    let mut length = 0;
    let mut head = None;
    loop {
        if length == buffer.len() {
            buffer.resize(2 * length, 0);
        }
        let read = stream.read(&mut buffer[length..]).await.unwrap();
        assert_ne!(read, 0, "the server has closed a connection");
        length += read;
        head = head.or_else(|| Head::read(&buffer[..length]));
        if head.as_ref().is_some_and(|head| head.is_complete(&buffer[..length])) {
            return (head.unwrap(), length);
        }
    }
}

/// A `GET`, as all callers send it.
pub(crate) fn get(path: &str, token: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
        .into_bytes()
}

/// An answer to one request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// Asks once, on a connection of its own.
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 * 1_024]);
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..read]);
        if let Some(head) = Head::read(&bytes)
            && head.is_complete(&bytes)
        {
            let body = head.body(&bytes);
            bytes.truncate(head.body_at);
            return Ok(Answer { status: head.status, head: bytes, body });
        }
    }
}
