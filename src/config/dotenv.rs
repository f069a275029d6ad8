//! Reads `.env` as Node's `dotenv` does, because the file is often that of an app in JavaScript.
//!
//! Such files hold lines that shells and stricter readers refuse: values with spaces and no quotes, names with hyphens,
//! quotes of three kinds, values over several lines. `$NAME` is no reference, so a password may have a dollar sign. What
//! is no entry is passed over.
//!
//! Source: <https://github.com/motdotla/dotenv#what-rules-does-the-parsing-engine-follow>.

/// The entries in their order; of a name that comes twice the last one counts.
pub(super) fn entries(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut entries = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        let mut after = line_of(rest).len();
        if let Some((name, value)) = name_and_rest(rest) {
            let value = match quoted(value) {
                Some((inside, length)) => {
                    after = rest.len() - value.len() + length;
                    inside
                }
                None => bare(line_of(value)),
            };
            entries.push((name.to_owned(), value));
        }
        rest = rest.get(after..).unwrap_or_default().trim_start_matches('\n');
    }
    entries
}

fn line_of(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

/// The name that a line begins with, and all that follows its sign.
fn name_and_rest(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(BLANK);
    let text = match text.strip_prefix("export") {
        Some(exported) if exported.starts_with(BLANK) => exported.trim_start_matches(BLANK),
        _ => text,
    };
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let end = text.find(|c| !is_of_a_name(c)).filter(|end| *end > 0)?;
    let (name, rest) = text.split_at(end);
    match rest.trim_start_matches(BLANK).strip_prefix('=') {
        Some(value) => Some((name, value.trim_start_matches(BLANK))),
        None => Some((
            name,
            rest.strip_prefix(':').filter(|value| value.starts_with(BLANK))?.trim_start_matches(BLANK),
        )),
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// A value in quotes, and how long it is with all that follows on its last line. `None` when it is not in quotes, or
/// more than a comment follows.
fn quoted(text: &str) -> Option<(String, usize)> {
    let quote = text.chars().next().filter(|quote| "'\"`".contains(*quote))?;
    let inside = text.get(1..)?;
    let is_escaped = |end: usize| inside.get(..end).unwrap_or_default().ends_with('\\');
    let mut ends = Vec::new();
    for (end, _) in inside.match_indices(quote) {
        ends.push(end);
        if !is_escaped(end) {
            break;
        }
    }
    // When the first that is not escaped does not end it, a backslash before another may be the value's own.
    ends.into_iter().rev().find_map(|end| {
        let behind = line_of(inside.get(end + 1..)?);
        let blank = behind.trim_start_matches(BLANK);
        let is_end = blank.is_empty() || blank.starts_with('#');
        is_end.then(|| (unquoted(quote, inside.get(..end).unwrap_or_default()), end + 2 + behind.len()))
    })
}

fn unquoted(quote: char, value: &str) -> String {
    if quote == '"' { value.replace("\\n", "\n").replace("\\r", "\r") } else { value.to_owned() }
}

/// A value that is not in quotes alone ends with its line, or where a comment begins.
fn bare(line: &str) -> String {
    let value = line.split('#').next().unwrap_or_default().trim();
    let quote = value.chars().next().filter(|quote| "'\"`".contains(*quote));
    let within = quote.and_then(|quote| Some((quote, value.strip_prefix(quote)?.strip_suffix(quote)?)));
    within.map_or_else(|| value.to_owned(), |(quote, inside)| unquoted(quote, inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apps_file_is_read_as_the_app_reads_it() {
        let text = "\u{feff}# A comment\r\nPLAIN=value\r\nSPACED = a value with spaces  # and a comment\nexport EXPORTED=yes\n\
                    EMPTY=\n\nYAML: like this\nFOO-BAR.baz=1\nSINGLE='a # b' # c\nDOUBLE=\"two\\nlines\" \nBACK=`it's \"it\"`\n\
                    DOLLAR=ab$cd${ef}\nBARE\nURL=postgres://u:p$x@h/db?a=b\nPATH_=C:\\dir\nOPEN='no end\nMIXED=\"a\" b\n\
                    KEY=\"-----BEGIN-----\nMII=\n-----END-----\" # done\nESCAPED='it\\'s'\nDIR='C:\\dir\\'\nPAIR=\"x\" \"y\"\nTWICE=1\nTWICE=2\n =none\nLAST=end ";
        let read: Vec<_> = entries(text).iter().map(|(name, value)| format!("{name}|{value}")).collect();
        insta::assert_snapshot!(read.join("\n"), @r#"
        PLAIN|value
        SPACED|a value with spaces
        EXPORTED|yes
        EMPTY|
        YAML|like this
        FOO-BAR.baz|1
        SINGLE|a # b
        DOUBLE|two
        lines
        BACK|it's "it"
        DOLLAR|ab$cd${ef}
        URL|postgres://u:p$x@h/db?a=b
        PATH_|C:\dir
        OPEN|'no end
        MIXED|"a" b
        KEY|-----BEGIN-----
        MII=
        -----END-----
        ESCAPED|it\'s
        DIR|C:\dir\
        PAIR|x" "y
        TWICE|1
        TWICE|2
        LAST|end
        "#);
    }
}
