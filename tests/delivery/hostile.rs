//! Deliveries that are wrong in one way each. Every one is refused for its own reason and changes nothing;
//! the good delivery that it was made from is taken afterwards.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA512};
use serde_json::{Value, json};

use super::payloads::{self, at};
use crate::support::delivery::{Delivery, SECRET, mac, now_s, sign};
use crate::support::site::Site;

const FOREIGN_SECRET: &str = "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCwgbm90IG91cnM=";

type Spoil = fn(Delivery) -> Delivery;

/// Signs a delivery anew in a way of its own: over its id, its timestamp and its body.
fn resigned(delivery: Delivery, signature: impl FnOnce(&str, &str, &[u8]) -> String) -> Delivery {
    let (id, timestamp) = (delivery.header("svix-id"), delivery.header("svix-timestamp"));
    let signature = signature(&id, &timestamp, &delivery.body);
    delivery.with("svix-signature", signature)
}

/// Says another moment in the header, and signs it.
fn dated(delivery: Delivery, timestamp: &str) -> Delivery {
    let delivery = delivery.with("svix-timestamp", timestamp);
    resigned(delivery, |id, timestamp, body| sign(SECRET, id.as_bytes(), timestamp, body))
}

/// The key as the secret spells it.
fn key() -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(&SECRET["whsec_".len()..]).unwrap()
}

#[rustfmt::skip] // A table.
const UNSIGNED: &[(&str, Spoil)] = &[
    ("no header at all", |d| Delivery { headers: Vec::new(), ..d }),
    ("no id", |d| d.without("svix-id")),
    ("no timestamp", |d| d.without("svix-timestamp")),
    ("no signature", |d| d.without("svix-signature")),
    ("an empty id", |d| resigned(d.with("svix-id", ""), |id, at, body| sign(SECRET, id.as_bytes(), at, body))),
    ("an empty timestamp", |d| dated(d, "")),
    ("an empty signature", |d| d.with("svix-signature", "")),
    ("an id that is not ASCII", |d| {
        let signature = sign(SECRET, "msg_é".as_bytes(), &d.header("svix-timestamp"), &d.body);
        d.with("svix-id", "msg_é").with("svix-signature", signature)
    }),
    ("a timestamp that is not ASCII", |d| d.with("svix-timestamp", "١٧٩٥٠٠٠٠٠٠")),
    ("a signature that is not ASCII", |d| d.with("svix-signature", b"v1,\xff".to_vec())),
    ("the id of another message", |d| d.with("svix-id", "msg_another")),
    ("the id in other letters", |d| { let id = d.header("svix-id").to_uppercase(); d.with("svix-id", id) }),
    ("the timestamp one second on", |d| d.with("svix-timestamp", (now_s() + 1).to_string())),
    ("a timestamp in milliseconds", |d| dated(d, &(now_s() * 1000).to_string())),
    ("a timestamp with a fraction", |d| dated(d, &format!("{}.0", now_s()))),
    ("a timestamp in words", |d| dated(d, "Tue, 01 Sep 2026 12:00:00 GMT")),
    ("a negative timestamp", |d| dated(d, &format!("-{}", now_s()))),
    ("the least timestamp", |d| dated(d, &i64::MIN.to_string())),
    ("the greatest timestamp", |d| dated(d, &i64::MAX.to_string())),
    ("a timestamp beyond all numbers", |d| dated(d, "99999999999999999999999999")),
    ("signed too long ago", |d| dated(d, &(now_s() - 302).to_string())),
    ("signed too far ahead", |d| dated(d, &(now_s() + 310).to_string())),
    ("one byte of the body changed", |mut d| { d.body[40] ^= 1; d }),
    ("one byte more", |mut d| { d.body.push(b'\n'); d }),
    ("one byte less", |mut d| { d.body.pop(); d }),
    ("no body", |mut d| { d.body.clear(); d }),
    ("the JSON written anew", |mut d| {
        let event: Value = serde_json::from_slice(&d.body).unwrap();
        d.body = serde_json::to_vec_pretty(&event).unwrap();
        d
    }),
    ("somebody else's secret", |d| resigned(d, |id, at, body| sign(FOREIGN_SECRET, id.as_bytes(), at, body))),
    ("an empty key", |d| resigned(d, |id, at, body| sign("whsec_", id.as_bytes(), at, body))),
    ("the secret itself as the key", |d| resigned(d, |id, at, body| {
        format!("v1,{}", mac(HMAC_SHA256, SECRET.as_bytes(), &[id.as_bytes(), b".", at.as_bytes(), b".", body].concat()))
    })),
    ("another algorithm", |d| resigned(d, |id, at, body| {
        format!("v1,{}", mac(HMAC_SHA512, &key(), &[id.as_bytes(), b".", at.as_bytes(), b".", body].concat()))
    })),
    ("the body alone signed", |d| resigned(d, |_, _, body| format!("v1,{}", mac(HMAC_SHA256, &key(), body)))),
    ("signed without the id", |d| resigned(d, |_, at, body| {
        format!("v1,{}", mac(HMAC_SHA256, &key(), &[at.as_bytes(), b".", body].concat()))
    })),
    ("the dots moved between id and timestamp", |d| {
        let id = format!("{}.{}", d.header("svix-id"), d.header("svix-timestamp"));
        d.with("svix-id", id)
    }),
    ("a signature cut short", |d| { let s = d.header("svix-signature"); d.with("svix-signature", &s[..s.len() - 4]) }),
    ("a signature without its padding", |d| {
        let signature = d.header("svix-signature");
        d.with("svix-signature", signature.trim_end_matches('='))
    }),
    ("a signature with more behind it", |d| { let s = d.header("svix-signature"); d.with("svix-signature", format!("{s}AAAA")) }),
    ("a signature without a version", |d| { let s = d.bare_signature(); d.with("svix-signature", s) }),
    ("a signature of version 2", |d| { let s = d.bare_signature(); d.with("svix-signature", format!("v2,{s}")) }),
    ("an asymmetric signature", |d| { let s = d.bare_signature(); d.with("svix-signature", format!("v1a,{s}")) }),
    ("a version in capitals", |d| { let s = d.bare_signature(); d.with("svix-signature", format!("V1,{s}")) }),
    ("signatures with commas between them", |d| { let s = d.header("svix-signature"); d.with("svix-signature", format!("v1,AAAA,{s}")) }),
    ("the signature under another name", |d| { let s = d.header("svix-signature"); d.without("svix-signature").with("x-signature", s) }),
];

#[tokio::test]
async fn whoever_is_not_the_sender_is_refused_without_a_trace() {
    let site = Site::start().await;
    let mut answers = std::collections::BTreeSet::new();
    for (number, (name, spoil)) in UNSIGNED.iter().enumerate() {
        let good = Delivery::new(
            &format!("msg_case_{number}"),
            payloads::user(&format!("user_{number}")).to_string(),
        );
        let before = site.rows.everything().await;
        let spoiled = spoil(good.clone());
        let answer = site.post(&spoiled).await;
        assert_eq!(answer.verdict(), "401 UNAUTHORIZED", "{name}");
        let mut problem = answer.json();
        problem["requestId"] = json!("-");
        answers.insert(problem.to_string());
        assert_eq!(site.rows.everything().await, before, "{name}");
        assert_eq!(site.post(&good).await.verdict(), "200 applied", "the good one beside: {name}");
    }
    assert_eq!(answers.len(), 1, "one body for every reason: {answers:?}");
}

/// A body that was signed by the right sender and cannot be used, and what the answer says of it.
struct Unusable {
    name: &'static str,
    body: Vec<u8>,
    reason: &'static str,
    /// Its type can be read and is ours, so that it is kept as a dead letter.
    kept: bool,
}

fn nameless(name: &'static str, body: impl Into<Vec<u8>>, reason: &'static str) -> Unusable {
    Unusable { name, body: body.into(), reason, kept: false }
}

/// A good event with one field changed, and the reason that names this field.
fn changed(name: &'static str, event: &Value, pointer: &str, value: Value, reason: &'static str) -> Unusable {
    Unusable { name, body: at(event, pointer, value).to_string().into_bytes(), reason, kept: true }
}

/// A good event with a piece of its text replaced, where no JSON library would write what is wanted.
fn rewritten(name: &'static str, event: &Value, from: &str, to: &str, reason: &'static str) -> Unusable {
    let text = event.to_string();
    assert_eq!(text.matches(from).count(), 1, "{name}");
    Unusable { name, body: text.replace(from, to).into_bytes(), reason, kept: true }
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// Bodies that are not even an event.
fn no_events() -> Vec<Unusable> {
    const NO_OBJECT: &str = "the body is not a JSON object";
    const TOO_DEEP: &str = "nested deeper than 128 levels";
    let user = payloads::user("user_control");
    let text = user.to_string();
    vec![
        nameless("an empty body", "", NO_OBJECT),
        nameless("blanks", " \r\n", NO_OBJECT),
        nameless("not JSON", "type=user.created&data=", NO_OBJECT),
        nameless("JSON cut off", &text[..text.len() - 1], NO_OBJECT),
        nameless("JSON with more behind it", format!("{text}{{}}"), NO_OBJECT),
        nameless("JSON with a comment", format!("/* */{text}"), NO_OBJECT),
        nameless("JSON with a comma too many", text.replacen('{', "{,", 1), NO_OBJECT),
        nameless("single quotes", text.replace('"', "'"), NO_OBJECT),
        nameless("NaN", text.replacen("false", "NaN", 1), NO_OBJECT),
        nameless("a line break in a text", text.replacen("Ada", "A\nda", 1), NO_OBJECT),
        nameless("a line break in a name", text.replacen("locked", "lo\ncked", 1), NO_OBJECT),
        nameless("a name that is a number", text.replacen("\"locked\"", "5", 1), NO_OBJECT),
        nameless("an array", format!("[{text}]"), NO_OBJECT),
        nameless("a text", json!(text).to_string(), NO_OBJECT),
        nameless("a number", "5", NO_OBJECT),
        nameless("null", "null", NO_OBJECT),
        nameless("a byte order mark", format!("\u{feff}{text}"), NO_OBJECT),
        nameless(
            "Latin-1",
            text.replacen("Ada", "Ad\u{1}", 1)
                .replace('\u{1}', "?")
                .into_bytes()
                .iter()
                .map(|b| if *b == b'?' { 0xe9 } else { *b })
                .collect::<Vec<_>>(),
            NO_OBJECT,
        ),
        nameless("UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), NO_OBJECT),
        nameless("an overlong slash", [text.as_bytes(), b"\xc0\xaf"].concat(), NO_OBJECT),
        nameless("arrays in arrays, 200 deep", nested(200), NO_OBJECT),
        nameless("arrays in arrays, 100,000 deep", nested(100_000), NO_OBJECT),
        nameless("arrays opened and never closed", "[".repeat(500_000), NO_OBJECT),
        nameless(
            "objects in objects, 100,000 deep",
            format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000)),
            TOO_DEEP,
        ),
        nameless("no type", json!({"data": user["data"]}).to_string(), "`type` is missing"),
        nameless("type null", at(&user, "/type", json!(null)).to_string(), "`type` is missing"),
        nameless("type a number", at(&user, "/type", json!(1)).to_string(), "`type` must be a string"),
        nameless(
            "type an array",
            at(&user, "/type", json!(["user.created"])).to_string(),
            "`type` must be a string",
        ),
        nameless("type an object", at(&user, "/type", json!({})).to_string(), "`type` must be a string"),
        nameless(
            "type with half a character",
            text.replacen("user.created", r"user.created\ud800", 1),
            "`type` must be a string",
        ),
        Unusable {
            kept: true,
            ..nameless(
                "an unused field nested 200 deep",
                text.replacen("\"locked\":false", &format!("\"locked\":{}", nested(200)), 1),
                TOO_DEEP,
            )
        },
        Unusable {
            kept: true,
            ..nameless(
                "a used field nested 100,000 deep",
                text.replacen("\"Ada\"", &nested(100_000), 1),
                TOO_DEEP,
            )
        },
    ]
}

/// Events that have no usable data, time or id.
fn envelopes() -> Vec<Unusable> {
    const ID: &str = "`data.id` must be 1 to 255 printable ASCII characters";
    const YEARS: &str = "`timestamp` must lie in the years 1 to 9999";
    let user = payloads::user("user_control");
    let c = |name, pointer: &str, value: Value, reason| changed(name, &user, pointer, value, reason);
    vec![
        c("no data", "/data", json!(null), "`data` is missing"),
        c("data an array", "/data", json!([user["data"]]), "`data` must be an object"),
        c("data a text", "/data", json!("user_1"), "`data` must be an object"),
        c("no id", "/data/id", json!(null), "`data.id` is missing"),
        c("an id that is a number", "/data/id", json!(7), "`data.id` must be a string"),
        c("an id that is an object", "/data/id", json!({"id": "user_1"}), "`data.id` must be a string"),
        c("an empty id", "/data/id", json!(""), ID),
        c("an id of 256 bytes", "/data/id", json!("u".repeat(256)), ID),
        c("an id that is not ASCII", "/data/id", json!("user_é"), ID),
        c("an id that looks like ASCII", "/data/id", json!("usеr_1"), ID),
        c("an id with a line break", "/data/id", json!("user_1\n"), ID),
        c("an id with NUL", "/data/id", json!("user_1\0"), ID),
        c("an id with DEL", "/data/id", json!("user_1\u{7f}"), ID),
        rewritten(
            "an id with half a character",
            &user,
            r#""user_control""#,
            r#""user_\udc00""#,
            "`data.id` must be a string",
        ),
        c(
            "a time of the event in words",
            "/timestamp",
            json!("2026-09-01T12:00:00Z"),
            "`timestamp` must be a whole number",
        ),
        c(
            "a time of the event with a fraction",
            "/timestamp",
            json!(1_795_000_000.5),
            "`timestamp` must be a whole number",
        ),
        c("the event at the end of numbers", "/timestamp", json!(i64::MAX), YEARS),
        c("the event at the beginning of numbers", "/timestamp", json!(i64::MIN), YEARS),
        c("the event in the year 10000", "/timestamp", json!(253_402_300_800_000_i64), YEARS),
        c("the event in the year 0, in seconds", "/timestamp", json!(-62_135_596_801_i64), YEARS),
        rewritten(
            "the event beyond all numbers",
            &at(&user, "/timestamp", json!(4711)),
            "4711",
            "1e999",
            "`timestamp` must be a whole number",
        ),
        changed(
            "a deletion without an id",
            &payloads::deleted("user", "user_control"),
            "/data/id",
            json!(null),
            "`data.id` is missing",
        ),
        changed(
            "a deletion of an organization with an empty id",
            &payloads::deleted("organization", "org_control"),
            "/data/id",
            json!(""),
            ID,
        ),
    ]
}

/// Fields of users that we use.
fn users() -> Vec<Unusable> {
    const YEARS: &str = "must lie in the years 1 to 9999";
    let user = payloads::user("user_control");
    let c = |name, pointer: &str, value: Value, reason| changed(name, &user, pointer, value, reason);
    vec![
        c(
            "a first name that is a number",
            "/data/first_name",
            json!(5),
            "`data.first_name` must be a string",
        ),
        c(
            "a last name that is an array",
            "/data/last_name",
            json!(["Okafor"]),
            "`data.last_name` must be a string",
        ),
        c("a username that is a flag", "/data/username", json!(true), "`data.username` must be a string"),
        c("a picture that is an object", "/data/image_url", json!({}), "`data.image_url` must be a string"),
        c("has_image in words", "/data/has_image", json!("true"), "`data.has_image` must be true or false"),
        c("banned as a number", "/data/banned", json!(1), "`data.banned` must be true or false"),
        c(
            "public metadata that is an array",
            "/data/public_metadata",
            json!([]),
            "`data.public_metadata` must be an object",
        ),
        c(
            "public metadata that is a text",
            "/data/public_metadata",
            json!("{}"),
            "`data.public_metadata` must be an object",
        ),
        rewritten(
            "public metadata with an endless number",
            &at(&user, "/data/public_metadata", json!({"n": 4711})),
            "4711",
            "1e999",
            "`data.public_metadata` must be an object",
        ),
        rewritten(
            "public metadata with half a character",
            &user,
            r#""core""#,
            r#""\ud83d""#,
            "`data.public_metadata` must be an object",
        ),
        rewritten(
            "a name with half a character",
            &user,
            r#""Ada""#,
            r#""A\udfffda""#,
            "`data.first_name` must be a string",
        ),
        c(
            "addresses that are an object",
            "/data/email_addresses",
            json!({}),
            "`data.email_addresses` must be an array",
        ),
        c(
            "addresses that are texts",
            "/data/email_addresses",
            json!(["ada@example.com"]),
            "`data.email_addresses` must be an object",
        ),
        c(
            "an address that is a number",
            "/data/email_addresses/0/email_address",
            json!(5),
            "`data.email_addresses.email_address` must be a string",
        ),
        c(
            "a primary address that is an object",
            "/data/primary_email_address_id",
            json!({}),
            "`data.primary_email_address_id` must be a string",
        ),
        c(
            "made at no whole number",
            "/data/created_at",
            json!(1.5),
            "`data.created_at` must be a whole number",
        ),
        c(
            "changed on a date in words",
            "/data/updated_at",
            json!("2026-09-01"),
            "`data.updated_at` must be a whole number",
        ),
        c("made at the end of numbers", "/data/created_at", json!(i64::MAX), YEARS),
        c("made at the beginning of numbers", "/data/created_at", json!(i64::MIN), YEARS),
        c(
            "made beyond 64 bits",
            "/data/created_at",
            json!(u64::MAX),
            "`data.created_at` must be a whole number",
        ),
        c(
            "changed a millisecond before the year 1",
            "/data/updated_at",
            json!(-62_135_596_800_001_i64),
            YEARS,
        ),
        c(
            "signed in a millisecond after the year 9999",
            "/data/last_sign_in_at",
            json!(253_402_300_800_000_i64),
            YEARS,
        ),
        c(
            "signed in at a flag",
            "/data/last_sign_in_at",
            json!(true),
            "`data.last_sign_in_at` must be a whole number",
        ),
    ]
}

/// Fields of all the others.
fn others() -> Vec<Unusable> {
    const ID: &str = "must be 1 to 255 printable ASCII characters";
    let organization = payloads::organization("org_control");
    let membership = payloads::membership("orgmem_control", "org_control", "user_control");
    let invitation = payloads::invitation("orginv_control", "org_control");
    let session = payloads::session("sess_control", "user_control");
    let ended = payloads::ended(&membership);
    let o = |name, pointer: &str, value: Value, reason| changed(name, &organization, pointer, value, reason);
    let m = |name, pointer: &str, value: Value, reason| changed(name, &membership, pointer, value, reason);
    let i = |name, pointer: &str, value: Value, reason| changed(name, &invitation, pointer, value, reason);
    let s = |name, pointer: &str, value: Value, reason| changed(name, &session, pointer, value, reason);
    let e = |name, pointer: &str, value: Value, reason| changed(name, &ended, pointer, value, reason);
    vec![
        o("an organization without an id", "/data/id", json!(null), "`data.id` is missing"),
        o("an organization whose name is a number", "/data/name", json!(1), "`data.name` must be a string"),
        o(
            "an organization made on a date",
            "/data/created_at",
            json!("x"),
            "`data.created_at` must be a whole number",
        ),
        m("a membership without an id", "/data/id", json!(null), "`data.id` is missing"),
        m(
            "a membership without an organization",
            "/data/organization",
            json!(null),
            "`data.organization` is missing",
        ),
        m(
            "a membership of an organization without an id",
            "/data/organization/id",
            json!(null),
            "`data.organization.id` is missing",
        ),
        m(
            "a membership of an organization that is a text",
            "/data/organization",
            json!("org_1"),
            "`data.organization` must be an object",
        ),
        m("a membership of an organization with an odd id", "/data/organization/id", json!("\u{1b}[2J"), ID),
        m(
            "a membership without a user",
            "/data/public_user_data",
            json!(null),
            "`data.public_user_data` is missing",
        ),
        m(
            "a membership of a user without an id",
            "/data/public_user_data/user_id",
            json!(null),
            "`data.public_user_data.user_id` is missing",
        ),
        m("a membership of a user with an empty id", "/data/public_user_data/user_id", json!(""), ID),
        m(
            "a role that is an object",
            "/data/role",
            json!({"name": "org:admin"}),
            "`data.role` must be a string",
        ),
        m(
            "a membership with an array as metadata",
            "/data/public_metadata",
            json!([]),
            "`data.public_metadata` must be an object",
        ),
        e(
            "an ended membership without an organization",
            "/data/organization",
            json!(null),
            "`data.organization` is missing",
        ),
        e(
            "an ended membership without a user",
            "/data/public_user_data",
            json!(null),
            "`data.public_user_data` is missing",
        ),
        i("an invitation without an id", "/data/id", json!(null), "`data.id` is missing"),
        i(
            "an invitation in an unknown state",
            "/data/status",
            json!("maybe"),
            "`data.status` must be pending, accepted, revoked or expired",
        ),
        i(
            "an invitation of a number",
            "/data/email_address",
            json!(5),
            "`data.email_address` must be a string",
        ),
        i("an invitation to nowhere that can be", "/data/organization_id", json!("órg"), ID),
        i(
            "an invitation that lapses in the year 10000",
            "/data/expires_at",
            json!(253_402_300_800_000_i64),
            "must lie in the years 1 to 9999",
        ),
        i(
            "an invitation accepted by an array",
            "/data/user_id",
            json!(["user_1"]),
            "`data.user_id` must be a string",
        ),
        s("a session without an id", "/data/id", json!(null), "`data.id` is missing"),
        s("a session of nobody", "/data/user_id", json!(null), "`data.user_id` is missing"),
        s(
            "a session that began in the year 10000",
            "/data/created_at",
            json!(253_402_300_800_000_i64),
            "must lie in the years 1 to 9999",
        ),
    ]
}

#[tokio::test]
async fn a_signed_body_that_cannot_be_used_is_refused_by_name_and_changes_nothing() {
    let site = Site::start().await;
    let cases: Vec<_> = [no_events(), envelopes(), users(), others()].into_iter().flatten().collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    let mut letters = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let id = format!("msg_{number:03}");
        let answer = site.post(&Delivery::new(&id, case.body.clone())).await;
        assert_eq!(answer.verdict(), "422 UNPROCESSABLE_EVENT", "{}", case.name);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(case.reason), "{}: {detail}", case.name);
        assert!(detail.len() < 200, "{}: it says nothing of the event itself: {detail}", case.name);
        if case.kept {
            letters.push(id);
        }
        let journal = site.rows.journal().await;
        let kept: Vec<_> = journal.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(kept, letters, "{}", case.name);
        assert!(journal.iter().all(|line| line.ends_with(" dead")), "{}", case.name);
        assert!(site.rows.model().await.is_empty(), "{}", case.name);
    }
    // Each was made from one of these, and nothing of it is known yet.
    for (number, good) in payloads::controls().iter().enumerate() {
        assert_eq!(
            site.deliver_as(&format!("msg_good_{number}"), good.to_string()).await,
            "200 applied",
            "{good}"
        );
    }
    assert_eq!(site.members("org_control").await, ["user_control"]);
}
