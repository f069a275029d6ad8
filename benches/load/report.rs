//! What was measured, as tables: on the terminal at once, and of a full run in `benches/results/`.

use std::fmt::Write as _;

use super::measure::Line;

/// What a ratio should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// A comparison, and what it should come to.
#[derive(Debug, Clone)]
pub(crate) struct Ratio {
    pub(crate) of: String,
    pub(crate) value: f64,
    pub(crate) target: Option<Target>,
}

impl Ratio {
    pub(crate) fn new(of: &str, value: f64, target: Target) -> Self {
        Self { of: of.to_owned(), value, target: Some(target) }
    }

    /// A figure that is only told.
    pub(crate) fn told(of: &str, value: f64) -> Self {
        Self { of: of.to_owned(), value, target: None }
    }

    fn cells(&self) -> String {
        let value = number(self.value);
        let of = &self.of;
        match self.target {
            Some(Target::AtLeast(least)) => {
                format!("| {of} | {value} | at least {} | {} |", number(least), word(self.value >= least))
            }
            Some(Target::AtMost(most)) => {
                format!("| {of} | {value} | at most {} | {} |", number(most), word(self.value <= most))
            }
            None => format!("| {of} | {value} | | |"),
        }
    }
}

fn word(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

/// One table.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// The row's name on the command line.
    pub(crate) row: &'static str,
    pub(crate) title: String,
    /// What is counted: `requests`, `webhooks`.
    pub(crate) what: &'static str,
    pub(crate) lines: Vec<Line>,
    pub(crate) ratios: Vec<Ratio>,
}

impl Section {
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {} (`{}`)\n\n", self.title, self.row);
        if !self.lines.is_empty() {
            let what = self.what;
            let one = what.trim_end_matches('s');
            writeln!(text, "| | {what}/s | CPU µs/{one} | p50 ms | p99 ms | load µs/{one} |").unwrap();
            writeln!(text, "| --- | --: | --: | --: | --: | --: |").unwrap();
        }
        for Line { name, figures } in &self.lines {
            writeln!(
                text,
                "| {name} | {} | {} | {:.2} | {:.2} | {} |",
                number(figures.per_second),
                number(figures.cpu_us),
                figures.p50_us / 1e3,
                figures.p99_us / 1e3,
                number(figures.load_us)
            )
            .unwrap();
        }
        if !self.ratios.is_empty() {
            let gap = if self.lines.is_empty() { "" } else { "\n" };
            writeln!(text, "{gap}| | measured | target | |\n| --- | --: | --- | --- |").unwrap();
        }
        for ratio in &self.ratios {
            writeln!(text, "{}", ratio.cells()).unwrap();
        }
        text
    }
}

/// Three digits that count, and spaces between thousands.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{value:.digits$}");
    let whole = plain.find('.').unwrap_or(plain.len());
    let mut text = String::new();
    for (at, letter) in plain.char_indices() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(letter);
    }
    text
}
