//! The short way of the hot route: a default list that is ready, for a caller whose token is remembered.
//!
//! It does what the long way does, in the same order and with the same parts, but waits for nothing, so it
//! needs none of the layers that limit, catch, compress and route. Whatever is not ready or not in order is
//! left to the long way, which also says no: here nobody is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use metrics::{Counter, Histogram, counter, histogram};

use super::caller;
use super::params::List;
use super::{Shared, edge, request_id};
use crate::clock;

/// The lists, and the counts of their answers.
pub(super) struct Warm {
    shared: Arc<Shared>,
    lists: [Counted; 2],
}

struct Counted {
    list: List,
    seconds: Histogram,
    got: Answers,
    head: Answers,
}

struct Answers {
    ok: Counter,
    not_modified: Counter,
}

impl Counted {
    fn new(list: List) -> Self {
        let route = list.path();
        let answers = |method: &'static str| {
            let count = |status: &'static str| counter!("roster_http_requests_total", "route" => route, "method" => method, "status" => status);
            Answers { ok: count("200"), not_modified: count("304") }
        };
        Self {
            list,
            seconds: histogram!("roster_http_request_seconds", "route" => route),
            got: answers("GET"),
            head: answers("HEAD"),
        }
    }
}

impl Warm {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, lists: [Counted::new(List::Users), Counted::new(List::Admin)] }
    }

    /// The answer, when it is ready.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Option<Response> {
        let counted = match *request.method() {
            Method::GET | Method::HEAD if request.uri().query().is_none() => {
                self.lists.iter().find(|counted| counted.list.path() == request.uri().path())?
            }
            _ => return None,
        };
        let started = Instant::now();
        // A panic here is a mistake of ours, and the long way shows it as one.
        let mut response = catch_unwind(AssertUnwindSafe(|| self.list(counted.list, request))).ok()??;
        let id = request_id::of(request.headers());
        response.headers_mut().insert(request_id::X_REQUEST_ID, id.clone());
        let took = started.elapsed();
        edge::log_answered(request, counted.list.path(), &id, &response, took);
        let answers = if request.method() == Method::GET { &counted.got } else { &counted.head };
        match response.status() {
            StatusCode::OK => answers.ok.increment(1),
            _ => answers.not_modified.increment(1),
        }
        counted.seconds.record(took);
        Some(response)
    }

    fn list<B>(&self, list: List, request: &Request<B>) -> Option<Response> {
        let Shared { api, snapshots, as_of, .. } = &*self.shared;
        let token = caller::token(request.headers()).ok()?;
        let claims = api.verifier.recall(token, clock::now_ms())?;
        let organization = claims.organization.as_ref()?;
        // Taken before the list, so that the list is never older than it says.
        let as_of = as_of.show(api.store.as_of_ms());
        let snapshot = snapshots.current(&api.store, &organization.id, list)?;
        let standing = snapshot.standing(&claims.user_id)?;
        if api.must_fetch(standing) {
            return None;
        }
        let role = standing.role(organization.role.as_ref(), claims.issued_at_ms).ok()?;
        if list == List::Admin && !api.is_admin(role.as_ref()) {
            return None;
        }
        let response = snapshot.list.answer(request.method(), request.headers(), as_of)?;
        api.verifier.count_recalled();
        snapshots.count_hit();
        Some(response)
    }
}
