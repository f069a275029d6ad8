//! Where tokens come from and how their keys are found: the publishable key and the PEM key.

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::DecodingKey;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The frontend API's host that a publishable key holds: `pk_test_` and the base64 form of `host$`.
pub(super) fn frontend_api(publishable_key: &str) -> Option<String> {
    let encoded =
        publishable_key.strip_prefix("pk_test_").or_else(|| publishable_key.strip_prefix("pk_live_"))?;
    let text = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let host = text.strip_suffix('$')?;
    // Only a bare host, with a port at most, comes back from the URL parser unchanged.
    let url = reqwest::Url::parse(&format!("https://{host}")).ok()?;
    (url.origin().ascii_serialization() == format!("https://{host}")).then(|| host.to_owned())
}

/// Brings a public RSA key into its armoured form. It may come armoured, on one line with `\n` in letters or
/// with nothing where the line ends were, or as bare base64.
pub(super) fn public_pem(text: &str) -> Option<String> {
    let text = text.replace("\\n", "\n").replace("\\r", "");
    let (label, body) = match text.trim().strip_prefix("-----BEGIN ") {
        Some(rest) => {
            let (label, rest) = rest.split_once("-----")?;
            (Some(label), rest.trim_end().strip_suffix(&format!("-----END {label}-----"))?)
        }
        None => (None, text.as_str()),
    };
    let body: String = body.split_whitespace().collect();
    let der = BASE64.decode(body).ok()?;
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der).ok()?;
    let labels = ["PUBLIC KEY", "RSA PUBLIC KEY"];
    labels
        .iter()
        .filter(|known| label.is_none_or(|label| label == **known))
        .map(|label| armour(label, &der))
        .find(|pem| DecodingKey::from_rsa_pem(pem.as_bytes()).is_ok())
}

fn armour(label: &str, der: &[u8]) -> String {
    let mut body = String::new();
    for (index, letter) in BASE64.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            body.push('\n');
        }
        body.push(letter);
    }
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}
