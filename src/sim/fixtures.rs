//! The recorded events of `fixtures/`, inside the program, so that `roster dev` works in an empty folder.

use std::path::Path;

use crate::replay::Message;
use crate::replay::files::{self, FileError};

/// The instance that the fixtures are of.
pub const INSTANCE_ID: &str = "ins_3A0mfVb1ZcQx7Yp4kLr9TsWdHuE";

macro_rules! embed {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../fixtures/", $path))),)*]
    };
}

/// Every file, by its path in `fixtures/`, in the order in which a replay of the folder reads them.
pub const FILES: &[(&str, &str)] = embed![
    "clerk/email.created.json",
    "clerk/organization.created.json",
    "clerk/organization.deleted.json",
    "clerk/organization.updated.json",
    "clerk/organizationInvitation.accepted.json",
    "clerk/organizationInvitation.created.json",
    "clerk/organizationInvitation.revoked.json",
    "clerk/organizationMembership.created.json",
    "clerk/organizationMembership.deleted.json",
    "clerk/organizationMembership.updated.json",
    "clerk/role.updated.json",
    "clerk/session.created.json",
    "clerk/user.created.json",
    "clerk/user.deleted.json",
    "clerk/user.updated.json",
    "stories/1-a-team-that-grows.jsonl",
    "stories/2-a-second-organization.jsonl",
    "stories/3-leaves-and-rejoins.jsonl",
    "stories/4-a-deleted-user.jsonl",
];

/// Every event, with the message id that a replay of the folder would give it.
pub fn messages() -> Result<Vec<Message>, FileError> {
    let mut messages = Vec::new();
    for (path, text) in FILES {
        messages.extend(files::parse(text, Path::new(path))?.into_iter().map(Message::from_content));
    }
    Ok(messages)
}
