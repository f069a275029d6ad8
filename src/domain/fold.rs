//! Text without case, done once here so that both databases and every filter agree.

/// Folds case character by character, so that the result does not depend on the neighbours: `ß`
/// becomes `ss` and both small sigmas one. Small letters come first because `ẞ` is a capital already.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let upper = text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).collect()
}

/// The words of a text: runs of letters and digits, folded.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(fold)
}

/// The key by which e-mail addresses are ordered. It is never empty, and no address comes last.
pub fn email_key(email: Option<&str>) -> String {
    email.map_or_else(|| "1".to_owned(), |email| format!("0{}", fold(email)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_knows_more_than_ascii() {
        assert_eq!(fold("STRASSE"), fold("straße"));
        assert_eq!(fold("STRAẞE"), fold("straße"));
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_eq!(fold("Ångström"), "ångström");
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(
            words("Ada-Lovelace 2nd, О'Нил").collect::<Vec<_>>(),
            ["ada", "lovelace", "2nd", "о", "нил"]
        );
        assert_eq!(words("--- ").count(), 0);
    }

    #[test]
    fn no_address_comes_last() {
        assert!(email_key(Some("\u{10ffff}")) < email_key(None));
        assert_eq!(email_key(Some("Ada@X.io")), email_key(Some("ada@x.io")));
    }
}
