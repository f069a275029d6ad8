//! The tables as bars: one group for each, its longest bar the best of it.

use std::fmt::Write as _;

use super::report::{Section, number};

const WIDTH: usize = 860;
const NAMES: usize = 250;
const BARS: f64 = 480.0;
const LINE: usize = 22;

/// An SVG of every section with lines.
pub(crate) fn svg(sections: &[Section], machine: &str) -> String {
    let mut body = String::new();
    let mut y = 30;
    text(&mut body, 12, y, "bold", "Roster and what it is measured beside (medians)");
    for part in machine.split("; ") {
        y += LINE;
        text(&mut body, 12, y, "normal", part);
    }
    for section in sections.iter().filter(|section| !section.lines.is_empty()) {
        y += 2 * LINE;
        text(&mut body, 12, y, "bold", &format!("{}: {}/s", section.title, section.what));
        let rate = |line: &super::measure::Line| line.figures.per_second;
        let most = section.lines.iter().map(rate).fold(f64::MIN, f64::max);
        for line in &section.lines {
            y += LINE;
            let length = (rate(line) / most * BARS).max(1.0);
            text(&mut body, 24, y, "normal", &line.name);
            let colour = if is_other(&line.name) { "#9aa5b1" } else { "#2f6f4f" };
            writeln!(
                body,
                r#"<rect x="{NAMES}" y="{}" width="{length:.0}" height="14" fill="{colour}"/>"#,
                y - 12
            )
            .unwrap();
            text(&mut body, NAMES + length as usize + 6, y, "normal", &number(rate(line)));
        }
    }
    let height = y + LINE;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
{body}</svg>
"##
    )
}

fn is_other(name: &str) -> bool {
    name.starts_with("nginx") || name.starts_with("Node")
}

fn text(body: &mut String, x: usize, y: usize, weight: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(body, r##"<text x="{x}" y="{y}" font-weight="{weight}" fill="#1f2933">{text}</text>"##).unwrap();
}
