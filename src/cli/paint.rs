//! Colour for eyes: on a terminal only, and not where `NO_COLOR` is set (<https://no-color.org>: and not empty).

use std::io::IsTerminal as _;

/// How a word is set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Bold,
    Green,
    Yellow,
    Red,
}

/// A text for standard output.
pub(super) fn paint(paint: Paint, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Bold => "1",
        Paint::Green => "32",
        Paint::Yellow => "33",
        Paint::Red => "31",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
