//! Says in our words what hyper refuses by itself.
//!
//! A request whose head cannot be read never gets to the routes: hyper answers with a status and nothing else, and lets
//! nobody change that. But every error of ours has a body and a request id, so the answer is changed on its way out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::api::edge;

/// By this header, and by the request id that is missing, an answer of hyper's own is known.
const EMPTY: &str = "content-length: 0\r\n";

/// A stream on which our words are sent in the place of hyper's.
pub(super) struct InOurWords<S> {
    stream: S,
    /// What is left to be sent of ours.
    ours: Vec<u8>,
}

impl<S: AsyncWrite + Unpin> InOurWords<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, ours: Vec::new() }
    }

    /// Sends ours when `bytes` are hyper's own. Until that is done hyper comes back with the same bytes.
    fn poll_replace(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<Option<usize>>> {
        if self.ours.is_empty() {
            match in_our_words(bytes) {
                Some(ours) => self.ours = ours.into_bytes(),
                None => return Poll::Ready(Ok(None)),
            }
        }
        while !self.ours.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.ours))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => drop(self.ours.drain(..sent)),
            }
        }
        Poll::Ready(Ok(Some(bytes.len())))
    }
}

/// `HTTP/1.1 431 Request Header Fields Too Large`, a few headers and no body.
fn in_our_words(bytes: &[u8]) -> Option<String> {
    let status = bytes
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .filter(|status| status.starts_with(b"4"))?;
    let status = StatusCode::from_bytes(status).ok()?;
    let head = str::from_utf8(bytes).ok().filter(|head| head.ends_with("\r\n\r\n"))?;
    if !head.contains(EMPTY) || head.contains("x-request-id:") {
        return None;
    }
    let (headers, body) = edge::unreadable(status);
    Some(head.replacen(EMPTY, &headers, 1) + &body)
}

impl<S: AsyncRead + Unpin> AsyncRead for InOurWords<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InOurWords<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_replace(context, bytes))? {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_replace(context, bytes.first().map_or(&[], |first| first)))? {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const OWN: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\
                       date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\r\n";

    fn assert_ours(answer: &str, start: &str) {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(start), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
        assert!(head.ends_with("date: Sun, 22 Nov 2026 12:00:00 GMT"), "{head}");
    }

    #[test]
    fn only_what_hyper_says_by_itself_is_said_anew() {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let own = OWN.replacen("HTTP/1.1", version, 1);
            let start = format!("{version} 431 Request Header Fields Too Large\r\nconnection: close\r\n");
            assert_ours(&in_our_words(own.as_bytes()).unwrap(), &start);
        }
        for another in [
            OWN.replacen("431", "200", 1),
            OWN.replacen("date", "x-request-id: r\r\ndate", 1),
            OWN.replacen("content-length: 0", "content-length: 5", 1) + "hello",
            format!("{OWN}hello"),
            "HTTP/1.1 4".to_owned(),
            String::new(),
        ] {
            assert_eq!(in_our_words(another.as_bytes()), None, "{another}");
        }
    }

    #[tokio::test]
    async fn it_is_sent_whole_however_little_is_taken_at_once() {
        for vectored in [false, true] {
            let (ours, mut theirs) = tokio::io::duplex(7);
            let write = async move {
                let mut ours = InOurWords::new(ours);
                let bytes = OWN.as_bytes();
                let taken = if vectored {
                    ours.write_vectored(&[IoSlice::new(bytes), IoSlice::new(&[])]).await
                } else {
                    ours.write(bytes).await
                };
                assert_eq!(taken.unwrap(), bytes.len());
                ours.write_all(b"and on").await.unwrap();
            };
            let mut answer = String::new();
            let ((), read) = tokio::join!(write, theirs.read_to_string(&mut answer));
            read.unwrap();
            assert_ours(answer.strip_suffix("and on").unwrap(), "HTTP/1.1 431 ");
        }
    }
}
