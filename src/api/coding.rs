//! Which content coding the caller gets (RFC 9110, section 12.5.3), and how it is made.
//!
//! The choice is made here, once, and the request is rewritten to ask for exactly it. The compression layer
//! would answer 406 to a caller that excludes everything, with the body of the good answer; we send it
//! uncoded, which the RFC allows and which keeps the set of errors closed.

use std::io::{self, Write as _};

use axum::http::header::ACCEPT_ENCODING;
use axum::http::{HeaderMap, HeaderValue};
use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Smaller answers are sent as they are.
pub(super) const COMPRESS_FROM_BYTES: usize = 1024;

/// What the compression layer takes too: half of the work of a file that is made for ever, and nearly as small.
const BROTLI_QUALITY: u32 = 4;
const BROTLI_WINDOW: u32 = 22;
const BUFFER_BYTES: usize = 4096;

/// The codings, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Zstd,
    Br,
    Gzip,
}

impl Coding {
    pub(super) const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// Its registered name.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Its place in [`Self::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// Makes the coded form of a body.
    pub(super) fn compress(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let coded = Vec::with_capacity(body.len() / 4);
        match self {
            Self::Zstd => zstd::encode_all(body, zstd::DEFAULT_COMPRESSION_LEVEL),
            Self::Br => {
                let mut writer = CompressorWriter::new(coded, BUFFER_BYTES, BROTLI_QUALITY, BROTLI_WINDOW);
                writer.write_all(body)?;
                Ok(writer.into_inner())
            }
            Self::Gzip => {
                let mut writer = GzEncoder::new(coded, Compression::default());
                writer.write_all(body)?;
                writer.finish()
            }
        }
    }
}

/// Leaves in `Accept-Encoding` the coding that is to be used, or nothing.
pub(super) fn settle(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    match choose(headers) {
        Some(coding) => {
            _ = headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding.as_str()));
        }
        None => _ = headers.remove(ACCEPT_ENCODING),
    }
}

/// The coding that the caller likes best of those that we have.
pub(super) fn choose(headers: &HeaderMap) -> Option<Coding> {
    let mut coded = [None; Coding::ALL.len()];
    let mut identity = None;
    let mut any = None;
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    for item in lines.flat_map(|line| line.split(',')) {
        let (name, weight) = item.split_once(';').map_or((item, Some(1000)), |(name, q)| (name, weight(q)));
        let is = |other: &str| name.trim().eq_ignore_ascii_case(other);
        let slot = if is("identity") {
            Some(&mut identity)
        } else if is("*") {
            Some(&mut any)
        } else {
            let named = |coding: &Coding| is(coding.as_str()) || (*coding == Coding::Gzip && is("x-gzip"));
            Coding::ALL.iter().position(named).and_then(|at| coded.get_mut(at))
        };
        // What is not well-formed, or not ours, says nothing.
        if let (Some(slot), Some(weight)) = (slot, weight) {
            slot.get_or_insert(weight);
        }
    }
    let identity = identity.unwrap_or(0);
    let mut best = None;
    for (coding, weight) in Coding::ALL.into_iter().zip(coded) {
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
    if !well_formed {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes()).chain("000".bytes()).take(4);
    let thousandths = digits.fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().unwrap());
        }
        choose(&headers).map(Coding::as_str)
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
    fn a_coded_body_is_smaller_and_comes_back() {
        use std::io::Read as _;
        let body = br#"{"firstName":null,"lastName":null}"#.repeat(100);
        for coding in Coding::ALL {
            let coded = coding.compress(&body).unwrap();
            assert!(coded.len() < 200, "{coding:?}: {}", coded.len());
            let mut back = Vec::new();
            let read = match coding {
                Coding::Zstd => zstd::Decoder::new(coded.as_slice()).unwrap().read_to_end(&mut back),
                Coding::Br => brotli::Decompressor::new(coded.as_slice(), 4096).read_to_end(&mut back),
                Coding::Gzip => flate2::read::GzDecoder::new(coded.as_slice()).read_to_end(&mut back),
            };
            assert_eq!(read.unwrap(), body.len());
            assert_eq!(back, body);
        }
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
