//! What can be sent, as the document shows it: parameters, whose meaning is decided in `params`, and the body of
//! a webhook, which `webhook` reads.

use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Required, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::api::params::{MAX_IDS, MAX_LIMIT, MAX_QUERY_CHARS};

/// Those of the list for members.
pub(in crate::api) struct Users;

/// Those of the list for admins.
pub(in crate::api) struct Admin;

/// The id in a path.
pub(in crate::api) struct OneUser;

/// Where a feed goes on.
pub(in crate::api) struct Changes;

/// A webhook's body, as far as every event has it.
pub(in crate::api) struct Event;

impl PartialSchema for Event {
    fn schema() -> RefOr<Schema> {
        let kind = text().description(Some("What happened. Types that are not ours are ignored."));
        // Of a type that is ignored nothing else is looked at, so nothing more can be promised of the rest.
        let any = |what: &str| ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some(what));
        ObjectBuilder::new()
            .description(Some("An event of Clerk's."))
            .property("object", any("`event`."))
            .property("type", kind)
            .required("type")
            .property("timestamp", any("When it happened, in Unix milliseconds."))
            .property("instance_id", any("Clerk's id of the instance."))
            .property(
                "data",
                any("The object that it happened to; with a type that is ours, its `id` is needed."),
            )
            .into()
    }
}

impl ToSchema for Event {}

impl IntoParams for Users {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![limit(), cursor(), ids(), query()]
    }
}

impl IntoParams for Admin {
    fn into_params(provider: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = Users::into_params(provider);
        parameters.extend([role(), metadata(), activity_status(), include()]);
        parameters
    }
}

impl IntoParams for OneUser {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let user_id = ParameterBuilder::new()
            .name("userId")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("Clerk's id of the user."))
            .schema(Some(text().examples([json!("user_2h8op3Isl1QR7tKu5FGNfaLKEoU")])))
            .build();
        vec![user_id]
    }
}

impl IntoParams for Changes {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "The `id:` of the last event that was received. What came after it is sent; when that is not known any \
                    more, `event: reset` is. Without it only what happens from now on.";
        let last_event_id = ParameterBuilder::new()
            .name("Last-Event-ID")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(what))
            .schema(Some(text().examples([json!("17")])))
            .build();
        vec![last_event_id]
    }
}

fn asked(name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn one_of(words: &[&str]) -> Object {
    text().enum_values(Some(words.to_vec())).build()
}

fn limit() -> Parameter {
    let number =
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(u32::from(MAX_LIMIT)));
    let what = "At most so many; the next page is in `Link`. Without `limit` and `cursor` the whole list comes, with \
                `cursor` alone 100.";
    asked("limit", what, number.examples([json!(50)])).build()
}

fn cursor() -> Parameter {
    let what = "Where to go on: taken from the `Link` header of the same list.";
    asked("cursor", what, text()).build()
}

fn ids() -> Parameter {
    let ids = ArrayBuilder::new()
        .items(text().min_length(Some(1)).build())
        .min_items(Some(1))
        .max_items(Some(MAX_IDS))
        .build();
    let what = "Only these users, separated by commas, in the order of the list. Unknown ones are left out.";
    asked("ids", what, ids).style(Some(ParameterStyle::Form)).explode(Some(false)).build()
}

fn query() -> Parameter {
    let what = "Each of its words must begin a word of the name, the username or the part of the e-mail before `@`; \
                or the whole query begins the whole e-mail. Without case.";
    asked("query", what, text().max_length(Some(MAX_QUERY_CHARS)).examples([json!("ada")])).build()
}

fn role() -> Parameter {
    let what = "Only who has this role; `org:` may be left out.";
    asked("role", what, text().min_length(Some(1)).examples([json!("org:admin")])).build()
}

fn metadata() -> Parameter {
    let name = text().pattern(Some(r"^metadata\..+$")).build();
    let fields = ObjectBuilder::new()
        .property_names(Some(name))
        .additional_properties(Some(AdditionalProperties::RefOr(text().build().into())));
    let what = "`metadata.<field>=<value>`, any number of times: the field of the public metadata must have this \
                value. Strings as they are, numbers and booleans in JSON form; nothing else matches. Dots belong to \
                the field's name.";
    // The page fills in the example, and who tries a list wants all of it first.
    asked("metadata", what, fields.examples([json!({})]))
        .style(Some(ParameterStyle::Form))
        .explode(Some(true))
        .build()
}

fn activity_status() -> Parameter {
    let what = "Members are `active`, open invitations `pending`, revoked and expired ones `inactive`. With it, each \
                object has `activityStatus`, `invitationStatus` and `invitationCreatedAt`.";
    asked("activityStatus", what, one_of(&["active", "pending", "inactive", "all"])).build()
}

fn include() -> Parameter {
    let what = "With `membership`, each object has `membershipId`, `joinedAt` and `membershipMetadata`.";
    asked("include", what, one_of(&["membership"])).build()
}
