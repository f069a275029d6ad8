//! The headers of a webhook's signature. The body is good, and taken just when somebody signed it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::sample::select;

use super::damage::{self, Damage};
use super::{run_async, runner};
use crate::hostile::damage::EVENTS;
use crate::support::delivery::{Delivery, SECRET, now_s, sign};
use crate::support::site::Site;

const HEADERS: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];

/// Header lines take no control characters.
fn line(value: &str, damages: &[Damage]) -> Vec<u8> {
    let spoilt = damage::done_to(value.as_bytes().to_vec(), damages);
    spoilt.into_iter().filter(|byte| *byte >= b' ' && *byte != 127).collect()
}

/// What the description says of the signature, done by hand.
fn is_signed(delivery: &Delivery) -> bool {
    let text = |name| {
        let (_, value) = delivery.headers.iter().find(|(known, _)| known == name)?;
        // What stands around a header's value is not a part of it.
        let value = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
        (!value.is_empty() && value.is_ascii()).then(|| value.to_owned())
    };
    let [Some(id), Some(timestamp), Some(signatures)] = HEADERS.map(text) else { return false };
    let Ok(at_s) = timestamp.parse::<i64>() else { return false };
    if (now_s() - at_s).abs() > 300 {
        return false;
    }
    let made = sign(SECRET, id.as_bytes(), &timestamp, &delivery.body);
    let made = STANDARD.decode(made.trim_start_matches("v1,")).unwrap();
    signatures
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"))
        .any(|one| STANDARD.decode(one).is_ok_and(|one| one == made))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_headers_are_no_signature() {
    let site = Site::start().await;
    let spoiled = (select(&HEADERS[..]), damage::some(), any::<u64>(), any::<bool>());
    let cases = runner(300, "tests/hostile/found/signatures.txt");
    run_async(cases, &spoiled, async |(name, damages, number, unbranded)| {
        let delivery = Delivery::new(&format!("msg_{number}"), EVENTS[0].to_string());
        let damaged = line(&delivery.header(name), &damages);
        let delivery = delivery.with(name, damaged);
        let signed = is_signed(&delivery);
        let answer = site.post(&if unbranded { delivery.unbranded() } else { delivery }).await;
        prop_assert_eq!(answer.status.as_u16(), if signed { 200 } else { 401 });
        Ok(())
    });
}
