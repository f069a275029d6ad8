//! One webhook body: bytes to [`Change`]s.
//!
//! Lenient where Clerk may change, strict where we would store nonsense: only the type, the object's id and
//! what places a membership are needed, but a field that we use must have its documented shape.

use super::fields::{FieldError, Fields};
use super::{object, strip};
use crate::domain::time::is_showable;
use crate::domain::{Change, InvitationStatus, OrganizationId, UserId};

/// How deep a body may be nested: the parser's own limit.
const MAX_DEPTH: usize = 128;
/// Clerk documents milliseconds and shows seconds; a timestamp below this is in seconds.
const SECONDS_BELOW: i64 = 100_000_000_000;

/// What an event is about.
#[derive(Debug, Clone, Copy)]
enum Kind {
    User,
    UserDeleted,
    Organization,
    OrganizationDeleted,
    Membership,
    MembershipDeleted,
    Invitation(Option<InvitationStatus>),
    SignIn,
}

/// The types that we take. Every other type is acknowledged and ignored.
const TYPES: [(&str, Kind); 13] = [
    ("user.created", Kind::User),
    ("user.updated", Kind::User),
    ("user.deleted", Kind::UserDeleted),
    ("organization.created", Kind::Organization),
    ("organization.updated", Kind::Organization),
    ("organization.deleted", Kind::OrganizationDeleted),
    ("organizationMembership.created", Kind::Membership),
    ("organizationMembership.updated", Kind::Membership),
    ("organizationMembership.deleted", Kind::MembershipDeleted),
    ("organizationInvitation.created", Kind::Invitation(None)),
    ("organizationInvitation.accepted", Kind::Invitation(Some(InvitationStatus::Accepted))),
    ("organizationInvitation.revoked", Kind::Invitation(Some(InvitationStatus::Revoked))),
    ("session.created", Kind::SignIn),
];

/// The names of the types that we take.
pub fn types() -> [&'static str; TYPES.len()] {
    TYPES.map(|(name, _)| name)
}

/// What a body turned out to be.
#[derive(Debug)]
pub enum Decoded {
    /// An event that changes something.
    Event(Box<Event>),
    /// A type that is not ours.
    OtherType,
    /// Ours, but of another instance than the configured one, or of none.
    OtherInstance(&'static str),
}

/// What an event is about, as far as it could be read.
#[derive(Debug)]
pub struct Subject {
    /// Clerk's name of the event.
    pub event_type: &'static str,
    /// The object's id.
    pub object_id: Option<String>,
    /// The user that it speaks of.
    pub user_id: Option<UserId>,
    /// The envelope's time, in Unix milliseconds.
    pub occurred_at_ms: Option<i64>,
    /// The event, stripped to the fields that we use.
    pub payload: Option<String>,
}

/// An event that changes something.
#[derive(Debug)]
pub struct Event {
    /// What it is about.
    pub subject: Subject,
    /// What it says.
    pub change: Change,
}

/// A body that cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// Why not.
    pub reason: Reason,
    /// What could be read of it; `None` when its type could not be, or is not ours.
    pub subject: Option<Box<Subject>>,
}

/// Why a body cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not JSON, or not an object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// Nested beyond what the parser takes.
    #[error("the body is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// No type.
    #[error("`type` is missing")]
    NoType,
    /// A field does not have its documented shape.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Reads a body. `attempted_at_ms` is the signed time of the attempt; it dates a deletion that says nothing
/// of its time. With `instance_id`, events of another instance or of none are told apart.
pub fn decode(body: &[u8], attempted_at_ms: i64, instance_id: Option<&str>) -> Result<Decoded, Unusable> {
    let bare = |reason: Reason| Unusable { reason, subject: None };
    let text = std::str::from_utf8(body).map_err(|_| bare(Reason::NotJson))?;
    let envelope = Fields::parse(text, "").map_err(|_| bare(Reason::NotJson))?;
    let too_deep = depth(body) > MAX_DEPTH;
    let named = envelope.text("type").map_err(|error| bare(error.into()))?;
    let ours = named.and_then(|named| TYPES.into_iter().find(|(name, _)| *name == named));
    match ours {
        _ if too_deep => {
            let nameless = |event_type| Subject {
                event_type,
                object_id: None,
                user_id: None,
                occurred_at_ms: None,
                payload: None,
            };
            let subject = ours.map(|(event_type, _)| Box::new(nameless(event_type)));
            Err(Unusable { reason: Reason::TooDeep, subject })
        }
        None if envelope.raw("type").is_none() => Err(bare(Reason::NoType)),
        None => Ok(Decoded::OtherType),
        Some((event_type, kind)) => {
            let unusable = |error: FieldError| Unusable {
                reason: error.into(),
                subject: Some(Box::new(subject(&envelope, text, event_type, kind))),
            };
            if let Some(instance_id) = instance_id
                && envelope.text("instance_id").map_err(unusable)?.as_deref() != Some(instance_id)
            {
                return Ok(Decoded::OtherInstance(event_type));
            }
            let change = change(&envelope, kind, attempted_at_ms).map_err(unusable)?;
            let subject = subject(&envelope, text, event_type, kind);
            Ok(Decoded::Event(Box::new(Event { subject, change })))
        }
    }
}

/// The deepest nesting of a text that is known to be JSON.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The envelope's time in Unix milliseconds.
fn occurred_at_ms(envelope: &Fields<'_>) -> Result<Option<i64>, FieldError> {
    let Some(stated) = envelope.integer("timestamp")? else { return Ok(None) };
    let at_ms = if stated < SECONDS_BELOW { stated.saturating_mul(1_000) } else { stated };
    if is_showable(at_ms) {
        Ok(Some(at_ms))
    } else {
        Err(envelope.error("timestamp", "must lie in the years 1 to 9999"))
    }
}

fn change(envelope: &Fields<'_>, kind: Kind, attempted_at_ms: i64) -> Result<Change, FieldError> {
    let occurred = occurred_at_ms(envelope)?;
    let data = envelope.needed_object("data")?;
    let at_ms = occurred.unwrap_or(attempted_at_ms);
    match kind {
        Kind::User => object::user(&data, occurred),
        Kind::UserDeleted => Ok(Change::UserDeleted { id: data.needed_id("id", UserId::parse)?, at_ms }),
        Kind::Organization => object::organization(&data, occurred),
        Kind::OrganizationDeleted => {
            Ok(Change::OrganizationDeleted { id: data.needed_id("id", OrganizationId::parse)?, at_ms })
        }
        Kind::Membership => object::membership(&data, occurred),
        Kind::MembershipDeleted => object::membership_deleted(&data, occurred, attempted_at_ms),
        Kind::Invitation(status) => object::invitation(&data, status, occurred),
        Kind::SignIn => object::sign_in(&data, at_ms),
    }
}

/// Reads what an event is about, without asking that all of it be right.
fn subject(envelope: &Fields<'_>, text: &str, event_type: &'static str, kind: Kind) -> Subject {
    let data = envelope.object("data").ok().flatten();
    let id = |name: &str| data.as_ref().and_then(|data| data.id(name, UserId::parse).ok().flatten());
    let object_id = id("id");
    let user_id = match kind {
        Kind::User | Kind::UserDeleted => object_id.clone(),
        Kind::Membership | Kind::MembershipDeleted => {
            let user = data.as_ref().and_then(|data| data.object("public_user_data").ok().flatten());
            user.and_then(|user| user.id("user_id", UserId::parse).ok().flatten())
        }
        Kind::Invitation(_) | Kind::SignIn => id("user_id"),
        Kind::Organization | Kind::OrganizationDeleted => None,
    };
    // What speaks of nobody we could name could not be erased later, so it is not kept.
    let payload = object_id.is_some().then(|| strip::strip(text));
    Subject {
        event_type,
        object_id: object_id.map(|id| id.as_str().to_owned()),
        user_id,
        occurred_at_ms: occurred_at_ms(envelope).ok().flatten(),
        payload,
    }
}
