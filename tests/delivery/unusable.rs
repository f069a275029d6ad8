//! Deliveries of the right sender that cannot be used, for one reason each. Every one is refused by name and
//! changes nothing; the good event that it was made from is taken afterwards.

use serde_json::{Value, json};

use super::payloads::{self, at};
use crate::support::delivery::Delivery;
use crate::support::site::Site;

/// A body that cannot be used, and what the answer says of it.
struct Unusable {
    name: &'static str,
    body: Vec<u8>,
    reason: &'static str,
    /// Its type can be read and is ours, so that it is kept as a dead letter.
    kept: bool,
}

/// Its name; the field; what stands there instead, as JSON text; the reason.
type Row = (&'static str, &'static str, &'static str, &'static str);

const NO_OBJECT: &str = "the body is not a JSON object";
const TOO_DEEP: &str = "nested deeper than 128 levels";
const ID: &str = "must be 1 to 255 printable ASCII characters";
const NO_MOMENT: &str = "must be a whole number of 64 bits";
const YEARS: &str = "must lie in the years 1 to 9999";

#[rustfmt::skip] // A table.
const ENVELOPES: &[Row] = &[
    ("no data", "/data", "null", "`data` is missing"),
    ("data an array", "/data", r#"[{"id":"user_1"}]"#, "`data` must be an object"),
    ("data a text", "/data", r#""user_1""#, "`data` must be an object"),
    ("no id", "/data/id", "null", "`data.id` is missing"),
    ("an id that is a number", "/data/id", "7", "`data.id` must be a string"),
    ("an id that is an object", "/data/id", r#"{"id":"user_1"}"#, "`data.id` must be a string"),
    ("an empty id", "/data/id", r#""""#, ID),
    ("an id that is not ASCII", "/data/id", r#""user_é""#, ID),
    ("an id that looks like ASCII", "/data/id", r#""us\u0435r_1""#, ID),
    ("an id with a line break", "/data/id", r#""user_1\n""#, ID),
    ("an id with NUL", "/data/id", r#""user_1\u0000""#, ID),
    ("an id with DEL", "/data/id", r#""user_1\u007f""#, ID),
    ("an id with half a character", "/data/id", r#""user_\udc00""#, "`data.id` must be a string"),
    ("an event at a time in words", "/timestamp", r#""2026-09-01T12:00:00Z""#, NO_MOMENT),
    ("an event at half a second", "/timestamp", "1795000000.5", NO_MOMENT),
    ("an event beyond all numbers", "/timestamp", "1e999", NO_MOMENT),
    ("an event at the end of numbers", "/timestamp", "9223372036854775807", "`timestamp` must lie in the years"),
    ("an event at the beginning of numbers", "/timestamp", "-9223372036854775808", "`timestamp` must lie in the years"),
    ("an event in the year 10000", "/timestamp", "253402300800000", "`timestamp` must lie in the years"),
    ("an event in the year 0, in seconds", "/timestamp", "-62135596801", "`timestamp` must lie in the years"),
];

#[rustfmt::skip] // A table.
const USERS: &[Row] = &[
    ("a first name that is a number", "/data/first_name", "5", "`data.first_name` must be a string"),
    ("a first name with half a character", "/data/first_name", r#""A\udfffda""#, "`data.first_name` must be a string"),
    ("a last name that is an array", "/data/last_name", r#"["Okafor"]"#, "`data.last_name` must be a string"),
    ("a username that is a flag", "/data/username", "true", "`data.username` must be a string"),
    ("a picture that is an object", "/data/image_url", "{}", "`data.image_url` must be a string"),
    ("has_image in words", "/data/has_image", r#""true""#, "`data.has_image` must be true or false"),
    ("banned as a number", "/data/banned", "1", "`data.banned` must be true or false"),
    ("public metadata that is an array", "/data/public_metadata", "[]", "`data.public_metadata` must be an object"),
    ("public metadata that is a text", "/data/public_metadata", r#""{}""#, "`data.public_metadata` must be an object"),
    ("public metadata with an endless number", "/data/public_metadata/team", "1e999", "`data.public_metadata` must be an object"),
    ("public metadata with half a character", "/data/public_metadata/team", r#""\ud83d""#, "`data.public_metadata` must be an object"),
    ("addresses that are an object", "/data/email_addresses", "{}", "`data.email_addresses` must be an array"),
    ("addresses that are texts", "/data/email_addresses", r#"["ada@example.com"]"#, "`data.email_addresses` must be an object"),
    ("an address that is null", "/data/email_addresses/0", "null", "`data.email_addresses` must be an object"),
    ("an address that is a number", "/data/email_addresses/0/email_address", "5", "`data.email_addresses.email_address` must be a string"),
    ("an address whose id is a number", "/data/email_addresses/0/id", "5", "`data.email_addresses.id` must be a string"),
    ("a primary address that is an object", "/data/primary_email_address_id", "{}", "`data.primary_email_address_id` must be a string"),
    ("made at half a millisecond", "/data/created_at", "1.5", NO_MOMENT),
    ("made at a time in words", "/data/created_at", r#""2026-09-01""#, "`data.created_at` must be a whole number"),
    ("changed at a time in words", "/data/updated_at", r#""1795000000000""#, "`data.updated_at` must be a whole number"),
    ("made beyond 64 bits", "/data/created_at", "18446744073709551615", NO_MOMENT),
    ("made at the end of numbers", "/data/created_at", "9223372036854775807", YEARS),
    ("made at the beginning of numbers", "/data/created_at", "-9223372036854775808", YEARS),
    ("changed a millisecond before the year 1", "/data/updated_at", "-62135596800001", YEARS),
    ("signed in a millisecond after the year 9999", "/data/last_sign_in_at", "253402300800000", YEARS),
    ("signed in at a flag", "/data/last_sign_in_at", "true", NO_MOMENT),
];

#[rustfmt::skip] // A table.
const ORGANIZATIONS: &[Row] = &[
    ("an organization without an id", "/data/id", "null", "`data.id` is missing"),
    ("an organization whose name is a number", "/data/name", "1", "`data.name` must be a string"),
    ("an organization made at a time in words", "/data/created_at", r#""x""#, NO_MOMENT),
    ("an organization changed in the year 0", "/data/updated_at", "-62135596800001", YEARS),
];

#[rustfmt::skip] // A table.
const MEMBERSHIPS: &[Row] = &[
    ("a membership without an id", "/data/id", "null", "`data.id` is missing"),
    ("a membership without an organization", "/data/organization", "null", "`data.organization` is missing"),
    ("a membership of a nameless organization", "/data/organization/id", "null", "`data.organization.id` is missing"),
    ("a membership of an organization in a text", "/data/organization", r#""org_1""#, "`data.organization` must be an object"),
    ("a membership of an organization with an odd id", "/data/organization/id", r#""\u001b[2J""#, ID),
    ("a membership without a user", "/data/public_user_data", "null", "`data.public_user_data` is missing"),
    ("a membership of a nameless user", "/data/public_user_data/user_id", "null", "`data.public_user_data.user_id` is missing"),
    ("a membership of a user with an empty id", "/data/public_user_data/user_id", r#""""#, ID),
    ("a role that is an object", "/data/role", r#"{"name":"org:admin"}"#, "`data.role` must be a string"),
    ("a membership with an array as metadata", "/data/public_metadata", "[]", "`data.public_metadata` must be an object"),
    ("a membership made at a time in words", "/data/created_at", r#""x""#, NO_MOMENT),
];

#[rustfmt::skip] // A table.
const ENDED_MEMBERSHIPS: &[Row] = &[
    ("an ended membership without an id", "/data/id", "null", "`data.id` is missing"),
    ("an ended membership without an organization", "/data/organization", "null", "`data.organization` is missing"),
    ("an ended membership without a user", "/data/public_user_data", "null", "`data.public_user_data` is missing"),
    ("an ended membership made at a time in words", "/data/created_at", r#""x""#, NO_MOMENT),
];

#[rustfmt::skip] // A table.
const INVITATIONS: &[Row] = &[
    ("an invitation without an id", "/data/id", "null", "`data.id` is missing"),
    ("an invitation in an unknown state", "/data/status", r#""maybe""#, "`data.status` must be pending, accepted, revoked or expired"),
    ("an invitation of a number", "/data/email_address", "5", "`data.email_address` must be a string"),
    ("an invitation to an odd id", "/data/organization_id", r#""órg""#, ID),
    ("an invitation accepted by an array", "/data/user_id", r#"["user_1"]"#, "`data.user_id` must be a string"),
    ("an invitation that lapses in the year 10000", "/data/expires_at", "253402300800000", YEARS),
    ("an invitation with a text as metadata", "/data/public_metadata", r#""x""#, "`data.public_metadata` must be an object"),
];

#[rustfmt::skip] // A table.
const SESSIONS: &[Row] = &[
    ("a session without an id", "/data/id", "null", "`data.id` is missing"),
    ("a session of nobody", "/data/user_id", "null", "`data.user_id` is missing"),
    ("a session of an odd id", "/data/user_id", r#""\t""#, ID),
    ("a session that began in the year 10000", "/data/created_at", "253402300800000", YEARS),
];

#[rustfmt::skip] // A table.
const DELETIONS: &[Row] = &[
    ("a deletion of nobody", "/data/id", "null", "`data.id` is missing"),
    ("a deletion of an empty id", "/data/id", r#""""#, ID),
    ("a deletion in the year 10000", "/timestamp", "253402300800000", "`timestamp` must lie in the years"),
];

/// A good event with one value changed. The new one is put in as text, because no JSON library would write
/// some of them.
fn spoiled(good: &Value, (name, pointer, value, reason): Row) -> Unusable {
    let text = at(good, pointer, json!("here")).to_string();
    assert_eq!(text.matches(r#""here""#).count(), 1, "{name}");
    Unusable { name, body: text.replace(r#""here""#, value).into_bytes(), reason, kept: true }
}

fn spoiled_events() -> Vec<Unusable> {
    let membership = payloads::membership("orgmem_control", "org_control", "user_control");
    let tables = [
        (payloads::user("user_control"), ENVELOPES),
        (payloads::user("user_control"), USERS),
        (payloads::organization("org_control"), ORGANIZATIONS),
        (payloads::ended(&membership), ENDED_MEMBERSHIPS),
        (membership, MEMBERSHIPS),
        (payloads::invitation("orginv_control", "org_control"), INVITATIONS),
        (payloads::session("sess_control", "user_control"), SESSIONS),
        (payloads::deleted("user", "user_gone"), DELETIONS),
        (payloads::deleted("organization", "org_gone"), DELETIONS),
    ];
    let spoiled =
        |(good, rows): &(Value, &[Row])| rows.iter().map(|row| spoiled(good, *row)).collect::<Vec<_>>();
    tables.iter().flat_map(spoiled).collect()
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// Bodies that are no event at all.
fn no_events() -> Vec<Unusable> {
    let user = payloads::user("user_control");
    let text = user.to_string();
    let instead = |from: &str, to: &str| text.replacen(from, to, 1).into_bytes();
    let utf_16: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let bodies = [
        ("an empty body", Vec::new(), NO_OBJECT),
        ("blanks", b" \r\n".to_vec(), NO_OBJECT),
        ("not JSON", b"type=user.created&data=".to_vec(), NO_OBJECT),
        ("a name with a line's end", b"{\"type\":\"user.created\",\"x\n\":1}".to_vec(), NO_OBJECT),
        ("JSON cut off", text.as_bytes()[..text.len() - 1].to_vec(), NO_OBJECT),
        ("JSON with more behind it", format!("{text}{{}}").into_bytes(), NO_OBJECT),
        ("JSON with a comment", format!("/* */{text}").into_bytes(), NO_OBJECT),
        ("a comma too many", instead("{", "{,"), NO_OBJECT),
        ("single quotes", text.replace('"', "'").into_bytes(), NO_OBJECT),
        ("NaN", instead("false", "NaN"), NO_OBJECT),
        ("a line break in a text", instead("Ada", "A\nda"), NO_OBJECT),
        ("a line break in a name", instead("locked", "lo\ncked"), NO_OBJECT),
        ("a name that is a number", instead(r#""locked""#, "5"), NO_OBJECT),
        ("an array", format!("[{text}]").into_bytes(), NO_OBJECT),
        ("a text", json!(text).to_string().into_bytes(), NO_OBJECT),
        ("a number", b"5".to_vec(), NO_OBJECT),
        ("null", b"null".to_vec(), NO_OBJECT),
        ("a byte order mark", format!("\u{feff}{text}").into_bytes(), NO_OBJECT),
        (
            "Latin-1",
            text.bytes().map(|byte| if byte == b'?' { 0xe9 } else { byte }).chain([0xe9]).collect(),
            NO_OBJECT,
        ),
        ("UTF-16", utf_16, NO_OBJECT),
        ("an overlong blank", [text.as_bytes(), b"\xc0\xa0"].concat(), NO_OBJECT),
        ("arrays in arrays, 200 deep", nested(200).into_bytes(), NO_OBJECT),
        ("arrays in arrays, 100,000 deep", nested(100_000).into_bytes(), NO_OBJECT),
        ("arrays that never end", "[".repeat(500_000).into_bytes(), NO_OBJECT),
        ("objects in objects, 100,000 deep", objects.into_bytes(), TOO_DEEP),
        ("no type", json!({ "data": user["data"] }).to_string().into_bytes(), "`type` is missing"),
        ("a type that is null", instead(r#""user.created""#, "null"), "`type` is missing"),
        ("a type that is a number", instead(r#""user.created""#, "1"), "`type` must be a string"),
        (
            "a type in an array",
            instead(r#""user.created""#, r#"["user.created"]"#),
            "`type` must be a string",
        ),
        ("a type in an object", instead(r#""user.created""#, "{}"), "`type` must be a string"),
        (
            "a type with half a character",
            instead("user.created", r"user.created\ud800"),
            "`type` must be a string",
        ),
    ];
    let kept = [
        (
            "an unused field 200 deep",
            instead(r#""locked":false"#, &format!(r#""locked":{}"#, nested(200))),
            TOO_DEEP,
        ),
        ("a used field 100,000 deep", instead(r#""Ada""#, &nested(100_000)), TOO_DEEP),
        ("an id of 256 bytes", instead("user_control", &"u".repeat(256)), ID),
    ];
    let unusable = |kept| move |(name, body, reason)| Unusable { name, body, reason, kept };
    bodies.into_iter().map(unusable(false)).chain(kept.into_iter().map(unusable(true))).collect()
}

#[tokio::test]
async fn a_signed_body_that_cannot_be_used_is_refused_by_name_and_changes_nothing() {
    let site = Site::start().await;
    let mut letters = Vec::new();
    for (number, case) in no_events().into_iter().chain(spoiled_events()).enumerate() {
        let id = format!("msg_{number:03}");
        let answer = site.post(&Delivery::new(&id, case.body)).await;
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
    assert!(letters.len() > 80, "{}", letters.len());
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
