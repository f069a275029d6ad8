//! Random histories of which a part is never delivered: one pass puts everything right.
//!
//! What races with the pass, with its events lost too, may need one more; nothing is ever removed wrongly.
//! A longer run: `PROPTEST_CASES=10000 cargo test --release lost_events`. One history again: `ROSTER_SEED=17`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use roster::domain::PassOutcome;
use roster::sim::backend_api::LostCursor;
use roster::sim::random::Random;
use roster::sim::shapes::{Object, object, text};
use roster::sim::{Event, Instance, NewUser};
use serde_json::json;
use tokio::sync::mpsc;

use super::model::{copy, id_of, lists, tombstones, true_lists, truth};
use super::town::{FULL_WITH_DELETES, Town, deliver};

/// Histories in one run, unless `PROPTEST_CASES` says otherwise.
const HISTORIES: u64 = 500;
/// How many histories are lived through at the same time: most of each is waiting.
const THREADS: usize = 4;

/// What happens, by chance.
struct Chance {
    random: Random,
    /// All that there ever were.
    invitations: BTreeSet<String>,
    users: usize,
}

impl Chance {
    fn pick<'a>(&mut self, from: &'a [String]) -> Option<&'a str> {
        from.get(self.random.below(from.len())).map(String::as_str)
    }

    /// One thing happens at Clerk.
    fn act(&mut self, clerk: &mut Instance) {
        if self.random.chance(0.3) {
            let pause = i64::try_from(self.random.below(2_000)).unwrap();
            clerk.advance(pause);
        }
        let users: Vec<_> = clerk.users().map(|user| text(user, "id").to_owned()).collect();
        let organizations: Vec<_> = clerk.organization_ids().map(str::to_owned).collect();
        let memberships: Vec<_> = organizations
            .iter()
            .flat_map(|id| clerk.memberships_of(id))
            .map(|one| text(&one, "id").to_owned())
            .collect();
        let invitations: Vec<_> =
            self.invitations.iter().filter(|id| clerk.invitation(id).is_ok()).cloned().collect();
        let (user, organization) = (self.pick(&users), self.pick(&organizations));
        let (membership, invitation) = (self.pick(&memberships), self.pick(&invitations));
        let name = format!("n{}", self.random.below(1_000));
        match (self.random.below(20), user, organization) {
            (0..=3, ..) => {
                self.users += 1;
                let address = format!("u{}@Example.com", self.random.below(50));
                let mut new = NewUser::named(&name, "Doe", &address);
                new.email = new.email.filter(|_| !self.users.is_multiple_of(7));
                clerk.create_user(new);
            }
            (4, ..) => drop(clerk.create_organization(&name, user)),
            (5..=8, Some(user), Some(organization)) if clerk.membership_id(user, organization).is_err() => {
                clerk.join(user, organization, "org:member", &Object::new()).unwrap();
            }
            (5..=8, ..) => {}
            (9, Some(user), _) => drop(clerk.update_user(user, object(json!({ "first_name": name })))),
            (10, Some(user), _) => drop(clerk.ban(user)),
            (11, Some(user), _) => drop(clerk.change_email(user, &format!("{name}@example.org"))),
            (12, Some(user), _) => drop(clerk.delete_user(user)),
            (13, Some(user), organization) => drop(clerk.sign_in(user, organization)),
            (14, _, Some(organization)) => {
                let invited = clerk.invite(organization, &format!("{name}@guest.io"), "org:member", user);
                self.invitations.insert(invited.unwrap().id().to_owned());
            }
            (15, Some(user), _) => {
                if let Some(invitation) = invitation.filter(|invitation| may_accept(clerk, invitation, user))
                {
                    drop(clerk.accept(invitation, user));
                }
            }
            (16, ..) => drop(invitation.map(|invitation| clerk.revoke(invitation))),
            (17, ..) => drop(membership.map(|membership| clerk.change_role(membership, "org:admin"))),
            (18, ..) => drop(membership.map(|membership| clerk.leave(membership))),
            (_, _, Some(organization)) if self.random.chance(0.4) => {
                drop(clerk.delete_organization(organization));
            }
            (_, _, Some(organization)) => {
                drop(clerk.update_organization(organization, object(json!({ "name": name }))));
            }
            _ => {}
        }
    }
}

/// Clerk lets an invitation be accepted once, and nobody be a member twice.
fn may_accept(clerk: &Instance, invitation: &str, user: &str) -> bool {
    clerk.invitation(invitation).is_ok_and(|invitation| {
        text(invitation, "status") == "pending"
            && clerk.membership_id(user, text(invitation, "organization_id")).is_err()
    })
}

/// Lives through one history.
async fn live(seed: u64) {
    let mut random = Random::new(seed);
    let page_size = u32::try_from(2 + random.below(5)).unwrap();
    let town = Town::new(seed, page_size, 2).await;
    let cursors = [LostCursor::Refused, LostCursor::EmptyPage, LostCursor::GoesOn];
    town.controls().set_lost_cursor(cursors[random.below(3)]);
    let mut chance = Chance { random: Random::new(!seed), invitations: BTreeSet::new(), users: 0 };
    let steps = 10 + random.below(60);
    let mut events = {
        let mut clerk = town.clerk.lock();
        (0..steps).for_each(|_| chance.act(&mut clerk));
        clerk.take_events()
    };
    // 1 % to 30 % are lost; of the others some come so late that they race with the pass. In any order.
    let lost = f64::from(u32::try_from(1 + random.below(30)).unwrap()) / 100.0;
    events.retain(|_| !random.chance(lost));
    for index in (1..events.len()).rev() {
        events.swap(index, random.below(index + 1));
    }
    let late = events.split_off(events.len() - events.len() * random.below(30) / 100);
    for event in &events {
        deliver(&town.db.store, event).await;
    }

    let before = truth(&town.clerk.lock(), &chance.invitations);
    let is_rough = random.chance(0.7);
    let (sender, mut arrivals) = mpsc::unbounded_channel::<Event>();
    let store = town.db.store.clone();
    let arriving = tokio::spawn(async move {
        while let Some(event) = arrivals.recv().await {
            deliver(&store, &event).await;
        }
    });
    let chance = Arc::new(Mutex::new(chance));
    town.controls().before_each({
        let (chance, mut late) = (Arc::clone(&chance), late.clone());
        let sender = sender.clone();
        move |_, clerk| {
            late.pop().into_iter().for_each(|event| sender.send(event).unwrap());
            if is_rough && random.chance(0.3) {
                let burst = if random.chance(0.1) { 10 } else { 1 + random.below(3) };
                (0..burst).for_each(|_| chance.lock().unwrap().act(clerk));
                for event in clerk.take_events() {
                    if !random.chance(lost) {
                        sender.send(event).unwrap();
                    }
                }
            }
        }
    });
    let finished = town.pass(FULL_WITH_DELETES).await;
    town.controls().calm();
    // Whoever has not come by now comes after the pass.
    for event in late {
        sender.send(event).unwrap();
    }
    drop(sender);
    arriving.await.unwrap();
    assert_eq!(finished.report.outcome, PassOutcome::Completed, "seed {seed}: {:?}", finished.error);

    let invitations = chance.lock().unwrap().invitations.clone();
    let after = truth(&town.clerk.lock(), &invitations);
    let there: BTreeSet<_> = after.iter().map(|line| id_of(line).to_owned()).collect();
    let wrong: Vec<_> = tombstones(&town.db).await.intersection(&there).cloned().collect();
    assert!(wrong.is_empty(), "seed {seed}: removed, and Clerk has them: {wrong:#?}");
    let held = copy(&town.db).await;
    let missed: Vec<_> = before.intersection(&after).filter(|line| !held.contains(*line)).collect();
    assert!(missed.is_empty(), "seed {seed}: never changed, and not held: {missed:#?}, but {held:#?}");
    let was: BTreeSet<_> = before.iter().map(|line| id_of(line)).collect();
    let ghosts: Vec<_> = held
        .iter()
        .filter(|line| !was.contains(id_of(line)) && !there.contains(id_of(line)) && !is_rough)
        .collect();
    assert!(ghosts.is_empty(), "seed {seed}: gone before the pass, and still held: {ghosts:#?}");

    if is_rough {
        let finished = town.pass(FULL_WITH_DELETES).await;
        assert_eq!(finished.report.outcome, PassOutcome::Completed, "seed {seed}: {:?}", finished.error);
    }
    let held = copy(&town.db).await;
    let differs: Vec<_> = held.symmetric_difference(&after).collect();
    assert!(differs.is_empty(), "seed {seed}: {differs:#?}");
    let wrong: Vec<_> = tombstones(&town.db).await.intersection(&there).cloned().collect();
    assert!(wrong.is_empty(), "seed {seed}: removed, and Clerk has them: {wrong:#?}");
    let (organizations, expected) = {
        let clerk = town.clerk.lock();
        (clerk.organization_ids().map(str::to_owned).collect::<Vec<_>>(), true_lists(&clerk))
    };
    assert_eq!(lists(&town.db, organizations.into_iter()).await, expected, "seed {seed}");
    town.db.store.close().await;
}

#[test]
fn lost_events_are_made_up_for() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("ROSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PROPTEST_CASES").unwrap_or(HISTORIES),
    };
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            runtime.block_on(live(seed));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
}
