//! Sends messages one after the other, patiently, and counts what becomes of them.

use std::time::Duration;

use super::Message;
use super::post::{Answer, NoAnswer, Poster};
use crate::domain::Outcome;

/// How often a message is posted again when the service is busy or not there.
const RETRIES: u32 = 4;
/// The longest wait that is granted, whatever the service asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How many came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// The read model changed.
    pub applied: usize,
    /// Older than what is known.
    pub stale: usize,
    /// Taken before.
    pub duplicate: usize,
    /// Not ours.
    pub ignored: usize,
    /// Not taken.
    pub failed: usize,
}

impl Tally {
    /// How many were sent, or should have been.
    pub fn total(&self) -> usize {
        self.applied + self.stale + self.duplicate + self.ignored + self.failed
    }

    fn count(&mut self, outcome: Option<Outcome>) {
        *match outcome {
            Some(Outcome::Applied) => &mut self.applied,
            Some(Outcome::Stale) => &mut self.stale,
            Some(Outcome::Duplicate) => &mut self.duplicate,
            Some(Outcome::Ignored) => &mut self.ignored,
            None => &mut self.failed,
        } += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { applied, stale, duplicate, ignored, failed } = self;
        write!(
            f,
            "applied {applied}, stale {stale}, duplicate {duplicate}, ignored {ignored}, failed {failed}"
        )
    }
}

/// Sends messages in their order over one connection. `sent` is told of each: its place, and the answer.
///
/// A busy service is waited for, but a message that outlasts the patience costs it for all that follow, until
/// one is taken again. Where nothing listens, the rest is not tried.
pub async fn send(
    poster: &Poster,
    messages: &[Message],
    mut sent: impl FnMut(usize, &Answer),
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut patience = RETRIES;
    for (index, message) in messages.iter().enumerate() {
        let answer = post(poster, message, patience).await?;
        patience = if answer.is_passing() { 0 } else { RETRIES };
        tally.count(answer.outcome);
        sent(index, &answer);
        if answer.no_answer == Some(NoAnswer::Unreachable) {
            tally.failed += messages.len() - tally.total();
            break;
        }
    }
    Ok(tally)
}

async fn post(poster: &Poster, message: &Message, retries: u32) -> anyhow::Result<Answer> {
    let mut answer = poster.post(message).await?;
    for retry in 0..retries {
        if !answer.is_passing() {
            break;
        }
        let wait = answer.retry_after.unwrap_or(Duration::from_millis(100) * 2_u32.pow(retry));
        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        answer = poster.post(message).await?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    type Script = Arc<Mutex<Vec<(u16, &'static str)>>>;

    /// Answers from a list, then `applied`.
    async fn endpoint(State(script): State<Script>) -> (StatusCode, String) {
        let next = script.lock().unwrap().pop();
        let (status, body) = next.unwrap_or((200, r#"{"outcome":"applied"}"#));
        (StatusCode::from_u16(status).unwrap(), body.to_owned())
    }

    async fn sent_to(mut script: Vec<(u16, &'static str)>, count: usize) -> (Tally, Vec<String>) {
        script.reverse();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        let router =
            Router::new().route("/webhooks/clerk", post(endpoint)).with_state(Arc::new(Mutex::new(script)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let poster = Poster::new(&to, SECRET, Duration::from_secs(5)).unwrap();
        let messages: Vec<_> = (0..count).map(|n| Message::from_content(format!("{{\"n\":{n}}}"))).collect();
        let mut reasons = Vec::new();
        let tally =
            send(&poster, &messages, |_, answer| reasons.extend(answer.detail.clone())).await.unwrap();
        (tally, reasons)
    }

    #[tokio::test]
    async fn every_outcome_is_counted() {
        let script = vec![
            (200, r#"{"outcome":"applied"}"#),
            (200, r#"{"outcome":"stale"}"#),
            (200, r#"{"outcome":"duplicate"}"#),
            (200, r#"{"outcome":"ignored"}"#),
            (422, r#"{"detail":"no `type`"}"#),
        ];
        let (tally, reasons) = sent_to(script, 6).await;
        assert_eq!(tally.to_string(), "applied 2, stale 1, duplicate 1, ignored 1, failed 1");
        assert_eq!(reasons, ["422: no `type`"]);
    }

    #[tokio::test]
    async fn success_that_does_not_say_what_became_of_it_is_a_failure() {
        let (tally, reasons) =
            sent_to(vec![(200, "OK"), (204, ""), (200, r#"{"outcome":"fine"}"#), (302, "")], 4).await;
        assert_eq!((tally.failed, tally.total()), (4, 4));
        assert!(reasons[0].contains("is this Roster?"), "{reasons:?}");
    }

    #[tokio::test]
    async fn a_busy_service_is_waited_for() {
        let (tally, _) = sent_to(vec![(503, ""), (429, ""), (200, r#"{"outcome":"applied"}"#)], 2).await;
        assert_eq!((tally.applied, tally.failed), (2, 0));
    }

    #[tokio::test]
    async fn where_nothing_listens_all_have_failed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        drop(listener);
        let poster = Poster::new(&to, SECRET, Duration::from_secs(5)).unwrap();
        let messages = vec![Message::from_content("{}"); 3];
        let tally = send(&poster, &messages, |_, _| {}).await.unwrap();
        assert_eq!((tally.failed, tally.total()), (3, 3));
    }
}
