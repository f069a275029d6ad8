//! What every operation answers beside its good answer: problems, and the headers of all answers.

use serde_json::{Value, json};
use utoipa::Modify;
use utoipa::ToSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Components, Content, Header, OpenApi as Document, Ref, RefOr, Required, Response};

use super::super::problem::{Code, Document as ProblemDocument, PROBLEM_JSON, Problem};

/// Every problem that an operation can answer: its code, its name in the document, and when it comes.
const PROBLEMS: [(Code, &str, &str, &str); 9] = [
    (
        Code::ValidationError,
        "ValidationError",
        "The caller has no active organization, or something in the request is wrong; `detail` names it.",
        "The parameter `limit` must be a number from 1 to 500.",
    ),
    (Code::Unauthorized, "Unauthorized", "No token or signature, or one that must not be accepted.", ""),
    (
        Code::Forbidden,
        "Forbidden",
        "The caller may not ask this, or what is known of it contradicts its token.",
        "Your access to this organization has ended; sign in again.",
    ),
    (
        Code::NotFound,
        "NotFound",
        "There is no such object in the caller's organization.",
        "No member of your organization has this id.",
    ),
    (
        Code::PayloadTooLarge,
        "PayloadTooLarge",
        "The body is over 1 MiB.",
        "The body is over 1 MiB, which no event of Clerk's is.",
    ),
    (
        Code::UnprocessableEvent,
        "UnprocessableEvent",
        "The signature is right, but the event cannot be used. It is kept, and tried again when it comes again.",
        "The signature is right, but the event cannot be used: `data.id` is missing.",
    ),
    (
        Code::RateLimited,
        "RateLimited",
        "The caller asks too much; try again after `Retry-After` seconds.",
        "You follow the changes too often already; end some of the answers.",
    ),
    (Code::InternalError, "InternalError", "Something went wrong here.", ""),
    (
        Code::Unavailable,
        "Unavailable",
        "It cannot be answered truthfully now; try again after `Retry-After` seconds.",
        "The store cannot be reached now; try again.",
    ),
];

/// Puts in what all operations have in common.
pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Components::default);
        for (code, name, when, detail) in PROBLEMS {
            components.responses.insert(name.to_owned(), problem(code, when, detail).into());
        }
        for (path, item) in &mut document.paths.paths {
            if let Some(operation) = &mut item.get {
                complete(operation, path);
            }
            if let Some(operation) = &mut item.post {
                complete(operation, path);
            }
        }
    }
}

/// What an operation is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Member,
    Feed,
    Webhook,
    Health,
    Description,
}

impl Kind {
    /// By its tag; an operation without one of these has nothing in common with the others.
    fn of(operation: &Operation, path: &str) -> Option<Self> {
        match operation.tags.as_ref()?.first()?.as_str() {
            "members" if path.ends_with('}') => Some(Self::Member),
            "members" => Some(Self::List),
            "changes" => Some(Self::Feed),
            "webhooks" => Some(Self::Webhook),
            "health" => Some(Self::Health),
            "description" => Some(Self::Description),
            _ => None,
        }
    }

    /// The problems that it can answer, but for those that anything can.
    fn problems(self) -> &'static [Code] {
        match self {
            Self::List => &[Code::ValidationError, Code::Unauthorized, Code::Forbidden],
            Self::Feed => &[Code::ValidationError, Code::Unauthorized, Code::Forbidden, Code::RateLimited],
            Self::Member => &[Code::ValidationError, Code::Unauthorized, Code::Forbidden, Code::NotFound],
            Self::Webhook => {
                &[Code::ValidationError, Code::Unauthorized, Code::PayloadTooLarge, Code::UnprocessableEvent]
            }
            Self::Health | Self::Description => &[],
        }
    }

    /// Whether a caller that has the answer is told so.
    fn is_tagged(self) -> bool {
        matches!(self, Self::List | Self::Member | Self::Description)
    }

    /// The headers of its good answers.
    fn headers(self) -> Vec<(&'static str, Header)> {
        let mut headers = vec![("X-Request-Id", request_id())];
        let mut add = |name, description: &str, example: &str| {
            headers.push((name, header(description, json!(example))));
        };
        if self.is_tagged() {
            add("ETag", "A strong tag, one for each content coding.", "\"RBNvo1WzZ4oRRq0W9-hkng\"");
        }
        match self {
            Self::List | Self::Member => {
                let keep = "May be kept by the caller alone, and is to be asked for again.";
                add("Cache-Control", keep, "private, no-cache");
                add("Vary", "What the answer depends on.", "Authorization, Cookie, Accept-Encoding");
                let as_of = "The moment up to which the copy is known to be Clerk's truth; absent while there is none.";
                add("Roster-As-Of", as_of, "2026-01-05T09:00:00.000Z");
            }
            Self::Health | Self::Feed => add("Cache-Control", "Asked for anew each time.", "no-store"),
            Self::Description => {
                add("Cache-Control", "May be kept, and is to be asked for again.", "public, no-cache");
                add("Vary", "What the answer depends on.", "Accept-Encoding");
            }
            Self::Webhook => {}
        }
        if self == Self::List {
            let link = "</api/v1/entities/users?limit=50&cursor=MWF1c2VyX2EKNQ>; rel=\"next\"";
            add("Link", "The next page, when there is one: the same question, further on.", link);
        }
        headers
    }
}

fn complete(operation: &mut Operation, path: &str) {
    let Some(kind) = Kind::of(operation, path) else { return };
    let responses = &mut operation.responses.responses;
    if kind.is_tagged() {
        let same = ResponseBuilder::new().description("The caller has it already; no body.");
        responses.insert("304".to_owned(), same.into());
    }
    for response in responses.values_mut() {
        if let RefOr::T(response) = response {
            for (name, header) in kind.headers() {
                response.headers.insert(name.to_owned(), header.into());
            }
        }
    }
    for (code, name, ..) in PROBLEMS {
        let anything = matches!(code, Code::InternalError | Code::Unavailable);
        if anything || kind.problems().contains(&code) {
            let response = Ref::from_response_name(name);
            responses.insert(code.status().as_str().to_owned(), RefOr::Ref(response));
        }
    }
    if kind.is_tagged() {
        let have =
            "Tags of answers that the caller has; with one that is still right, or `*`, the answer is 304.";
        ask(operation, "If-None-Match", have);
    }
    ask(operation, "X-Request-Id", "A name for the request; it comes back, and is in the log.");
}

fn ask(operation: &mut Operation, name: &str, description: &str) {
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build();
    operation.parameters.get_or_insert_default().push(parameter.into());
}

fn header(description: &str, example: Value) -> Header {
    HeaderBuilder::new().description(Some(description)).example(Some(example)).build()
}

fn request_id() -> Header {
    header("The name of the request, as the log has it.", json!("3f2b8c1e9a7d4c60b1a2f3e4d5c6b7a8"))
}

fn problem(code: Code, when: &str, detail: &str) -> Response {
    let example = Problem::new(code, detail).render("3f2b8c1e9a7d4c60b1a2f3e4d5c6b7a8");
    let example = serde_json::from_str::<Value>(&example).unwrap_or_default();
    let mut content = Content::new(Some(Ref::from_schema_name(ProblemDocument::name())));
    content.example = Some(example);
    let mut response = ResponseBuilder::new().description(when).content(PROBLEM_JSON, content).build();
    let mut add = |name: &str, header: Header| {
        response.headers.insert(name.to_owned(), header.into());
    };
    add("X-Request-Id", request_id());
    add("Cache-Control", header("Errors are not kept.", json!("no-store")));
    match code {
        Code::Unauthorized => {
            add("WWW-Authenticate", header("On routes that take a token.", json!("Bearer")));
        }
        Code::Unavailable | Code::RateLimited => {
            let mut seconds = header("When to try again, in seconds.", json!(5));
            seconds.schema = Some(ObjectBuilder::new().schema_type(Type::Integer).build().into());
            add("Retry-After", seconds);
        }
        _ => {}
    }
    response
}
