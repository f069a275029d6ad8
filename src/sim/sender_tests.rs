use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn messages(count: usize) -> Vec<Message> {
    (0..count).map(|n| Message::from_content(format!("{{\"n\":{n}}}"))).collect()
}

fn order(plan: &Plan, count: usize) -> Vec<usize> {
    plan.schedule(messages(count)).into_iter().map(|planned| planned.index).collect()
}

#[test]
fn by_default_all_is_in_order_and_once() {
    assert_eq!(order(&Plan::default(), 5), [0, 1, 2, 3, 4]);
}

#[test]
fn disorder_and_duplicates_are_repeatable() {
    let plan = Plan { seed: 5, duplicate: 0.5, disorder: usize::MAX, ..Plan::default() };
    let first = order(&plan, 50);
    assert_eq!(first, order(&plan, 50));
    assert_ne!(first, order(&Plan { seed: 6, ..plan }, 50));
    assert!(first.len() > 60 && !first.is_sorted(), "{first:?}");
    let mut each = first.clone();
    each.sort_unstable();
    each.dedup();
    assert_eq!(each.len(), 50, "nothing is lost");
}

#[test]
fn a_small_window_is_a_small_disorder() {
    let places = order(&Plan { seed: 1, disorder: 3, ..Plan::default() }, 100);
    assert!(!places.is_sorted());
    let farthest = places.iter().enumerate().map(|(place, index)| place.abs_diff(*index)).max();
    assert!(farthest <= Some(3), "{farthest:?}");
}

#[test]
fn the_schedule_is_svixs() {
    let real: Duration = svix_retries(1.0).iter().sum();
    assert_eq!(real, Duration::from_secs(27 * 3600 + 35 * 60 + 5));
    assert!(svix_retries(0.0).iter().all(Duration::is_zero));
}

/// Refuses the first tries, then checks the signature.
async fn endpoint(
    State(tries): State<Arc<AtomicU32>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, &'static str) {
    if tries.fetch_add(1, Ordering::Relaxed) < 2 {
        return (StatusCode::SERVICE_UNAVAILABLE, "");
    }
    let verified = svix::webhooks::Webhook::new(SECRET).unwrap().verify(body.as_bytes(), &headers);
    match verified {
        Ok(()) => (StatusCode::OK, r#"{"outcome":"applied"}"#),
        Err(_) => (StatusCode::UNAUTHORIZED, ""),
    }
}

#[tokio::test]
async fn what_is_not_taken_is_tried_again_and_signed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/webhooks/clerk", post(endpoint)).with_state(Arc::default());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let plan = Plan { concurrency: 4, ..Plan::default() };
    let delivered = Sender::new(&address, SECRET, plan).unwrap().send_messages(messages(20)).await.unwrap();
    assert_eq!(delivered.len(), 20);
    assert!(delivered.iter().all(|one| one.outcome() == Some(Outcome::Applied)), "{delivered:?}");
    let tries: usize = delivered.iter().map(|one| one.answers.len()).sum();
    assert_eq!(tries, 22);

    server.abort();
    let _ = server.await;
    let plan = Plan { retries: svix_retries(0.0), ..Plan::default() };
    let lost = Sender::new(&address, SECRET, plan).unwrap().send_messages(messages(1)).await.unwrap();
    assert_eq!((lost[0].status(), lost[0].answers.len()), (0, 8));
}

#[test]
fn lost_events_leave_the_others_as_they_are() {
    let plan = Plan { seed: 3, duplicate: 0.3, disorder: 10, ..Plan::default() };
    let whole = order(&plan, 200);
    let some = order(&Plan { lose: 0.2, ..plan.clone() }, 200);
    let kept: std::collections::BTreeSet<_> = some.iter().copied().collect();
    assert!((140..180).contains(&kept.len()), "{}", kept.len());
    assert_eq!(whole.into_iter().filter(|index| kept.contains(index)).collect::<Vec<_>>(), some);
    assert!(order(&Plan { lose: 1.0, ..plan }, 200).is_empty());
}
