//! One call: through the limiter, again and again until Clerk has answered or there is no point in asking.
//!
//! What is tried again: 429, 5xx, no or half an answer, and an answer that is not Clerk's JSON. Everything else
//! would be answered the same the next time. When the future is dropped, the most that is left is an answer that is
//! being read.

use std::panic::resume_unwind;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::spawn_blocking;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, debug, trace_span, warn};

use super::error::{ApiError, Refusal};
use super::limiter::{LONGEST_WAIT, Lane, Limiter};
use super::page::Fetched;
use crate::clock;
use crate::domain::time::is_showable;
use crate::telemetry::causes;

/// 500 users with all their metadata are below 10 MiB.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// How long, and how often, Clerk is asked before a call is given up.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection.
    pub connect_timeout: Duration,
    /// From the first packet to the last byte of the answer.
    pub timeout: Duration,
    /// Tries beyond the first.
    pub retries: usize,
    /// The wait before the first of them, twice as long before the second, and so on; plus a random part.
    pub first_wait: Duration,
    /// The longest wait, unless Clerk asks for more.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            retries: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(15),
        }
    }
}

/// The connection pool, the key, the rate.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) key: SecretString,
    pub(super) limiter: Limiter,
    pub(super) patience: Patience,
}

/// What a refusal means depends on what was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Organizations and what belongs to them can be off.
    pub(super) is_feature: bool,
    /// One object: 404 means that it is gone.
    pub(super) is_single: bool,
}

/// A try that came to nothing.
struct Failed {
    error: ApiError,
    is_worth_retrying: bool,
    retry_after: Option<Duration>,
}

impl Failed {
    fn for_good(error: ApiError) -> Self {
        Self { error, is_worth_retrying: false, retry_after: None }
    }

    fn for_now(error: ApiError) -> Self {
        Self { error, is_worth_retrying: true, retry_after: None }
    }
}

impl Caller {
    /// Asks for a URL and reads the answer; `None` when the one object that was asked for is gone. `read`
    /// is given the body and the time of the answer.
    pub(super) async fn get<T: Send + 'static>(
        &self,
        url: Url,
        asked: Asked,
        lane: Lane,
        read: impl Fn(&[u8], i64) -> Result<T, ApiError> + Clone + Send + 'static,
    ) -> Result<Fetched<Option<T>>, ApiError> {
        let patience = &self.patience;
        let backoff = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(patience.first_wait)
            .with_max_delay(patience.longest_wait)
            .with_max_times(patience.retries);
        (|| self.try_once(&url, asked, lane, &read))
            .retry(backoff)
            .when(|failed| failed.is_worth_retrying)
            .adjust(|failed, wait| {
                let asked_for = failed.retry_after.unwrap_or_default();
                wait.filter(|_| asked_for <= LONGEST_WAIT).map(|wait| wait.max(asked_for))
            })
            .notify(|failed, wait| {
                warn!(
                    path = url.path(),
                    error = %causes(&failed.error),
                    wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    "Clerk's API is asked again"
                );
            })
            .await
            .map_err(|failed| failed.error)
    }

    async fn try_once<T: Send + 'static>(
        &self,
        url: &Url,
        asked: Asked,
        lane: Lane,
        read: &(impl Fn(&[u8], i64) -> Result<T, ApiError> + Clone + Send + 'static),
    ) -> Result<Fetched<Option<T>>, Failed> {
        let permit = self
            .limiter
            .acquire(lane)
            .await
            .map_err(|held| Failed::for_good(ApiError::RateLimited { retry_after: Some(held.0) }))?;
        let span = trace_span!(
            "clerk",
            otel.name = "GET",
            otel.kind = "client",
            http.request.method = "GET",
            url.path = url.path(),
            http.response.status_code = Empty,
            otel.status_code = Empty,
        );
        let request = self.client.get(url.clone()).bearer_auth(self.key.expose_secret());
        let sent = request.send().instrument(span.clone()).await;
        drop(permit);
        if let Ok(response) = &sent {
            count(response.status().as_str());
            span.record("http.response.status_code", response.status().as_u16());
        } else {
            count("none");
            span.record("otel.status_code", "ERROR");
        }
        let mut response = sent.map_err(no_answer)?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let observed_at_ms = date_ms(response.headers()).unwrap_or_else(clock::now_ms);
        debug!(path = url.path(), status = status.as_u16(), "Clerk's API answered");
        if status == StatusCode::TOO_MANY_REQUESTS {
            // The other calls would only be told the same.
            self.limiter.hold(retry_after.unwrap_or(self.patience.first_wait));
            let error = ApiError::RateLimited { retry_after };
            return Err(Failed { retry_after, ..Failed::for_now(error) });
        }
        if status.is_server_error() {
            let error = ApiError::Down { what: format!("status {}", status.as_u16()), source: None };
            return Err(Failed { retry_after, ..Failed::for_now(error) });
        }
        let length = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut body = Vec::with_capacity(length.min(MAX_BYTES));
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > MAX_BYTES {
                let what = format!("more than {} MiB", MAX_BYTES / 1024 / 1024);
                return Err(Failed::for_good(ApiError::garbage(what)));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            let (read, here) = (read.clone(), Span::current());
            // A page takes as long as many answers to others, who are not to wait for it.
            let reading = spawn_blocking(move || here.in_scope(|| read(&body, observed_at_ms)));
            let value = reading.await.unwrap_or_else(|ended| match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(ApiError::garbage("there was no time to read it")),
            });
            let value = value.map_err(Failed::for_now)?;
            return Ok(Fetched { value: Some(value), observed_at_ms });
        }
        self.refused(status, &body, asked).map(|()| Fetched { value: None, observed_at_ms })
    }

    /// What any other answer means. Only Clerk's own word makes an object gone: a proxy's 404 does not.
    fn refused(&self, status: StatusCode, body: &[u8], asked: Asked) -> Result<(), Failed> {
        let code = status.as_u16();
        let refusal = Refusal::read(body);
        let is_switched_off =
            || refusal.as_ref().is_some_and(|refusal| refusal.code == "organization_not_enabled_in_instance");
        Err(match code {
            401 => Failed::for_good(ApiError::WrongKey),
            402 | 403 if asked.is_feature => Failed::for_good(ApiError::FeatureOff { status: code }),
            404 if asked.is_feature && (!asked.is_single || is_switched_off()) => {
                Failed::for_good(ApiError::FeatureOff { status: code })
            }
            404 if asked.is_single => match refusal {
                Some(_) => return Ok(()),
                None => Failed::for_now(ApiError::garbage("status 404 without Clerk's words")),
            },
            300..400 => Failed::for_good(ApiError::garbage(format!("status {code}, a redirect"))),
            400..500 => Failed::for_good(refusal.unwrap_or_default().into_error(code, &self.key)),
            _ => Failed::for_now(ApiError::garbage(format!("status {code}"))),
        })
    }
}

fn count(status: &str) {
    metrics::counter!("roster_clerk_api_requests_total", "status" => status.to_owned()).increment(1);
}

/// No answer, or half of one.
fn no_answer(error: reqwest::Error) -> Failed {
    let what = match &error {
        _ if error.is_timeout() => "it took too long",
        _ if error.is_connect() => "no connection",
        _ if error.is_decode() || error.is_body() => "the answer was cut short",
        _ => "the connection broke",
    };
    let source = Some(error.without_url());
    Failed::for_now(ApiError::Down { what: what.to_owned(), source })
}

/// The one place that reads `Retry-After`. Clerk writes seconds, what stands before it may write a date; what cannot be
/// read is as if it were not there.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until_ms = DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis();
    let now_ms = date_ms(headers).unwrap_or_else(clock::now_ms);
    Some(Duration::from_millis(u64::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(0)))
}

/// Clerk's clock.
fn date_ms(headers: &HeaderMap) -> Option<i64> {
    let date = DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(date.timestamp_millis()).filter(|at_ms| is_showable(*at_ms))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(name: reqwest::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_pause_is_in_seconds_or_until_a_date_or_not_there() {
        for (value, seconds) in
            [("7", Some(7)), (" 0 ", Some(0)), ("-1", None), ("1.5", None), ("soon", None), ("", None)]
        {
            let read = retry_after(&headers(RETRY_AFTER, value));
            assert_eq!(read, seconds.map(Duration::from_secs), "{value}");
        }
        for (until, seconds) in [("Sat, 21 Nov 2026 19:59:12 GMT", 5), ("Sat, 21 Nov 2026 19:59:00 GMT", 0)] {
            let mut both = headers(RETRY_AFTER, until);
            both.extend(headers(DATE, "Sat, 21 Nov 2026 19:59:07 GMT"));
            assert_eq!(retry_after(&both), Some(Duration::from_secs(seconds)), "{until}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_date_is_clerks_clock_or_not_there() {
        for (value, at_ms) in [
            ("Sat, 21 Nov 2026 19:59:07 GMT", Some(1_795_291_147_000)),
            ("Sat, 21 Nov 2026 19:59:07 +0100", Some(1_795_287_547_000)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(date_ms(&headers(DATE, value)), at_ms, "{value}");
        }
        assert_eq!(date_ms(&HeaderMap::new()), None);
    }
}
