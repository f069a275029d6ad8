//! The objects that are asked for, from the instance as it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::controls::{Asked, Controls, LostCursor};
use super::query::{Ids, Order, Paging, only};
use crate::sim::Instance;
use crate::sim::instance::{organization_of, user_of};
use crate::sim::shapes::{self, Object, moment, text};

const PAGING: [&str; 3] = ["limit", "offset", "order_by"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum List {
    Users,
    Organizations,
    Memberships,
    Invitations,
}

impl List {
    fn of(self, instance: &Instance) -> &BTreeMap<String, Object> {
        match self {
            Self::Users => &instance.users,
            Self::Organizations => &instance.organizations,
            Self::Memberships => &instance.memberships,
            Self::Invitations => &instance.invitations,
        }
    }

    /// What it can be ordered by, as far as it is simulated.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Users => &[
                "created_at",
                "updated_at",
                "first_name",
                "last_name",
                "username",
                "last_active_at",
                "last_sign_in_at",
            ],
            Self::Organizations => &["name", "created_at"],
            Self::Memberships => &["created_at"],
            Self::Invitations => &["created_at", "email_address"],
        }
    }
}

/// The lists in the orders that were asked for, until the instance changes: sorting a large one for each of
/// its pages would take longer than everything else.
#[derive(Debug, Default)]
pub(super) struct Orders {
    revision: u64,
    ids: HashMap<(List, Order), Arc<[String]>>,
}

impl Orders {
    fn ids(&mut self, instance: &Instance, list: List, order: &Order) -> Arc<[String]> {
        if self.revision != instance.revision {
            self.ids.clear();
            self.revision = instance.revision;
        }
        let sort = || {
            let objects = list.of(instance);
            let mut ids: Vec<_> = objects.iter().map(|(id, object)| key(object, order.field, id)).collect();
            ids.sort_unstable();
            if order.is_descending {
                ids.reverse();
            }
            ids.into_iter().map(|(_, _, id)| id.to_owned()).collect()
        };
        Arc::clone(self.ids.entry((list, order.clone())).or_insert_with(sort))
    }
}

/// The place of an object in an order; ids decide between equals.
fn key<'a>(object: &'a Object, field: &str, id: &'a str) -> (i64, &'a str, &'a str) {
    (moment(object, field), text(object, field), id)
}

/// Answers a request that may be answered.
pub(super) fn answer(instance: &Instance, controls: &Controls, asked: &Asked) -> Answer {
    let segments = asked.segments();
    let segments: Vec<_> = segments.iter().map(String::as_str).collect();
    let site = Site { instance, controls, asked };
    let answer = match segments.as_slice() {
        ["users"] => site.users(),
        ["users", "count"] => site.users_count(),
        ["users", id] => site.single(instance.users.get(*id).map(known_here)),
        ["organizations"] => site.organizations(),
        ["organizations", id] => site.single(site.organization(id)),
        ["organizations", id, "memberships"] => site.memberships_of(id),
        ["organizations", id, "invitations", invitation] => site.invitation(id, invitation),
        ["organization_memberships"] => site.memberships(),
        ["organization_invitations"] => site.invitations(),
        ["instance"] => Ok(Answer::One(site.instance_info().to_string())),
        _ => Err(Answer::not_found()),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

struct Site<'a> {
    instance: &'a Instance,
    controls: &'a Controls,
    asked: &'a Asked,
}

type Result<T> = std::result::Result<T, Answer>;

impl Site<'_> {
    /// One page of a list. Without a `filter` nothing is looked at but the page.
    fn page(
        &self,
        list: List,
        filter: Option<&dyn Fn(&Object) -> bool>,
        show: impl Fn(&Object) -> String,
    ) -> Result<Answer> {
        let paging = Paging::read(self.asked, list.fields())?;
        let objects = list.of(self.instance);
        let ids = self.controls.with_orders(|orders| orders.ids(self.instance, list, &paging.order));
        let cursor = paging.starting_after.as_ref().filter(|_| !self.controls.knows_no_cursors());
        let skip = match cursor {
            Some(cursor) => self.behind(cursor, &ids, objects, &paging.order)?,
            None => 0,
        };
        let behind = ids.get(skip..).unwrap_or_default();
        let mut total = ids.len();
        let mut chosen = Vec::with_capacity(paging.limit);
        if let Some(filter) = filter {
            let all: Vec<_> =
                behind.iter().filter_map(|id| objects.get(id)).filter(|one| filter(one)).collect();
            total = all.len();
            chosen.extend(all.into_iter().skip(paging.offset).take(paging.limit));
        } else {
            let page = behind.iter().skip(paging.offset).take(paging.limit);
            chosen.extend(page.filter_map(|id| objects.get(id)));
        }
        if let (List::Users, Some(last)) = (list, chosen.last()) {
            self.controls.remember_cursor(text(last, "id"), moment(last, "created_at"));
        }
        let items = chosen.into_iter().map(show).collect();
        Ok(Answer::List { items, total_count: (list != List::Users).then_some(total) })
    }

    /// How many come before the page that follows a cursor.
    fn behind(
        &self,
        cursor: &str,
        ids: &[String],
        objects: &BTreeMap<String, Object>,
        order: &Order,
    ) -> Result<usize> {
        let here = objects.get(cursor).map(|user| moment(user, "created_at"));
        let created_at_ms = match (here, self.controls.lost_cursor()) {
            (Some(created_at_ms), _) => created_at_ms,
            (None, LostCursor::EmptyPage) => return Ok(ids.len()),
            (None, LostCursor::GoesOn) => {
                self.controls.remembered_cursor(cursor).ok_or_else(|| Answer::invalid("no such cursor"))?
            }
            (None, LostCursor::Refused) => return Err(Answer::invalid("no such cursor")),
        };
        let cursor = (created_at_ms, cursor);
        Ok(if order.is_descending {
            ids.partition_point(|id| Reverse(place(objects, id)) <= Reverse(cursor))
        } else {
            ids.partition_point(|id| place(objects, id) <= cursor)
        })
    }

    fn single(&self, object: Option<Object>) -> Result<Answer> {
        only(self.asked, &["include_members_count"])?;
        object.map(|object| Answer::One(Value::from(object).to_string())).ok_or_else(Answer::not_found)
    }

    fn users(&self) -> Result<Answer> {
        only(self.asked, &[&PAGING[..], &["starting_after", "user_id"]].concat())?;
        let ids = Ids::read(self.asked, "user_id")?;
        let filter = |user: &Object| ids.take(text(user, "id"));
        let filter: Option<&dyn Fn(&Object) -> bool> = if ids.is_empty() { None } else { Some(&filter) };
        self.page(List::Users, filter, |user| json_of(&known_here(user)))
    }

    fn users_count(&self) -> Result<Answer> {
        only(self.asked, &["user_id"])?;
        let ids = Ids::read(self.asked, "user_id")?;
        let count = self.instance.users.keys().filter(|id| ids.take(id)).count();
        Ok(Answer::One(json!({"object": "total_count", "total_count": count}).to_string()))
    }

    fn organizations(&self) -> Result<Answer> {
        only(self.asked, &[&PAGING[..], &["organization_id", "include_members_count"]].concat())?;
        let ids = Ids::read(self.asked, "organization_id")?;
        let filter = |organization: &Object| ids.take(text(organization, "id"));
        let filter: Option<&dyn Fn(&Object) -> bool> = if ids.is_empty() { None } else { Some(&filter) };
        self.page(List::Organizations, filter, |organization| json_of(&self.counted(organization)))
    }

    /// By its id or its slug.
    fn organization(&self, name: &str) -> Option<Object> {
        let organizations = &self.instance.organizations;
        let by_slug = || organizations.values().find(|one| text(one, "slug") == name);
        organizations.get(name).or_else(by_slug).map(|organization| self.counted(organization))
    }

    /// An organization, with its count when it is asked for.
    fn counted(&self, organization: &Object) -> Object {
        let mut shown = uncounted(organization);
        if self.asked.first("include_members_count") == Some("true") {
            let id = text(organization, "id");
            let members = self.instance.memberships.values().filter(|one| organization_of(one) == id);
            shown.insert("members_count".to_owned(), members.count().into());
        }
        shown
    }

    fn memberships(&self) -> Result<Answer> {
        only(self.asked, &PAGING)?;
        self.page(List::Memberships, None, |membership| self.membership(membership))
    }

    fn memberships_of(&self, organization_id: &str) -> Result<Answer> {
        only(self.asked, &[&PAGING[..], &["user_id", "role"]].concat())?;
        let ids = Ids::read(self.asked, "user_id")?;
        if !self.instance.organizations.contains_key(organization_id) {
            return Err(Answer::not_found());
        }
        let roles: Vec<_> = self.asked.all("role").collect();
        let filter = |membership: &Object| {
            organization_of(membership) == organization_id
                && ids.take(user_of(membership))
                && (roles.is_empty() || roles.contains(&text(membership, "role")))
        };
        self.page(List::Memberships, Some(&filter), |membership| self.membership(membership))
    }

    /// A membership, with its organization and its user as they are now.
    fn membership(&self, membership: &Object) -> String {
        let mut shown = membership.clone();
        if let Some(organization) = self.instance.organizations.get(organization_of(membership)) {
            shown.insert("organization".to_owned(), uncounted(organization).into());
        }
        if let Some(user) = self.instance.users.get(user_of(membership)) {
            shown.insert("public_user_data".to_owned(), shapes::public_user_data(user));
        }
        json_of(&shown)
    }

    fn invitations(&self) -> Result<Answer> {
        only(self.asked, &[&PAGING[..], &["status"]].concat())?;
        let status = self.asked.first("status");
        let filter = |one: &Object| status.is_none_or(|status| status == self.status(one));
        let filter: Option<&dyn Fn(&Object) -> bool> = if status.is_some() { Some(&filter) } else { None };
        self.page(List::Invitations, filter, |invitation| {
            let mut shown = self.shown_invitation(invitation);
            let organization = self.instance.organizations.get(text(invitation, "organization_id"));
            let organization = organization.map_or(Value::Null, shapes::public_organization_data);
            shown.insert("public_organization_data".to_owned(), organization);
            json_of(&shown)
        })
    }

    fn invitation(&self, organization_id: &str, id: &str) -> Result<Answer> {
        let invitation = self.instance.invitations.get(id);
        let invitation = invitation.filter(|one| text(one, "organization_id") == organization_id);
        self.single(invitation.map(|invitation| self.shown_invitation(invitation)))
    }

    /// Who accepted an invitation is told by the event alone.
    fn shown_invitation(&self, invitation: &Object) -> Object {
        let mut shown = invitation.clone();
        shown.remove("user_id");
        shown.insert("status".to_owned(), self.status(invitation).into());
        shown
    }

    /// An invitation lapses without an event, and without an update.
    fn status<'b>(&self, invitation: &'b Object) -> &'b str {
        let status = text(invitation, "status");
        let expires_at = invitation.get("expires_at").and_then(Value::as_i64);
        let is_over = expires_at.is_some_and(|expires_at| expires_at <= self.instance.now_ms);
        if status == "pending" && is_over { "expired" } else { status }
    }

    fn instance_info(&self) -> Value {
        json!({
            "object": "instance", "id": self.instance.id(), "environment_type": "development",
            "allowed_origins": null, "workspace_id": null,
        })
    }
}

/// Where an object stands among those of its kind, by age.
fn place<'a>(objects: &BTreeMap<String, Object>, id: &'a str) -> (i64, &'a str) {
    (objects.get(id).map_or(0, |one| moment(one, "created_at")), id)
}

fn json_of(object: &Object) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

/// Directory sync is spoken of by webhooks alone.
fn known_here(user: &Object) -> Object {
    let mut shown = user.clone();
    shown.remove("scim");
    shown
}

/// The counts are only there when they are asked for.
fn uncounted(organization: &Object) -> Object {
    let mut shown = organization.clone();
    shown.remove("members_count");
    shown.remove("pending_invitations_count");
    shown
}
