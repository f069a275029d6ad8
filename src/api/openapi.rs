//! The description of the public listener as OpenAPI 3.1, made from the code that answers.
//!
//! Each handler says what is its own: path, parameters, the good answer. What holds for all of them (errors,
//! headers, how to come in) is put in here, once, so that no route can forget it.

mod answers;
pub(super) mod parameters;

use std::sync::LazyLock;

use axum::http::{HeaderMap, Method};
use axum::response::Response;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Document};
use utoipa::{Modify, OpenApi};

use self::answers::Common;
use super::fixed::Fixed;
use super::problem::Problem;
use super::{changes, delivery, docs, health, members, problem};

/// Where the document is served.
pub(super) const PATH: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roster",
        description = "A durable local copy of your Clerk users and organizations: Clerk's webhooks go in, the members \
            of the caller's organization come out.\n\n\
            A caller is known by its Clerk session token, as a bearer token or in the `__session` cookie; nobody \
            reaches further than the organization that the token names. Times are ISO 8601 in UTC.\n\n\
            Every error is an `application/problem+json` document (RFC 9457) with a `code` for programs. `HEAD` works \
            where `GET` does; another method gets 405 `METHOD_NOT_ALLOWED` with `Allow`. Every answer carries \
            `X-Request-Id`: the caller's own, when it is 1 to 128 characters of `A-Za-z0-9._-`, else a new one. Answers \
            are compressed when asked for (`zstd`, `br`, `gzip`).",
    ),
    servers((url = "/", description = "This service")),
    tags(
        (name = "members", description = "Who is in the caller's organization."),
        (name = "changes", description = "What changed, as it happens."),
        (name = "webhooks", description = "What Clerk sends."),
        (name = "health", description = "How the service is; anyone may ask."),
        (name = "description", description = "What this is; anyone may ask."),
    ),
    paths(
        members::users,
        members::user,
        members::admin,
        changes::follow,
        delivery::receive,
        health::healthz,
        health::readyz,
        serve,
        docs::page,
    ),
    components(schemas(problem::Document, changes::Change)),
    modifiers(&Schemes, &Common),
)]
struct Roster;

/// The document, readable and always the same for one version.
pub fn json() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        // Writing a tree of texts cannot fail.
        Roster::openapi().to_pretty_json().unwrap_or_default()
    });
    &JSON
}

/// This document
///
/// OpenAPI 3.1, as JSON. `roster openapi` prints the same.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "description",
    responses((status = 200, description = "The description of this API", body = BTreeMap<String, serde_json::Value>)),
    security(()),
)]
pub(super) async fn serve(method: Method, headers: HeaderMap) -> Result<Response, Problem> {
    static DOCUMENT: LazyLock<Fixed> = LazyLock::new(|| Fixed::new("application/json", json().as_bytes()));
    DOCUMENT.answer(&method, &headers).await
}

/// How callers and senders are known.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Components::default);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let bearer = bearer.description(Some("A Clerk session token with an active organization."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let session = "The same token in Clerk's cookie. Looked at when there is no bearer token.";
        let session = ApiKeyValue::with_description("__session", session);
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
        for (name, what) in [
            ("svix-id", "The message id, the same on every attempt. Also as `webhook-id`."),
            ("svix-timestamp", "When the attempt was signed, in Unix seconds. Also as `webhook-timestamp`."),
            ("svix-signature", "`v1,` and the signature of the body. Also as `webhook-signature`."),
        ] {
            let header = ApiKeyValue::with_description(name, what);
            components.add_security_scheme(name, SecurityScheme::ApiKey(ApiKey::Header(header)));
        }
    }
}
