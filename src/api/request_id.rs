//! One name for a request in the answer, the log and the caller's own records.

use aws_lc_rs::rand;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header in both directions.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_CHARS: usize = 128;

/// The caller's own id when there is exactly one and it is well-formed, else a new one. What is taken over
/// goes into log lines, so its alphabet is small.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let mut sent = headers.get_all(X_REQUEST_ID).iter();
    match (sent.next(), sent.next()) {
        (Some(id), None) if is_well_formed(id.as_bytes()) => id.clone(),
        _ => new(),
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=MAX_CHARS).contains(&id.len()) && id.iter().all(allowed)
}

fn new() -> HeaderValue {
    let mut bits = [0; 16];
    // It need not be secret, so a failing source of randomness is no reason to fail the request.
    let _ = rand::fill(&mut bits);
    let hex = format!("{:032x}", u128::from_be_bytes(bits));
    HeaderValue::try_from(hex).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(ids: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(X_REQUEST_ID, id.parse().unwrap());
        }
        of(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_well_formed_id_is_taken_over() {
        for id in ["a", "Req_1.2-3", &"x".repeat(128)] {
            assert_eq!(given(&[id]), id);
        }
    }

    #[test]
    fn anything_else_gets_a_new_one() {
        for ids in [&[][..], &[""], &["a b"], &["a/b"], &["a,b"], &["one", "two"], &[&"x".repeat(129)]] {
            let id = given(ids);
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{ids:?}: {id}");
        }
        assert_ne!(given(&[]), given(&[]));
    }
}
