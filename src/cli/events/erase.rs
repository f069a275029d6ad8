//! `roster events erase`: a person is forgotten, and there is something to show for it.

use std::io::Write as _;

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::Failure;
use crate::clock;
use crate::config::Database;
use crate::domain::time::iso8601;
use crate::domain::{Change, UserId};
use crate::store::{self, Store};

/// How often the log on the disk is tried to be cut, each time after readers were waited for a while.
const TRIES: u32 = 40;

/// What is handed to whoever asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipt<'a> {
    id: &'a str,
    /// `erased`, or `already` when that was done before.
    outcome: &'static str,
    erased_at: String,
    memberships: u64,
    invitations: u64,
    events: u64,
}

pub(super) async fn run(
    store: &Store,
    database: &Database,
    user: &UserId,
    json: bool,
) -> Result<(), Failure> {
    let before = store.footprint(user).await.context("the database cannot be read")?;
    if !before.is_known {
        return Err(Failure::Failed(anyhow::anyhow!(
            "nothing is known of `{user}`: it must be Clerk's user id, as its dashboard shows it"
        )));
    }
    let at_ms = clock::now_ms();
    let deletion = Change::UserDeleted { id: user.clone(), at_ms };
    store.apply(vec![deletion]).await.context("nothing was erased")?;
    let after = store.footprint(user).await.context("it was erased; the receipt cannot be written")?;
    let cut = store::truncate_wal(database, TRIES).await;

    let receipt = Receipt {
        id: user.as_str(),
        outcome: if before.deleted_at_ms.is_some() { "already" } else { "erased" },
        erased_at: iso8601(after.deleted_at_ms.unwrap_or(at_ms)),
        memberships: before.memberships,
        invitations: before.invitations,
        events: before.events.saturating_sub(after.events),
    };
    let text = if json {
        serde_json::to_string(&receipt).map_err(anyhow::Error::from)?
    } else {
        sentences(&receipt)
    };
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(std::io::stdout(), "{text}");
    let is_cut = cut.context(
        "the person is erased, but the log file beside the database may hold old pages: run this again",
    )?;
    if is_cut {
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "the person is erased, but the log file beside the database still holds old pages, because something reads \
         them (an open transaction, a backup, Litestream): run this again when it has ended"
    )))
}

fn sentences(receipt: &Receipt<'_>) -> String {
    let Receipt { id, outcome, erased_at, memberships, invitations, events } = receipt;
    let first = match *outcome {
        "erased" => format!("Erased {id} at {erased_at}."),
        _ => format!("{id} was erased before, at {erased_at}."),
    };
    format!(
        "{first}\n  memberships ended     {memberships}\n  invitations blanked   {invitations}\n  \
         journal bodies erased {events}\n\
         Ids and times are all that is left. It does not come back here, not even if Clerk still has the user:\n\
         delete it there too. Backups from before still hold it."
    )
}
