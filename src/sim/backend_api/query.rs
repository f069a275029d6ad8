//! Reads the parameters of a list, as strictly as Clerk does, or more so: a parameter that the simulation does
//! not know is refused, because passing it over would give a test the wrong answer.

use std::collections::BTreeSet;

use super::answer::Answer;
use super::controls::Asked;
use super::{DEFAULT_PAGE, MAX_PAGE};

const MAX_IDS: usize = 100;

/// Which part of a list.
#[derive(Debug, Clone)]
pub(super) struct Paging {
    pub(super) limit: usize,
    pub(super) offset: usize,
    pub(super) order: Order,
    pub(super) starting_after: Option<String>,
}

/// By which field, and from which end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Order {
    pub(super) field: &'static str,
    pub(super) is_descending: bool,
}

/// Which ids, by `+` and `-`.
#[derive(Debug, Default)]
pub(super) struct Ids {
    with: BTreeSet<String>,
    without: BTreeSet<String>,
}

impl Ids {
    pub(super) fn read(asked: &Asked, name: &str) -> Result<Self, Answer> {
        let mut ids = Self::default();
        for value in asked.all(name) {
            match value.strip_prefix('-') {
                Some(id) => ids.without.insert(id.to_owned()),
                None => ids.with.insert(value.strip_prefix('+').unwrap_or(value).to_owned()),
            };
        }
        if asked.all(name).count() > MAX_IDS {
            return Err(Answer::invalid(&format!("{name} takes at most {MAX_IDS} values")));
        }
        Ok(ids)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.with.is_empty() && self.without.is_empty()
    }

    pub(super) fn take(&self, id: &str) -> bool {
        (self.with.is_empty() || self.with.contains(id)) && !self.without.contains(id)
    }
}

/// Refuses what is not simulated.
pub(super) fn only(asked: &Asked, known: &[&str]) -> Result<(), Answer> {
    let unknown = asked.query.iter().find(|(name, _)| !known.contains(&name.as_str()));
    match unknown {
        Some((name, _)) if name != "__clerk_api_version" => {
            Err(Answer::invalid(&format!("the simulation does not know the parameter {name}")))
        }
        _ => Ok(()),
    }
}

impl Paging {
    pub(super) fn read(asked: &Asked, fields: &[&'static str]) -> Result<Self, Answer> {
        let number = |name: &str| {
            let number = asked.first(name).map(str::parse::<usize>).transpose();
            number.map_err(|_| Answer::invalid(&format!("{name} must be a whole number, not negative")))
        };
        let limit = match number("limit")? {
            Some(0) => return Err(Answer::invalid("limit must be at least 1")),
            Some(limit) if limit <= MAX_PAGE => limit,
            // Seen at the real one: above the maximum it is as if nothing had been asked for.
            _ => DEFAULT_PAGE,
        };
        let offset = number("offset")?.unwrap_or(0);
        let order = Order::read(asked.first("order_by").unwrap_or("-created_at"), fields)?;
        let starting_after = asked.first("starting_after").map(str::to_owned);
        if starting_after.is_some() && (order.field != "created_at" || offset != 0) {
            return Err(Answer::invalid("starting_after needs the order created_at and no offset"));
        }
        Ok(Self { limit, offset, order, starting_after })
    }
}

impl Order {
    fn read(text: &str, fields: &[&'static str]) -> Result<Self, Answer> {
        let (is_descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let field = fields.iter().copied().find(|field| *field == name);
        let field = field.ok_or_else(|| Answer::invalid(&format!("order_by cannot be {text:?}")))?;
        Ok(Self { field, is_descending })
    }
}
