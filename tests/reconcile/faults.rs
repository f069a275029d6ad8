//! Every way in which an answer goes wrong, at every request of a pass, once and for good: nothing is removed
//! wrongly, the pass says what became of it, and the next one goes on there and ends in Clerk's truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roster::clerk::backend_api::{ApiError, BackendApi, Patience};
use roster::domain::PassOutcome;
use roster::reconcile::{Reconciler, WalkError};
use roster::sim::backend_api::{Asked, Fault};
use roster::sim::server::{Server, Shared};
use roster::sim::shapes::text;

use super::model::{copy, id_of, tombstones, truth};
use super::town::{FULL, FULL_WITH_DELETES, Town, client_with, deliver, instance, pass};
use crate::support::database::TestStore;

const PAGE: u32 = 3;

/// A Clerk, and the file of a copy that missed some of everything.
struct Scene {
    clerk: Shared,
    server: Server,
    api: BackendApi,
    file: PathBuf,
    invitations: BTreeSet<String>,
    _folder: tempfile::TempDir,
}

async fn scene(is_slow: bool) -> Scene {
    let town = Town::over(Shared::new(instance(7)), PAGE, 0).await;
    town.settle(11);
    let events = town.clerk.lock().take_events();
    let invitations = events.iter().filter(|event| event.event_type == "organizationInvitation.created");
    let mut invitations: BTreeSet<_> = invitations.map(|event| event.id().to_owned()).collect();
    for (index, event) in events.iter().enumerate() {
        if index % 6 != 5 {
            deliver(&town.db.store, event).await;
        }
    }
    {
        // And nobody is told.
        let mut clerk = town.clerk.lock();
        let organizations: Vec<_> = clerk.organization_ids().map(str::to_owned).collect();
        let members: Vec<_> = organizations.iter().flat_map(|id| clerk.memberships_of(id)).collect();
        clerk.delete_user(members[1]["public_user_data"]["user_id"].as_str().unwrap()).unwrap();
        clerk.leave(text(&members[2], "id")).unwrap();
        clerk.change_role(text(&members[3], "id"), "org:admin").unwrap();
        clerk.delete_organization(&organizations[1]).unwrap();
        let user = members[4]["public_user_data"]["user_id"].as_str().unwrap();
        let invited = clerk.invite(&organizations[0], "late@x.io", "org:member", Some(user)).unwrap();
        invitations.insert(invited.id().to_owned());
        clerk.ban(user).unwrap();
    }
    town.db.store.close().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roster.db");
    std::fs::copy(town.db.folder.path().join("roster.db"), &file).unwrap();
    let Town { clerk, server, .. } = town;
    let patience = Patience {
        connect_timeout: Duration::from_secs(5),
        // Only what never comes takes so long.
        timeout: Duration::from_millis(if is_slow { 10_000 } else { 200 }),
        retries: 0,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(1),
    };
    let api = client_with(&server, patience);
    Scene { clerk, server, api, file, invitations, _folder: folder }
}

/// A page of a walk, if it is one.
fn page(asked: &Asked) -> Option<String> {
    let is_page = asked.first("order_by") == Some("+created_at") && asked.first("limit") != Some("1");
    is_page.then(|| format!("{} {:?}", asked.path, asked.query))
}

/// The pages behind which two others of the same list were asked for: those that are written. The first of the two is asked
/// for while they are, once. Of the list that `ended` the pass one is enough: what Clerk refuses is told when the page before
/// it is written.
fn walked(log: &[Asked], ended: Option<&str>) -> Vec<String> {
    let enough = |path: &str| if Some(path) == ended { 1 } else { 2 };
    let is_written = |at: usize| {
        let path = &log[at].path;
        log[at + 1..].iter().filter(|later| later.path == *path).count() >= enough(path)
    };
    log.iter().enumerate().filter(|(at, _)| is_written(*at)).filter_map(|(_, asked)| page(asked)).collect()
}

/// The requests of a pass in which nothing goes wrong: each path with how often it was asked for. The lists are walked at
/// once, so that the order of all is another one each time.
async fn requests(scene: &Scene) -> BTreeMap<String, usize> {
    let db = TestStore::copy_of(&scene.file).await;
    let reconciler = Reconciler::new(db.store.clone(), scene.api.clone(), None).with_page_size(PAGE);
    scene.server.controls().take_log();
    assert_eq!(pass(&reconciler, FULL_WITH_DELETES).await.report.outcome, PassOutcome::Completed);
    let mut requests = BTreeMap::new();
    for asked in scene.server.controls().take_log() {
        *requests.entry(asked.path).or_default() += 1;
    }
    db.store.close().await;
    requests
}

/// A pass in which the `at`th request for a path (and whatever comes after it, if `for_good`) goes wrong, and then one in
/// which none does.
async fn suffer(scene: &Scene, fault: &Fault, path: &str, at: usize, for_good: bool) {
    let what = format!("{fault:?} at {path}, {at}, for good: {for_good}");
    let db = TestStore::copy_of(&scene.file).await;
    let reconciler = Reconciler::new(db.store.clone(), scene.api.clone(), None).with_page_size(PAGE);
    let controls = scene.server.controls();
    controls.take_log();
    let was_hit = Arc::new(AtomicBool::new(false));
    controls.fail_when({
        let (fault, path, was_hit) = (fault.clone(), path.to_owned(), Arc::clone(&was_hit));
        let mut times = 0;
        move |asked| {
            times += usize::from(asked.path == path);
            let is_first = asked.path == path && times == at;
            let is_hit = was_hit.fetch_or(is_first, Ordering::Relaxed) && for_good || is_first;
            // Where one object is asked for, a 404 in Clerk's words is no fault, it is the answer.
            let is_answer = fault == Fault::Status(404) && !for_good && asked.query.is_empty();
            (is_hit && !is_answer).then(|| fault.clone())
        }
    });
    let first = pass(&reconciler, FULL_WITH_DELETES).await;
    assert!(was_hit.load(Ordering::Relaxed), "{what}: nobody asked");
    let log = controls.take_log();
    controls.heal();

    let expected = truth(&scene.clerk.lock(), &scene.invitations);
    let there: BTreeSet<_> = expected.iter().map(|line| id_of(line).to_owned()).collect();
    let wrong: Vec<_> = tombstones(&db).await.intersection(&there).cloned().collect();
    assert!(wrong.is_empty(), "{what}: removed, and Clerk has them: {wrong:#?}");
    let ended = matches!(first.report.outcome, PassOutcome::Completed);
    assert_eq!(ended, first.error.is_none(), "{what}: {first:?}");
    assert!(ended || first.report.outcome == PassOutcome::Failed, "{what}: {first:?}");

    let second = pass(&reconciler, FULL_WITH_DELETES).await;
    assert_eq!(second.report.outcome, PassOutcome::Completed, "{what}: {second:?}");
    if !ended {
        let (before, after) = (walked(&log, (!for_good).then_some(path)), controls.take_log());
        let after: Vec<_> = after.iter().filter_map(page).collect();
        let again: Vec<_> = after.iter().filter(|page| before.contains(page)).collect();
        assert!(again.is_empty() || for_good && hides(fault), "{what}: asked for again: {again:#?}");
    }
    let held = copy(&db).await;
    let differs: Vec<_> = held.symmetric_difference(&expected).collect();
    assert!(differs.is_empty(), "{what}: {differs:#?}");
    db.store.close().await;
}

/// Whether a whole list may end early by it; then it is walked again.
fn hides(fault: &Fault) -> bool {
    let is_odd_page = matches!(
        fault,
        Fault::EmptyPage | Fault::EmptyList | Fault::ShortPage(_) | Fault::Repeated(_) | Fault::Unusable(_)
    );
    is_odd_page || matches!(fault, Fault::Status(402..=404) | Fault::Bare(404))
}

async fn suffer_everywhere(faults: &[Fault]) {
    let scene = scene(!faults.contains(&Fault::NoAnswer)).await;
    let requests = requests(&scene).await;
    assert!(requests.values().sum::<usize>() > 15, "a pass of so few requests says little: {requests:#?}");
    for fault in faults {
        for for_good in [false, true] {
            for (path, times) in &requests {
                for at in 1..=*times {
                    suffer(&scene, fault, path, at, for_good).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_clerk_that_is_down() {
    suffer_everywhere(&[Fault::Status(500), Fault::Bare(502), Fault::Hangup, Fault::TooMany(None)]).await;
}

#[tokio::test]
async fn a_clerk_that_does_not_answer() {
    suffer_everywhere(&[Fault::NoAnswer]).await;
}

#[tokio::test]
async fn answers_that_are_not_clerks() {
    suffer_everywhere(&[Fault::Garbage, Fault::Torn, Fault::CutShort, Fault::Redirect]).await;
}

#[tokio::test]
async fn pages_that_are_not_whole() {
    let faults = [
        Fault::EmptyPage,
        Fault::EmptyList,
        Fault::ShortPage(1),
        Fault::ShortPage(2),
        Fault::Repeated(0),
        Fault::Unusable(0),
    ];
    suffer_everywhere(&faults).await;
}

#[tokio::test]
async fn refusals() {
    let faults =
        [Fault::WrongKey, Fault::Status(402), Fault::Status(403), Fault::Status(404), Fault::Bare(404)];
    suffer_everywhere(&faults).await;
}

/// Whoever mends one thing must hear of that one, and not wait for the other lists until they are given up.
#[tokio::test]
async fn the_first_list_that_fails_is_what_is_told_and_ends_the_others() {
    let town = Town::new(3, 2, 0).await;
    town.settle(5);
    let hour = Duration::from_hours(1);
    let patience = Patience { timeout: hour, retries: 0, ..Patience::default() };
    let api = client_with(&town.server, patience);
    let reconciler = Reconciler::new(town.db.store.clone(), api, None).with_page_size(2);
    let is_page_of = |path, asked: &Asked| asked.path == path && asked.first("limit") == Some("2");
    town.controls().hold_when(move |asked| is_page_of("/v1/users", asked));
    town.controls()
        .fail_when(move |asked| is_page_of("/v1/organization_memberships", asked).then_some(Fault::WrongKey));
    let walk = tokio::time::timeout(Duration::from_mins(1), pass(&reconciler, FULL));
    let finished = walk.await.expect("it waits for the other lists");
    assert_eq!(finished.report.outcome, PassOutcome::Failed);
    assert!(matches!(finished.error, Some(WalkError::Clerk(ApiError::WrongKey))), "{:?}", finished.error);
    town.controls().heal();
    town.controls().release();
    assert_eq!(town.pass(FULL).await.report.outcome, PassOutcome::Completed);
}

/// The next page may take Clerk minutes, and nobody would hear of it before.
#[tokio::test]
async fn a_page_that_cannot_be_written_ends_the_pass_at_once() {
    let town = Town::new(3, 2, 0).await;
    town.settle(5);
    assert_eq!(town.pass(FULL).await.report.outcome, PassOutcome::Completed);
    town.db.plant("UPDATE memberships SET user_id = ''").await;
    let patience = Patience { timeout: Duration::from_hours(1), retries: 0, ..Patience::default() };
    let reconciler =
        Reconciler::new(town.db.store.clone(), client_with(&town.server, patience), None).with_page_size(2);
    let is_second =
        |asked: &Asked| asked.path == "/v1/organization_memberships" && asked.first("offset") == Some("1");
    town.controls().hold_when(is_second);
    let finished = tokio::time::timeout(Duration::from_mins(1), pass(&reconciler, FULL)).await;
    let finished = finished.expect("it waits for the next page");
    assert!(matches!(finished.error, Some(WalkError::Store(_))), "{:?}", finished.error);
    town.controls().release();
}

#[tokio::test]
async fn a_pass_that_was_stopped_goes_on_where_it_stood() {
    let town = Town::new(3, 2, 0).await;
    town.settle(23);
    let mut first = Vec::new();
    // Stopped at every request once, and each time a little further.
    for at in 1.. {
        let stop = tokio_util::sync::CancellationToken::new();
        let asked = town.controls().asked();
        town.controls().before_each({
            let stop = stop.clone();
            move |now, _| {
                if now.number == asked + at {
                    stop.cancel();
                }
            }
        });
        let finished = town.reconciler.run(FULL, &stop, &|_| {}).await.unwrap().unwrap();
        let log = town.controls().take_log();
        if finished.report.outcome == PassOutcome::Completed {
            first.extend(log.iter().filter_map(page));
            break;
        }
        assert_eq!(finished.report.outcome, PassOutcome::Interrupted);
        first.extend(walked(&log, None));
    }
    let distinct: BTreeSet<_> = first.iter().collect();
    assert_eq!(distinct.len(), first.len(), "{first:#?}");
    let users = BTreeSet::new();
    let held: BTreeSet<_> =
        copy(&town.db).await.into_iter().filter(|line| !line.starts_with("orginv_")).collect();
    assert_eq!(held, truth(&town.clerk.lock(), &users));
}
