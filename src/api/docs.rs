//! `GET /docs`: a page to read the API and to try it. All of it is in the program, so it needs no other host, and
//! its policy keeps it from asking one.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Response;
use utoipa_swagger_ui::Config;

use super::openapi::public;
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
pub(super) async fn page() -> Response {
    let mut response = public("text/html; charset=utf-8", PAGE.as_bytes());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// What the page is made of.
pub(super) async fn part(name: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    let (content_type, body) = match name.as_str() {
        "start.js" => ("text/javascript; charset=utf-8", Some(START.as_bytes())),
        "swagger-ui-bundle.js" => ("text/javascript; charset=utf-8", vendored(&name)),
        "swagger-ui.css" => ("text/css; charset=utf-8", vendored(&name)),
        "favicon-32x32.png" => ("image/png", vendored(&name)),
        _ => ("", None),
    };
    let body = body.ok_or_else(|| Problem::new(Code::NotFound, "There is no such file."))?;
    Ok(public(content_type, body))
}

/// A file of Swagger UI, which is compiled in.
fn vendored(name: &str) -> Option<&'static [u8]> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok()??;
    match file.bytes {
        Cow::Borrowed(bytes) => Some(bytes),
        Cow::Owned(_) => None,
    }
}
