//! Which content coding the caller gets (RFC 9110, section 12.5.3).
//!
//! The choice is made here, once, and the request is rewritten to ask for exactly it. The compression layer
//! would answer 406 to a caller that excludes everything, with the body of the good answer; we send it
//! uncoded, which the RFC allows and which keeps the set of errors closed.

use axum::http::header::ACCEPT_ENCODING;
use axum::http::{HeaderMap, HeaderValue};

/// The codings, best first.
pub(super) const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// Leaves in `Accept-Encoding` the coding that is to be used, or nothing.
pub(super) fn settle(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    match choose(headers) {
        Some(coding) => _ = headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding)),
        None => _ = headers.remove(ACCEPT_ENCODING),
    }
}

fn choose(headers: &HeaderMap) -> Option<&'static str> {
    let mut coded = [None; CODINGS.len()];
    let mut identity = None;
    let mut any = None;
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    for item in lines.flat_map(|line| line.split(',')) {
        let (name, weight) = item.split_once(';').map_or((item, Some(1000)), |(name, q)| (name, weight(q)));
        let name = name.trim().to_ascii_lowercase();
        let slot = match name.as_str() {
            "identity" => Some(&mut identity),
            "*" => Some(&mut any),
            name => {
                let name = if name == "x-gzip" { "gzip" } else { name };
                CODINGS.iter().position(|coding| *coding == name).and_then(|at| coded.get_mut(at))
            }
        };
        // What is not well-formed, or not ours, says nothing.
        if let (Some(slot), Some(weight)) = (slot, weight) {
            slot.get_or_insert(weight);
        }
    }
    let identity = identity.unwrap_or(0);
    let mut best = None;
    for (coding, weight) in CODINGS.into_iter().zip(coded) {
        let weight = weight.or(any).unwrap_or(0);
        if weight > 0 && weight >= identity && best.is_none_or(|(_, other)| weight > other) {
            best = Some((coding, weight));
        }
    }
    best.map(|(coding, _)| coding)
}

/// `q=0.5` in thousandths.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.trim().split_once('=')?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let well_formed = name.eq_ignore_ascii_case("q")
        && matches!(whole, "0" | "1")
        && fraction.len() <= 3
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (well_formed && thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().unwrap());
        }
        choose(&headers)
    }

    #[test]
    fn the_best_acceptable_coding_is_chosen() {
        assert_eq!(chosen(&["gzip, deflate, br, zstd"]), Some("zstd"));
        assert_eq!(chosen(&["gzip", "br"]), Some("br"));
        assert_eq!(chosen(&["GZIP"]), Some("gzip"));
        assert_eq!(chosen(&["x-gzip"]), Some("gzip"));
        assert_eq!(chosen(&["*"]), Some("zstd"));
        assert_eq!(chosen(&["zstd;q=0, *;q=0.1"]), Some("br"));
    }

    #[test]
    fn weights_count() {
        assert_eq!(chosen(&["zstd;q=0.1, gzip;q=0.9"]), Some("gzip"));
        assert_eq!(chosen(&["br ; Q=0.5 , gzip;q=0.501"]), Some("gzip"));
        assert_eq!(chosen(&["gzip;q=0.5, identity;q=0.9"]), None);
        assert_eq!(chosen(&["gzip;q=0.5, identity;q=0.5"]), Some("gzip"));
    }

    #[test]
    fn nothing_acceptable_is_sent_uncoded() {
        for line in [
            "",
            "identity",
            "gzip;q=0",
            "identity;q=0",
            "*;q=0",
            "deflate",
            "gzip;q=2",
            "gzip;q=x",
            "gzip;q=1.001",
        ] {
            assert_eq!(chosen(&[line]), None, "{line}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity;q=0"));
        settle(&mut headers);
        assert!(headers.is_empty());
    }
}
