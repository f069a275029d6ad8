//! `roster events`: the journal, for people and for scripts.

mod erase;
mod print;

use anyhow::Context as _;
use clap::Subcommand;

use self::print::{Printer, Shown};
use super::{Failure, existing};
use crate::config::{self, Config, Flags};
use crate::domain::UserId;
use crate::store::{EventCursor, EventFilter, Store, StoredEvent};
use crate::telemetry;
use crate::webhook::{Retried, retry};

/// How many events a person is shown without asking for more.
const LISTED: usize = 100;
/// How many events are read at once.
const PAGE: usize = 500;

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// List events, newest first
    #[command(after_help = "Examples: roster events list --outcome dead\n          \
                            roster events list --subject user_2abc --json")]
    List(List),
    /// Show all that the journal keeps of events
    #[command(after_help = "Example: roster events show msg_2abc")]
    Show {
        /// Message ids, as `list` and Clerk's dashboard show them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Try dead letters again, beside a running service; it helps after an update that understands more
    #[command(after_help = "Examples: roster events retry msg_2abc\n          roster events retry --all")]
    Retry {
        /// Message ids
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
        ids: Vec<String>,
        /// Every dead letter
        #[arg(long)]
        all: bool,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Erase a person here, for good, and print a receipt; delete the user in Clerk as well
    #[command(after_help = "Example: roster events erase user_2abc > receipt.txt")]
    Erase {
        /// Clerk's user id
        #[arg(value_name = "USER_ID", value_parser = user_id)]
        user: UserId,
        /// Print the receipt as one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Which events, and how they are shown.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those of this outcome: applied, stale or dead
    #[arg(long, value_parser = ["applied", "stale", "dead"])]
    pub outcome: Option<String>,
    /// Only those of this type, for example user.created
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only those about this object or user
    #[arg(long, value_name = "ID")]
    pub subject: Option<String>,
    /// At most so many [default: 100, and all with --json]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|error| error.to_string())
}

impl Events {
    /// Opens the journal, does it, and closes the journal.
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let needed = ["DATABASE_URL", "CLERK_INSTANCE_ID", "ROSTER_LOG", "RUST_LOG", "ROSTER_LOG_FORMAT"];
        let config = config::values(flags).keep(&needed).check()?;
        telemetry::init(&config.log.clone().or_warnings());
        existing(&config.database)?;
        let store = Store::open(&config.database).await.context("the database cannot be opened")?;
        let done = match self {
            Self::List(list) => list.run(&store).await,
            Self::Show { ids, json } => show(&store, &ids, json).await,
            Self::Retry { ids, all, json } => retry_all(&store, &config, &ids, all, json).await,
            Self::Erase { user, json } => erase::run(&store, &config.database, &user, json).await,
        };
        store.close().await;
        done
    }
}

impl List {
    async fn run(self, store: &Store) -> Result<(), Failure> {
        let filter =
            EventFilter { outcome: self.outcome, event_type: self.event_type, subject: self.subject };
        let limit = self.limit.unwrap_or(if self.json { usize::MAX } else { LISTED });
        let mut printer = Printer::new(self.json);
        let mut left = limit;
        walk(store, &filter, async |event| {
            if left == 0 {
                return Ok(false);
            }
            left -= 1;
            Ok(printer.event(&event))
        })
        .await?;
        printer.finish();
        if left == 0 && self.limit.is_none() {
            eprintln!("These are the newest {LISTED}; --limit N shows more.");
        }
        Ok(())
    }
}

/// Shows every event to `look`, newest first, until it has enough.
async fn walk(
    store: &Store,
    filter: &EventFilter,
    mut look: impl AsyncFnMut(StoredEvent) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut before = EventCursor::end();
    loop {
        let page = store.events(filter, &before, PAGE).await.context("the journal cannot be read")?;
        let Some(last) = page.last() else { return Ok(()) };
        before = last.cursor();
        for event in page {
            if !look(event).await? {
                return Ok(());
            }
        }
    }
}

/// Says which ids the journal does not know, each on its line.
fn or_unknown(unknown: &[&String]) -> Result<(), Failure> {
    if unknown.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = unknown.iter().map(|id| format!("`{id}`")).collect();
    Err(Failure::Failed(anyhow::anyhow!(
        "the journal has no event {}; `roster events list` shows the ids it has, and old events leave it \
         (ROSTER_JOURNAL_DAYS)",
        names.join(", ")
    )))
}

async fn show(store: &Store, ids: &[String], json: bool) -> Result<(), Failure> {
    let mut unknown = Vec::new();
    for id in ids {
        let Some(event) = store.event(id).await.context("the journal cannot be read")? else {
            unknown.push(id);
            continue;
        };
        let payload = store.event_payload(id).await.context("the journal cannot be read")?;
        print::whole(&event, payload.as_deref(), json)?;
    }
    or_unknown(&unknown)
}

async fn retry_all(
    store: &Store,
    config: &Config,
    ids: &[String],
    all: bool,
    json: bool,
) -> Result<(), Failure> {
    let mut printer = Printer::new(json);
    let (mut unknown, mut unsettled) = (Vec::new(), 0_u64);
    let mut again = async |event: StoredEvent| -> Result<bool, Failure> {
        // Where the user of a membership is missing, the service's next full pass brings it.
        let retried = retry(store, &event, config.instance_id.as_deref(), None).await;
        let retried = retried.with_context(|| format!("`{}` could not be applied", event.message_id))?;
        unsettled += u64::from(!retried.is_taken());
        printer.event(&after(event, &retried));
        // Whoever closed the pipe still wants the letters tried.
        Ok(true)
    };
    if all {
        let dead = EventFilter { outcome: Some("dead".to_owned()), ..EventFilter::default() };
        walk(store, &dead, again).await?;
    } else {
        for id in ids {
            match store.event(id).await.context("the journal cannot be read")? {
                Some(event) => _ = again(event).await?,
                None => unknown.push(id),
            }
        }
    }
    printer.finish();
    or_unknown(&unknown)?;
    if unsettled > 0 {
        return Err(Failure::Failed(anyhow::anyhow!(
            "{unsettled} of them still cannot be used; they stay dead letters"
        )));
    }
    Ok(())
}

/// The event with what became of it now.
fn after(event: StoredEvent, retried: &Retried) -> Shown {
    Shown { outcome: retried.as_str().to_owned(), error: retried.reason(), ..event }
}
