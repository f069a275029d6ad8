//! Everything that can be asked of the store, on both databases: so every statement runs on both, and both answer
//! alike.

use std::fmt::Debug;

use roster::domain::model::Metadata;
use roster::domain::{
    Activity, Change, Cursor, Entity, Filter, MemberQuery, Observed, Order, OrganizationId, PassKind,
    PassOutcome, Role, Shown, User, UserId,
};
use roster::store::{Delivery, EventCursor, EventFilter, StoredPass};

use super::history::{Said, Step, say};
use crate::support::database::{Kind, TestStore, on_both_databases};

on_both_databases!(
    both_databases_answer_alike,
    a_zero_byte_in_a_name_stops_nobody,
    one_pass_at_a_time_over_all_instances,
);

/// People whose names sort differently by locale and by byte.
fn person(id: &str, email: &str, name: &str, at_ms: i64) -> Change {
    let user = User {
        id: UserId::parse(id).unwrap(),
        first_name: Some(name.to_owned()),
        last_name: None,
        username: Some(name.to_lowercase()),
        email: Some(email.to_owned()),
        image_url: None,
        has_image: false,
        banned: false,
        public_metadata: Metadata::new(serde_json::json!({ "of": name }).as_object().unwrap()),
        created_at_ms: 0,
    };
    Change::User { user: Observed::new(user, at_ms, at_ms), last_sign_in_at_ms: None }
}

async fn fill(db: &TestStore) {
    let mut steps: Vec<_> = (0..30)
        .map(|user| Step::User {
            user,
            updated: 1,
            observed: 1,
            content: user % 4,
            sign_in: Some(user.into()),
        })
        .collect();
    for user in 0..30 {
        let place = (user % 2, user);
        steps.push(Step::Membership {
            membership: user,
            place,
            created: 1,
            updated: 1,
            observed: 2,
            content: user % 3,
        });
    }
    for organization in 0..2 {
        steps.push(Step::Organization { organization, updated: 1, observed: 1, content: 1 });
    }
    for invitation in 0..6 {
        let user = (invitation % 2 == 0).then_some(invitation);
        steps.push(Step::Invitation { invitation, user, updated: 1, observed: 1, content: invitation % 3 });
    }
    steps.push(Step::UserDeleted { user: 4, at: 9 });
    steps.push(Step::MembershipDeleted { membership: 6, place: (0, 6), created: Some(1), at: 8 });
    // Of this one the user is not known.
    steps.push(Step::Membership {
        membership: 99,
        place: (0, 99),
        created: 1,
        updated: 1,
        observed: 1,
        content: 1,
    });
    let history: Vec<_> = steps.into_iter().map(|step| Said { step, by_pass: false }).collect();
    let order: Vec<_> = (0..history.len()).collect();
    say(db, "q-", &history, &order, 3).await;
    let names =
        [("10", "Émile"), ("12", "zoë"), ("14", "Zoë"), ("16", "straße"), ("18", "_x"), ("20", "名前")];
    let renamed =
        names.map(|(id, name)| person(&format!("q-user_{id}"), &format!("{name}@example.com"), name, 5));
    db.store.apply(renamed.to_vec()).await.unwrap();
    let dead = Delivery {
        message_id: "q-msg_dead".to_owned(),
        event_type: "user.updated",
        object_id: Some("q-user_1".to_owned()),
        user_id: UserId::parse("q-user_1").ok(),
        occurred_at_ms: Some(3),
        received_at_ms: 4,
        payload: Some("{}".to_owned()),
    };
    db.store.bury(dead, "not understood".to_owned()).await.unwrap();
}

/// What was asked, and the answer.
struct Answers(Vec<String>);

impl Answers {
    fn add(&mut self, asked: &str, answer: impl Debug) {
        self.0.push(format!("{asked}: {answer:?}"));
    }
}

fn whole(organization: &OrganizationId) -> MemberQuery {
    MemberQuery {
        organization_id: organization.clone(),
        order: Order::Account,
        after: None,
        limit: None,
        ids: None,
        filter: Filter::default(),
    }
}

async fn answers(db: &TestStore) -> Vec<String> {
    let store = &db.store;
    let mut all = Answers(Vec::new());
    let organization = OrganizationId::parse("q-org_0").unwrap();
    let user = |number: u8| UserId::parse(&format!("q-user_{number}")).unwrap();
    let filters = [
        Filter::default(),
        Filter::default().with_text("zo"),
        Filter::default().with_role(Role::new("admin")),
    ];
    for order in [Order::Account, Order::Email] {
        for filter in &filters {
            for limit in [None, Some(3)] {
                for ids in [None, Some(vec![user(10), user(14), user(2), user(77)])] {
                    let mut after: Option<Cursor> = None;
                    loop {
                        let (ids, filter) = (ids.clone(), filter.clone());
                        let query = MemberQuery {
                            organization_id: organization.clone(),
                            order,
                            after,
                            limit,
                            ids,
                            filter,
                        };
                        let page = store.members(&query).await.unwrap();
                        all.add("members", &page);
                        if order == Order::Email {
                            let only = |activity| Some(Shown::Only(activity));
                            for shown in
                                [None, Some(Shown::All), only(Activity::Active), only(Activity::Pending)]
                            {
                                all.add("entries", store.entries(&query, shown, 7).await.unwrap());
                            }
                        }
                        after = page.next;
                        if after.is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }
    for number in [0, 4, 6, 99, 120] {
        all.add("standing", store.standing(&organization, &user(number)).await.unwrap());
        all.add("footprint", store.footprint(&user(number)).await.unwrap());
    }
    let mut unlisted = store.roll(&whole(&organization), |_| {}).await.unwrap();
    unlisted.users.sort_by(|(one, _), (other, _)| one.cmp(other));
    all.add("unlisted", unlisted);
    for entity in [Entity::Users, Entity::Organizations, Entity::Memberships, Entity::Invitations] {
        all.add("count", store.count(entity).await.unwrap());
        let unseen = store.unseen(entity, 0..3, "q-", 100).await.unwrap();
        let known =
            store.known(entity, unseen.iter().map(|one| &*one.id).chain(["q-user_4", "nobody"])).await;
        let mut known: Vec<_> =
            known.unwrap().into_iter().map(|(id, known)| format!("{id} {known:?}")).collect();
        known.sort();
        all.add("unseen", unseen);
        all.add("known", known);
    }
    let (mut memberships, mut invitations) = store.children(&[user(2)], &[organization]).await.unwrap();
    memberships.sort();
    invitations.sort();
    all.add("children", (memberships, invitations));
    all.add("unknown users", store.unknown_users(&[user(1), user(99)]).await.unwrap());
    let dead = EventFilter { outcome: Some("dead".to_owned()), ..EventFilter::default() };
    let subject = EventFilter { subject: Some("q-user_1".to_owned()), ..EventFilter::default() };
    for filter in [EventFilter::default(), dead, subject] {
        all.add("events", store.events(&filter, &EventCursor::end(), 500).await.unwrap());
    }
    all.add("event", store.event("q-msg_dead").await.unwrap());
    all.add("payload", store.event_payload("q-msg_dead").await.unwrap());
    all.add("no payload", store.event_payload("nothing").await.unwrap());
    all.add("arrival", store.last_arrival_ms().await.unwrap());
    all.add("dead letters", store.dead_letters().await.unwrap());
    for (number, outcome) in [(1, Some(PassOutcome::Completed)), (2, None), (3, Some(PassOutcome::Braked))] {
        let pass = StoredPass {
            id: format!("pass_{number}"),
            kind: PassKind::Full,
            outcome,
            started_at_ms: number,
            progress: "{}".to_owned(),
        };
        store.save_pass(&pass).await.unwrap();
    }
    all.add("unfinished", store.unfinished_pass(PassKind::Full).await.unwrap());
    all.add("completed", store.last_completed_pass().await.unwrap());
    all.add("ended", store.last_ended_pass(PassKind::Full).await.unwrap());
    all.add("recent", store.recent_passes(2).await.unwrap());
    all.add("forgotten", store.forget_events(3).await.unwrap());
    store.ping().await.unwrap();
    all.add("in use", store.is_pass_under_way(0).await.unwrap());
    all.0
}

async fn both_databases_answer_alike(kind: Kind) {
    let file = TestStore::new().await;
    let other = TestStore::on(kind).await;
    fill(&file).await;
    fill(&other).await;
    let (expected, answered) = (answers(&file).await, answers(&other).await);
    assert!(expected.len() > 50);
    for (expected, answered) in expected.iter().zip(&answered) {
        assert_eq!(answered, expected);
    }
    assert_eq!(expected.len(), answered.len());
}

async fn a_zero_byte_in_a_name_stops_nobody(kind: Kind) {
    let db = TestStore::on(kind).await;
    let named = person("user_1", "a\0b@example.com", "A\0B", 1);
    db.store.apply(vec![named, person("user_2", "b@example.com", "B", 1)]).await.unwrap();
    assert_eq!(db.store.count(Entity::Users).await.unwrap(), 2);
}

async fn one_pass_at_a_time_over_all_instances(kind: Kind) {
    let one = TestStore::on(kind).await;
    let other = one.another().await;
    assert!(one.store.take_lease("one", 0, 10).await.unwrap());
    assert!(!other.store.take_lease("other", 5, 15).await.unwrap());
    assert!(one.store.take_lease("one", 6, 20).await.unwrap(), "it may be renewed");
    assert!(other.store.is_pass_under_way(20).await.unwrap());
    assert!(other.store.take_lease("other", 21, 30).await.unwrap(), "its holder has died");
    assert!(!one.store.take_lease("one", 22, 40).await.unwrap());
    other.store.release_lease("other").await.unwrap();
    assert!(one.store.take_lease("one", 23, 40).await.unwrap());
    assert!(other.store.clear_lease("on").await.unwrap());
}
