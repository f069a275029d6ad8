//! `GET /docs`: a page to read the API and to try it. All of it is in the program, so it needs no other host, and
//! its policy keeps it from asking one.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use utoipa_swagger_ui::Config;

use super::fixed::Fixed;
use super::problem::{Code, Problem};

const PAGE: &str = include_str!("docs/page.html");
const START: &str = include_str!("docs/start.js");

/// Swagger UI writes styles and small pictures into the page; everything else comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page to read and try this API
#[utoipa::path(
    get, path = "/docs", operation_id = "getDocs", tag = "description",
    responses((status = 200, description = "The page", body = String, content_type = "text/html; charset=utf-8")),
    security(()),
)]
pub(super) async fn page(method: Method, headers: HeaderMap) -> Result<Response, Problem> {
    static ANSWER: LazyLock<Fixed> =
        LazyLock::new(|| Fixed::new("text/html; charset=utf-8", PAGE.as_bytes()));
    let mut response = ANSWER.answer(&method, &headers).await?;
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

/// What the page is made of.
static PARTS: LazyLock<Vec<(&str, Fixed)>> = LazyLock::new(|| {
    let vendored = [
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("favicon-32x32.png", "image/png"),
    ];
    let vendored = vendored
        .into_iter()
        .filter_map(|(name, content_type)| Some((name, Fixed::new(content_type, vendored_file(name)?))));
    let start = ("start.js", Fixed::new("text/javascript; charset=utf-8", START.as_bytes()));
    vendored.chain([start]).collect()
});

/// One of the page's parts.
pub(super) async fn part(
    name: Result<Path<String>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    let part = PARTS.iter().find(|(known, _)| *known == name);
    let (_, part) = part.ok_or_else(|| Problem::new(Code::NotFound, "There is no such file."))?;
    part.answer(&method, &headers).await
}

/// A file of Swagger UI, which is compiled in.
fn vendored_file(name: &str) -> Option<&'static [u8]> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok()??;
    match file.bytes {
        Cow::Borrowed(bytes) => Some(bytes),
        Cow::Owned(_) => None,
    }
}
