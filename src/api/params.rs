//! The query parameters of the two lists, read strictly.
//!
//! A parameter that is silently not understood would answer another question than was asked, so what is
//! wrong is refused by name. Names that we do not know are left alone.

use axum::http::HeaderValue;
use form_urlencoded::Serializer;
use percent_encoding::percent_decode_str;

use super::cursor;
use super::problem::{Code, Problem};
use crate::domain::{Cursor, Filter, Order, Role, Shown, UserId};

pub(super) const MAX_LIMIT: u16 = 500;
const DEFAULT_LIMIT: u16 = 100;
pub(super) const MAX_IDS: usize = 100;
pub(super) const MAX_QUERY_CHARS: usize = 100;
const METADATA: &str = "metadata.";
const ACTIVITY_STATUS: &str = "activityStatus";
const MEMBERSHIP: &str = "membership";

/// The two lists of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum List {
    /// For any member.
    Users,
    /// For admins.
    Admin,
}

impl List {
    /// Where it is served.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Users => "/api/v1/entities/users",
            Self::Admin => "/api/admin/getUsersInOrg",
        }
    }

    /// How it is ordered.
    pub(super) fn order(self) -> Order {
        match self {
            Self::Users => Order::Account,
            Self::Admin => Order::Email,
        }
    }
}

/// What is asked of a list.
#[derive(Debug, Default)]
pub(super) struct Params {
    /// At most so many; `None` for the whole list.
    pub(super) limit: Option<u16>,
    /// Begin after this place.
    pub(super) after: Option<Cursor>,
    /// Only these users.
    pub(super) ids: Option<Vec<UserId>>,
    /// Which rows, invitations among them; `None` for members as they always were.
    pub(super) shown: Option<Shown>,
    /// Whether each object tells of the membership.
    pub(super) with_membership: bool,
    query: Option<String>,
    role: Option<Role>,
    metadata: Vec<(String, String)>,
}

/// The values as they were sent, each at most once.
#[derive(Default)]
struct Sent {
    limit: Option<String>,
    cursor: Option<String>,
    ids: Option<String>,
    query: Option<String>,
    role: Option<String>,
    activity_status: Option<String>,
    include: Option<String>,
    metadata: Vec<(String, String)>,
}

impl Params {
    /// Reads the part of a URL after `?`.
    pub(super) fn parse(raw: &str, list: List) -> Result<Self, Problem> {
        let sent = Sent::collect(raw, list)?;
        let after = sent.cursor.map(|text| parse_cursor(&text, list)).transpose()?;
        let limit = sent.limit.map(|text| parse_limit(&text)).transpose()?;
        Ok(Self {
            limit: limit.or(after.is_some().then_some(DEFAULT_LIMIT)),
            after,
            ids: sent.ids.map(|text| parse_ids(&text)).transpose()?,
            shown: sent.activity_status.map(|text| parse_shown(&text)).transpose()?,
            with_membership: sent.include.map(|text| parse_include(&text)).transpose()?.is_some(),
            query: sent.query.map(parse_query).transpose()?,
            role: sent.role.map(|text| parse_role(&text)).transpose()?,
            metadata: sent.metadata,
        })
    }

    /// Whether the answer is the whole list, as without any parameter.
    pub(super) fn asks_for_nothing_else(&self) -> bool {
        let is_part = self.limit.is_some() || self.after.is_some() || self.ids.is_some();
        let has_more = self.shown.is_some() || self.with_membership;
        !is_part && !has_more && self.filter().is_empty()
    }

    /// What must hold of a member.
    pub(super) fn filter(&self) -> Filter {
        let mut filter = Filter::default();
        if let Some(query) = &self.query {
            filter = filter.with_text(query);
        }
        if let Some(role) = &self.role {
            filter = filter.with_role(role.clone());
        }
        for (field, value) in &self.metadata {
            filter = filter.with_metadata(field.clone(), value.clone());
        }
        filter
    }

    /// The `Link` to the page that begins after `next`: the same question, further on.
    pub(super) fn link(&self, list: List, next: &Cursor) -> Option<HeaderValue> {
        let mut query = Serializer::new(String::new());
        if let Some(ids) = &self.ids {
            let ids: Vec<_> = ids.iter().map(UserId::as_str).collect();
            query.append_pair("ids", &ids.join(","));
        }
        if let Some(text) = &self.query {
            query.append_pair("query", text);
        }
        if let Some(role) = &self.role {
            query.append_pair("role", role.as_str());
        }
        for (field, value) in &self.metadata {
            query.append_pair(&format!("{METADATA}{field}"), value);
        }
        if let Some(shown) = self.shown {
            query.append_pair(ACTIVITY_STATUS, shown.as_str());
        }
        if self.with_membership {
            query.append_pair("include", MEMBERSHIP);
        }
        query.append_pair("limit", &self.limit.unwrap_or(DEFAULT_LIMIT).to_string());
        query.append_pair("cursor", &cursor::encode(next));
        HeaderValue::try_from(format!("<{}?{}>; rel=\"next\"", list.path(), query.finish())).ok()
    }
}

impl Sent {
    fn collect(raw: &str, list: List) -> Result<Self, Problem> {
        let mut sent = Self::default();
        for pair in raw.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let admin = list == List::Admin;
            let Some(name) = decode(name) else {
                if admin && name.starts_with(METADATA) {
                    return Err(refused("metadata.*", "is not UTF-8"));
                }
                continue;
            };
            let (name, slot) = match name.as_str() {
                "limit" => ("limit", &mut sent.limit),
                "cursor" => ("cursor", &mut sent.cursor),
                "ids" => ("ids", &mut sent.ids),
                "query" => ("query", &mut sent.query),
                "role" if admin => ("role", &mut sent.role),
                ACTIVITY_STATUS if admin => (ACTIVITY_STATUS, &mut sent.activity_status),
                "include" if admin => ("include", &mut sent.include),
                name if admin && let Some(field) = name.strip_prefix(METADATA) => {
                    sent.metadata.push(parse_metadata(field, value)?);
                    continue;
                }
                _ => continue,
            };
            let value = decode(value).ok_or_else(|| refused(name, "is not UTF-8"))?;
            if slot.replace(value).is_some() {
                return Err(refused(name, "is given more than once"));
            }
        }
        Ok(sent)
    }
}

/// Undoes the form encoding; `None` when the result is no text.
fn decode(encoded: &str) -> Option<String> {
    let spaced = encoded.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn refused(name: &str, why: &str) -> Problem {
    Problem::new(Code::ValidationError, format!("The parameter `{name}` {why}."))
}

fn parse_limit(text: &str) -> Result<u16, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|limit| digits && (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| refused("limit", "must be a number from 1 to 500"))
}

fn parse_cursor(text: &str, list: List) -> Result<Cursor, Problem> {
    cursor::decode(text, list.order())
        .ok_or_else(|| refused("cursor", "must be taken from the `Link` header of the same list"))
}

/// What cannot be an id is just unknown, like an id that nobody has.
fn parse_ids(text: &str) -> Result<Vec<UserId>, Problem> {
    let mut ids = Vec::new();
    for (count, segment) in text.split(',').enumerate() {
        if segment.is_empty() {
            return Err(refused("ids", "must hold ids separated by single commas"));
        }
        if count >= MAX_IDS {
            return Err(refused("ids", "must hold at most 100 ids"));
        }
        if let Ok(id) = UserId::parse(segment)
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn parse_query(text: String) -> Result<String, Problem> {
    if text.chars().count() > MAX_QUERY_CHARS {
        return Err(refused("query", "must be at most 100 characters long"));
    }
    Ok(text)
}

fn parse_role(text: &str) -> Result<Role, Problem> {
    if text.is_empty() { Err(refused("role", "must not be empty")) } else { Ok(Role::new(text)) }
}

fn parse_shown(text: &str) -> Result<Shown, Problem> {
    Shown::parse(text)
        .ok_or_else(|| refused(ACTIVITY_STATUS, "must be `active`, `pending`, `inactive` or `all`"))
}

fn parse_include(text: &str) -> Result<(), Problem> {
    if text == MEMBERSHIP { Ok(()) } else { Err(refused("include", "must be `membership`")) }
}

fn parse_metadata(field: &str, value: &str) -> Result<(String, String), Problem> {
    if field.is_empty() {
        return Err(refused(METADATA, "must go on with the name of a field"));
    }
    // The field's name is the caller's own text and stays out of our log.
    let value = decode(value).ok_or_else(|| refused("metadata.*", "is not UTF-8"))?;
    Ok((field.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(raw: &str, list: List) -> String {
        let problem = Params::parse(raw, list).err().unwrap_or_else(|| panic!("{raw} was taken"));
        assert_eq!(problem.code, Code::ValidationError);
        problem.detail
    }

    fn taken(raw: &str, list: List) -> Params {
        Params::parse(raw, list).unwrap_or_else(|problem| panic!("{raw}: {}", problem.detail))
    }

    fn ids(raw: &str) -> Vec<String> {
        let ids = taken(raw, List::Users).ids.unwrap();
        ids.iter().map(|id| id.as_str().to_owned()).collect()
    }

    #[test]
    fn nothing_asked_is_the_whole_list() {
        for raw in [
            "",
            "&",
            "x=1&x=2",
            "Limit=0",
            "limi%74s=0",
            "%FF=1",
            "role=&metadata.=&role=x&activityStatus=&include=",
        ] {
            let params = taken(raw, List::Users);
            assert!(params.limit.is_none() && params.after.is_none() && params.ids.is_none(), "{raw}");
            assert!(params.filter().is_empty(), "{raw}");
        }
    }

    #[test]
    fn a_limit_is_a_number_from_1_to_500() {
        assert_eq!(taken("limit=1", List::Users).limit, Some(1));
        assert_eq!(taken("l%69mit=%35%300", List::Admin).limit, Some(500));
        for raw in
            ["limit", "limit=", "limit=0", "limit=501", "limit=-1", "limit=%2B1", "limit=+1", "limit=1.0"]
        {
            assert!(refusal(raw, List::Users).contains("`limit`"), "{raw}");
        }
        for raw in ["limit=99999", "limit=1e2", "limit=%D9%A1", "limit=1&limit=1", "limit=%FF"] {
            assert!(refusal(raw, List::Admin).contains("`limit`"), "{raw}");
        }
    }

    #[test]
    fn a_cursor_belongs_to_its_list() {
        let of =
            |list: List, cursor: &Cursor| Params::parse(&format!("cursor={}", cursor::encode(cursor)), list);
        let account = Cursor::Account { created_at_ms: 5, user_id: "user_a".to_owned() };
        let email = Cursor::Email { key: "0a@b".to_owned(), user_id: "user_a".to_owned() };
        let params = of(List::Users, &account).unwrap();
        assert_eq!((params.limit, params.after.as_ref()), (Some(100), Some(&account)));
        assert_eq!(of(List::Admin, &email).unwrap().after, Some(email.clone()));
        assert!(of(List::Admin, &account).is_err() && of(List::Users, &email).is_err());
        assert!(refusal("cursor=", List::Users).contains("`cursor`"));
    }

    #[test]
    fn ids_are_at_most_a_hundred_each_once() {
        assert_eq!(ids("ids=user_b,user_a,user_b"), ["user_b", "user_a"]);
        assert_eq!(ids("ids=us%C3%A9r,user_a%2Cuser_b"), ["user_a", "user_b"]);
        assert!(ids("ids=%C3%A9").is_empty());
        let many = |count| format!("ids={}", vec!["user_x"; count].join(","));
        assert_eq!(ids(&many(100)).len(), 1);
        for raw in ["ids=", "ids=,", "ids=a,", "ids=,a", "ids=a,,b", "ids=a&ids=b", &many(101)] {
            assert!(refusal(raw, List::Users).contains("`ids`"), "{raw}");
        }
    }

    #[test]
    fn a_query_has_at_most_a_hundred_characters() {
        let text = "%C3%A9".repeat(100);
        assert!(!taken(&format!("query={text}"), List::Users).filter().is_empty());
        assert!(taken("query=", List::Users).filter().is_empty());
        for raw in [format!("query={text}x"), "query=a&query=a".to_owned(), "query=%C3".to_owned()] {
            assert!(refusal(&raw, List::Users).contains("`query`"), "{raw}");
        }
    }

    #[test]
    fn what_is_not_known_asks_for_nothing() {
        for raw in ["", "_=17", "query=", "role=org:admin&include=membership"] {
            assert!(taken(raw, List::Users).asks_for_nothing_else(), "{raw}");
        }
        for raw in
            ["limit=5", "ids=user_1", "query=a", "role=org:admin", "include=membership", "metadata.a=1"]
        {
            assert!(!taken(raw, List::Admin).asks_for_nothing_else(), "{raw}");
        }
    }

    #[test]
    fn admins_filter_by_role_and_metadata() {
        let params = taken("metadata.a.b=1&role=admin&metadata.t=&metadata.t=x+y", List::Admin);
        assert_eq!(params.role, Some(Role::new("org:admin")));
        let pair = |field: &str, value: &str| (field.to_owned(), value.to_owned());
        assert_eq!(params.metadata, [pair("a.b", "1"), pair("t", ""), pair("t", "x y")]);
        assert!(taken("metadata=x&metadata.x", List::Admin).metadata == [pair("x", "")]);
        for (raw, name) in [
            ("role=", "`role`"),
            ("role=a&role=a", "`role`"),
            ("metadata.=x", "`metadata.`"),
            ("metadata.x=%FF", "`metadata.*`"),
            ("metadata.%FF=x", "`metadata.*`"),
        ] {
            assert!(refusal(raw, List::Admin).contains(name), "{raw}");
        }
    }

    #[test]
    fn admins_ask_for_invitations_and_memberships() {
        for (raw, shown) in [("", None), ("activityStatus=all", Some(Shown::All))] {
            let params = taken(raw, List::Admin);
            assert_eq!((params.shown, params.with_membership), (shown, false));
        }
        for word in ["active", "pending", "inactive", "all"] {
            let params = taken(&format!("include=membership&activityStatus={word}"), List::Admin);
            assert_eq!(params.shown.map(Shown::as_str), Some(word));
            assert!(params.with_membership);
        }
        for raw in ["=", "=All", "=accepted", "=all,pending", "=all&activityStatus=all", "=%FF"] {
            assert!(
                refusal(&format!("activityStatus{raw}"), List::Admin).contains("`activityStatus`"),
                "{raw}"
            );
        }
        for raw in ["", "=", "=user", "=membership,membership", "=membership&include=membership"] {
            assert!(refusal(&format!("include{raw}"), List::Admin).contains("`include`"), "{raw}");
        }
    }

    #[test]
    fn the_next_page_asks_the_same_question() {
        let raw = "x=1&include=membership&role=admin&activityStatus=all&query=ada+l%26&metadata.a%3Eb=%22%0A&ids=user_b,%C3%A9,user_a&limit=7";
        let next = Cursor::Email { key: "0a@b".to_owned(), user_id: "user_a".to_owned() };
        let link = taken(raw, List::Admin).link(List::Admin, &next).unwrap();
        let link = link.to_str().unwrap();
        insta::assert_snapshot!(link, @r#"</api/admin/getUsersInOrg?ids=user_b%2Cuser_a&query=ada+l%26&role=org%3Aadmin&metadata.a%3Eb=%22%0A&activityStatus=all&include=membership&limit=7&cursor=MWV1c2VyX2EKMGFAYg>; rel="next""#);
        let followed = link.split_once('?').unwrap().1.split_once('>').unwrap().0;
        let again = taken(followed, List::Admin);
        assert_eq!(again.after, Some(next.clone()));
        assert_eq!(again.link(List::Admin, &next).unwrap(), link);
    }
}
