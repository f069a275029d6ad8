//! The place in a list as a text that callers hand back and never look into.
//!
//! Base64url over a version, the letter of the order, and the two parts of the sort key. A caller can write
//! whatever it likes there, so it is read strictly: just what [`encode`] writes is a cursor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::time::is_showable;
use crate::domain::{Cursor, Order, UserId};

/// Writes a cursor. The id comes first because it cannot hold the line feed that ends it.
pub(super) fn encode(cursor: &Cursor) -> String {
    URL_SAFE_NO_PAD.encode(match cursor {
        Cursor::Account { created_at_ms, user_id } => format!("1a{user_id}\n{created_at_ms}"),
        Cursor::Email { key, user_id } => format!("1e{user_id}\n{key}"),
    })
}

/// Reads a cursor of this order.
pub(super) fn decode(text: &str, order: Order) -> Option<Cursor> {
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let cursor = match order {
        Order::Account => {
            let (user_id, at_ms) = plain.strip_prefix("1a")?.split_once('\n')?;
            let created_at_ms = at_ms.parse().ok().filter(|at_ms| is_showable(*at_ms))?;
            Cursor::Account { created_at_ms, user_id: checked(user_id)? }
        }
        Order::Email => {
            let (user_id, key) = plain.strip_prefix("1e")?.split_once('\n')?;
            // An address, or none; and no database takes a text with NUL.
            let known = key == "1" || key.starts_with('0');
            let key = Some(key).filter(|key| known && !key.contains('\0'))?;
            Cursor::Email { key: key.to_owned(), user_id: checked(user_id)? }
        }
    };
    (encode(&cursor) == text).then_some(cursor)
}

fn checked(user_id: &str) -> Option<String> {
    UserId::parse(user_id).ok().map(|id| id.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(created_at_ms: i64, user_id: &str) -> Cursor {
        Cursor::Account { created_at_ms, user_id: user_id.to_owned() }
    }

    fn email(key: &str, user_id: &str) -> Cursor {
        Cursor::Email { key: key.to_owned(), user_id: user_id.to_owned() }
    }

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for cursor in
            [account(0, "user_a"), account(-5, "a b:c"), account(1_654_012_591_835, &"x".repeat(255))]
        {
            assert_eq!(decode(&encode(&cursor), Order::Account), Some(cursor));
        }
        for cursor in [email("1", "user_a"), email("0ada@example.com", "u"), email("0a\nß", "user a")] {
            assert_eq!(decode(&encode(&cursor), Order::Email), Some(cursor));
        }
    }

    #[test]
    fn a_cursor_of_the_other_list_is_none() {
        assert_eq!(decode(&encode(&account(0, "user_a")), Order::Email), None);
        assert_eq!(decode(&encode(&email("1", "user_a")), Order::Account), None);
    }

    #[test]
    fn nothing_else_is_a_cursor() {
        let forged = |plain: &str| URL_SAFE_NO_PAD.encode(plain);
        let accounts = [
            "1auser_a\n+5",
            "1auser_a\n05",
            "1auser_a\n",
            "1auser_a",
            "1a\n5",
            "2auser_a\n5",
            "1auser_a\n5 ",
            "1ausér\n5",
            "1auser_a\n-99999999999999",
            "1auser_a\n9223372036854775808",
            "1auser_a\n-0",
            "",
        ];
        for plain in accounts {
            assert_eq!(decode(&forged(plain), Order::Account), None, "{plain:?}");
        }
        for plain in ["1euser_a\n", "1euser_a\n2", "1euser_a\n1x", "1euser_a\n0a\0", "1e\n1", "1e"] {
            assert_eq!(decode(&forged(plain), Order::Email), None, "{plain:?}");
        }
        let good = encode(&account(5, "user_a"));
        for text in
            [format!("{good}="), format!("{good}A"), format!(" {good}"), "!".to_owned(), "é".to_owned()]
        {
            assert_eq!(decode(&text, Order::Account), None, "{text:?}");
        }
    }
}
