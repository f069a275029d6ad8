//! Events on standard output: a table for eyes, one JSON object a line for programs.

use std::io::Write as _;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::value::RawValue;

use crate::cli::Failure;
use crate::cli::paint::{Paint, paint};
use crate::domain::time::iso8601;
use crate::store::StoredEvent;

/// An event as it is shown: after a retry, with what became of it now.
pub(super) type Shown = StoredEvent;

/// Prints objects as they come, or gathers the rows of a table.
pub(super) struct Printer {
    table: Option<Table>,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        Self { table: (!json).then(Table::new) }
    }

    /// Takes an event; false when nobody reads any more.
    pub(super) fn event(&mut self, event: &Shown) -> bool {
        let Some(table) = &mut self.table else {
            let line = serde_json::to_string(event).unwrap_or_default();
            return writeln!(std::io::stdout(), "{line}").is_ok();
        };
        table.add_row([
            iso8601(event.received_at_ms),
            event.outcome.clone(),
            event.event_type.clone(),
            event.subject().unwrap_or("-").to_owned(),
            event.message_id.clone(),
            event.error.clone().unwrap_or_default(),
        ]);
        true
    }

    pub(super) fn finish(self) {
        let Some(mut table) = self.table else { return };
        if table.row_count() == 0 {
            eprintln!("No such events.");
            return;
        }
        table.load_style(NOTHING);
        table.set_header(["received", "outcome", "type", "subject", "id", "error"]);
        let text = table.to_string();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            let line = match number {
                0 => paint(Paint::Bold, line),
                _ if line.split_whitespace().nth(1) == Some("dead") => paint(Paint::Red, line),
                _ => line.to_owned(),
            };
            if writeln!(std::io::stdout(), "{line}").is_err() {
                return;
            }
        }
    }
}

/// Everything that the journal keeps of one event.
pub(super) fn whole(event: &StoredEvent, payload: Option<&str>, json: bool) -> Result<(), Failure> {
    let text = if json {
        #[derive(serde::Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            event: &'a StoredEvent,
            payload: Option<serde_json::Value>,
        }
        let payload = payload.and_then(|text| serde_json::from_str(text).ok());
        serde_json::to_string(&Whole { event, payload }).map_err(anyhow::Error::from)?
    } else {
        let time = |at_ms: Option<i64>| at_ms.map_or_else(|| "-".to_owned(), iso8601);
        let mut lines = vec![
            format!("{}  {} {}", paint(Paint::Bold, &event.message_id), event.event_type, event.outcome),
            format!("  object    {}", event.object_id.as_deref().unwrap_or("-")),
            format!("  user      {}", event.user_id.as_deref().unwrap_or("-")),
            format!("  occurred  {}", time(event.occurred_at_ms)),
            format!("  received  {}", iso8601(event.received_at_ms)),
        ];
        lines.extend(event.error.as_ref().map(|error| format!("  error     {error}")));
        match payload.and_then(|text| serde_json::from_str::<Box<RawValue>>(text).ok()) {
            Some(payload) => lines.push(format!("  payload   {payload}")),
            None => lines.push("  payload   not kept, or erased".to_owned()),
        }
        lines.join("\n")
    };
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}
