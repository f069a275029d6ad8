//! The form of a cron expression: five fields, or six with seconds first.

/// Field by field: least, greatest, and names that stand for numbers.
type Field = (u32, u32, &'static [&'static str]);

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const SECONDS: Field = (0, 59, &[]);
const FIVE: [Field; 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, MONTHS), (0, 7, DAYS)];

/// Whether a text is a list of fields, each of `*`, numbers, names, ranges, lists and steps.
pub(super) fn is_valid(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let forms: Vec<Field> = match fields.len() {
        5 => FIVE.to_vec(),
        6 => std::iter::once(SECONDS).chain(FIVE).collect(),
        _ => return false,
    };
    fields.iter().zip(&forms).all(|(field, form)| field.split(',').all(|part| is_part(part, form)))
}

fn is_part(part: &str, form: &Field) -> bool {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let step_fits = step.is_none_or(|step| digits(step).is_some_and(|step| (1..=form.1).contains(&step)));
    step_fits
        && match range.split_once('-') {
            _ if range == "*" => true,
            Some((first, last)) => {
                // As the end of a week Sunday is the seventh day.
                let is_end_of_week = form.2 == DAYS && last.eq_ignore_ascii_case("sun");
                let last = if is_end_of_week { "7" } else { last };
                matches!((number(first, form), number(last, form)), (Some(first), Some(last)) if first <= last)
            }
            None => number(range, form).is_some(),
        }
}

fn number(text: &str, (least, greatest, names): &Field) -> Option<u32> {
    let place = names.iter().position(|name| name.eq_ignore_ascii_case(text));
    let number = match place {
        Some(index) => u32::try_from(index).ok()? + least,
        None => digits(text)?,
    };
    (*least..=*greatest).contains(&number).then_some(number)
}

/// A number with no sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn five_or_six_fields_in_range() {
        for good in [
            "*/15 * * * *",
            "0 3 * * *",
            "30 0 3 * * *",
            "0 0 1,15 jan-MAR mon-fri",
            "5-50/5 * * * 7",
            "0 3 * * mon-sun",
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "* * * * * * *",
            "60 * * * *",
            "*/0 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "@daily",
            "every day at 3 o",
            "9-3 * * * *",
            "* * * 13 *",
            "1,,2 * * * *",
            "- * * * *",
            "+5 * * * *",
            "*/+5 * * * *",
            "0 5-sun * * *",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
