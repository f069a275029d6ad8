//! How good input is damaged.

use std::path::Path;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// What parsers and databases stumble over.
const ODD: [&str; 30] = [
    "\0",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ".",
    "%",
    "_",
    "=",
    "&",
    "\r\n",
    "\u{feff}",
    "\u{202e}",
    "é",
    "null",
    "true",
    "-0",
    "1e999",
    "18446744073709551616",
    "-9223372036854775809",
    "0.1",
    r#""\ud800""#,
    r#""\u0000""#,
    r#"{"id":"user_1","id":"user_2"}"#,
    "' OR '1'='1",
    "%00",
];

/// One thing done to bytes.
#[derive(Debug, Clone)]
pub enum Damage {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Repeat(Index, u8),
    CutAt(Index),
    /// So many brackets deep.
    Nest(Index, u8),
}

/// A few of them.
pub fn some() -> impl Strategy<Value = Vec<Damage>> {
    let odd = select(&ODD[..]).prop_map(|odd| odd.as_bytes().to_vec());
    let bytes = prop_oneof![odd, vec(any::<u8>(), 1..8)];
    let one = prop_oneof![
        (any::<Index>(), 1_u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1_u8..).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<Index>(), 1_u8..).prop_map(|(at, length)| Damage::Repeat(at, length)),
        any::<Index>().prop_map(Damage::CutAt),
        (any::<Index>(), any::<u8>()).prop_map(|(at, depth)| Damage::Nest(at, depth)),
    ];
    vec(one, 1..5)
}

/// Does all of it.
pub fn done_to(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len();
        let end = |at: usize, part: u8| length.min(at + usize::from(part));
        match damage {
            _ if bytes.is_empty() => bytes.push(b'x'),
            Damage::Flip(at, bits) => bytes[at.index(length)] ^= bits,
            Damage::Insert(at, odd) => {
                let at = at.index(length);
                bytes.splice(at..at, odd.iter().copied());
            }
            Damage::Remove(at, part) => {
                let at = at.index(length);
                bytes.drain(at..end(at, *part));
            }
            Damage::Repeat(at, part) => {
                let at = at.index(length);
                let again = bytes[at..end(at, *part)].to_vec();
                bytes.splice(at..at, again);
            }
            Damage::CutAt(at) => bytes.truncate(at.index(length)),
            Damage::Nest(at, depth) => {
                let (at, depth) = (at.index(length), usize::from(*depth));
                bytes.splice(at..at, "]".repeat(depth).into_bytes());
                bytes.splice(at..at, "[".repeat(depth).into_bytes());
            }
        }
    }
    bytes
}

/// The same to a text that must stay one.
pub fn done_to_text(text: &str, damages: &[Damage]) -> String {
    String::from_utf8_lossy(&done_to(text.as_bytes().to_vec(), damages)).into_owned()
}

/// A value of any kind, the odd ones more often than a good one.
pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![any::<i64>(), select(vec![0, -1, i64::MIN, i64::MAX, 253_402_300_800_000])]
            .prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(&ODD[..]).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        (200_usize..70_000).prop_map(|length| "x".repeat(length).into()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((".{0,6}", inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Puts another value somewhere into a document, or takes the field away.
pub fn replaced(mut document: Value, at: Index, with: Option<Value>) -> Value {
    let mut places = Vec::new();
    pointers(&document, String::new(), &mut places);
    let place = at.get(&places).clone();
    match (with, place.rsplit_once('/')) {
        (Some(value), _) => *document.pointer_mut(&place).unwrap() = value,
        (None, Some((parent, field))) => {
            if let Some(Value::Object(fields)) = document.pointer_mut(parent) {
                fields.remove(field);
            }
        }
        (None, None) => {}
    }
    document
}

fn pointers(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| !name.contains(['/', '~'])) {
                pointers(value, format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(path);
}

/// One recorded event of each type, and those of the stories.
pub static EVENTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut events = Vec::new();
    for folder in ["clerk", "stories"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
            for document in documents.map(Result::unwrap) {
                match document {
                    Value::Array(several) => events.extend(several),
                    one => events.push(one),
                }
            }
        }
    }
    assert!(events.len() > 20, "{}", events.len());
    events
});

/// An event, damaged in either way.
pub fn event() -> impl Strategy<Value = Vec<u8>> {
    let good = || select(&**EVENTS);
    let bytes =
        (good(), some()).prop_map(|(event, damages)| done_to(event.to_string().into_bytes(), &damages));
    let values = (good(), vec((any::<Index>(), proptest::option::of(value())), 1..4));
    let values = values.prop_map(|(event, changes)| {
        let changed = changes.into_iter().fold(event, |event, (at, with)| replaced(event, at, with));
        changed.to_string().into_bytes()
    });
    prop_oneof![bytes, values]
}
