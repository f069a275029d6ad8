//! The read model knows more than a token that was issued before: what a webhook says counts at once.

use roster::sim::shapes::Object;
use roster::sim::{Event, NewUser};

use crate::support::site::{ADMIN, Site, USERS};

const ALLOWED: [&str; 3] = ["200", "200", "200"];
const NO_ADMIN: [&str; 3] = ["200", "200", "403 FORBIDDEN"];
const NOBODY: [&str; 3] = ["403 FORBIDDEN"; 3];

/// Ada is an admin and Bo a member of an organization, since long before anyone's token.
struct Harbour {
    site: Site,
    ada: String,
    bo: String,
    organization: String,
    membership_of_ada: String,
    membership_of_bo: String,
}

async fn harbour() -> Harbour {
    let mut site = Site::start().await;
    let ada = site.clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com")).id().to_owned();
    let bo = site.clerk.create_user(NewUser::named("Bo", "Lund", "bo@example.com")).id().to_owned();
    let organization = site.clerk.create_organization("Harbour", Some(&ada)).id().to_owned();
    let mut join = |user: &str, role: &str| {
        site.clerk.join(user, &organization, role, &Object::new()).unwrap().id().to_owned()
    };
    let (membership_of_ada, membership_of_bo) = (join(&ada, "org:admin"), join(&bo, "org:member"));
    site.catch_up().await;
    // What happens from now on is younger than a token of a minute ago.
    site.now_at_clerk();
    Harbour { site, ada, bo, organization, membership_of_ada, membership_of_bo }
}

impl Harbour {
    async fn hears(&self, event: &Event) {
        assert_eq!(self.site.deliver(event).await, "200 applied", "{}", event.event_type);
    }

    /// What a user may do with a token issued so long ago: the list, one member, the admins' list.
    async fn may(&self, user: &str, role: &str, seconds_ago: i64) -> [String; 3] {
        let token = self.site.token(user, &self.organization, role, seconds_ago);
        let mut answers = [const { String::new() }; 3];
        for (answer, path) in answers.iter_mut().zip([USERS, &format!("{USERS}/{}", self.ada), ADMIN]) {
            let got = self.site.get(path, &token).await;
            *answer = if got.status == 200 { "200".to_owned() } else { got.problem() };
        }
        answers
    }
}

#[tokio::test]
async fn the_token_counts_while_nothing_contradicts_it() {
    let harbour = harbour().await;
    assert_eq!(harbour.may(&harbour.ada, "admin", 60).await, ALLOWED);
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, NO_ADMIN);
    assert_eq!(harbour.may("user_newcomer", "admin", 60).await, ALLOWED);
    assert_eq!(harbour.may("user_newcomer", "member", 60).await, NO_ADMIN);
    // A token that is younger than the membership knows better, the prefix or not.
    assert_eq!(harbour.may(&harbour.bo, "admin", 60).await, ALLOWED);
    assert_eq!(harbour.may(&harbour.bo, "org:admin", 60).await, ALLOWED);
}

#[tokio::test]
async fn who_left_is_refused_until_the_token_is_younger_than_the_leaving() {
    let mut harbour = harbour().await;
    let left = harbour.site.clerk.leave(&harbour.membership_of_bo).unwrap();
    harbour.hears(&left).await;
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, NOBODY);
    assert_eq!(harbour.may(&harbour.bo, "admin", 60).await, NOBODY);
    assert_eq!(harbour.may(&harbour.ada, "admin", 60).await, ALLOWED);
    // A token from after the leaving can only come from a rejoin that we have not heard of.
    assert_eq!(harbour.may(&harbour.bo, "member", -3).await, NO_ADMIN);
}

#[tokio::test]
async fn who_comes_back_is_served_again_with_the_old_token_too() {
    let mut harbour = harbour().await;
    let left = harbour.site.clerk.leave(&harbour.membership_of_bo).unwrap();
    let back =
        harbour.site.clerk.join(&harbour.bo, &harbour.organization, "org:member", &Object::new()).unwrap();
    harbour.hears(&left).await;
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, NOBODY);
    harbour.hears(&back).await;
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, NO_ADMIN);
}

#[tokio::test]
async fn the_late_end_of_an_old_membership_does_not_touch_the_new_one() {
    let mut harbour = harbour().await;
    let left = harbour.site.clerk.leave(&harbour.membership_of_bo).unwrap();
    let back =
        harbour.site.clerk.join(&harbour.bo, &harbour.organization, "org:admin", &Object::new()).unwrap();
    harbour.hears(&back).await;
    harbour.hears(&left).await;
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, ALLOWED);
    assert!(harbour.site.members(&harbour.organization).await.contains(&harbour.bo));
}

#[tokio::test]
async fn an_end_of_which_the_beginning_was_never_heard_refuses_too() {
    let mut harbour = harbour().await;
    let cy = harbour.site.clerk.create_user(NewUser::default());
    let joined =
        harbour.site.clerk.join(cy.id(), &harbour.organization, "org:admin", &Object::new()).unwrap();
    let left = harbour.site.clerk.leave(joined.id()).unwrap();
    harbour.hears(&left).await;
    assert_eq!(harbour.may(cy.id(), "admin", 60).await, NOBODY);
}

#[tokio::test]
async fn who_is_banned_is_refused_but_stays_a_member() {
    let mut harbour = harbour().await;
    let banned = harbour.site.clerk.ban(&harbour.bo).unwrap();
    harbour.hears(&banned).await;
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, NOBODY);
    assert_eq!(harbour.may(&harbour.bo, "member", -3).await, NOBODY, "whatever the token's age");
    assert!(harbour.site.members(&harbour.organization).await.contains(&harbour.bo));
    let fields = [("banned".to_owned(), false.into())].into_iter().collect();
    let forgiven = harbour.site.clerk.update_user(&harbour.bo, fields).unwrap();
    harbour.hears(&forgiven).await;
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, NO_ADMIN);
}

#[tokio::test]
async fn who_is_locked_is_a_member_like_others() {
    let mut harbour = harbour().await;
    let fields = [("locked".to_owned(), true.into())].into_iter().collect();
    let locked = harbour.site.clerk.update_user(&harbour.bo, fields).unwrap();
    harbour.hears(&locked).await;
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, NO_ADMIN);
}

#[tokio::test]
async fn who_is_deleted_is_refused_for_good() {
    let mut harbour = harbour().await;
    let renamed = harbour.site.clerk.update_user(&harbour.bo, Object::new()).unwrap();
    let deleted = harbour.site.clerk.delete_user(&harbour.bo).unwrap();
    harbour.hears(&deleted).await;
    assert_eq!(harbour.site.deliver(&renamed).await, "200 stale");
    for seconds_ago in [60, -3] {
        assert_eq!(harbour.may(&harbour.bo, "member", seconds_ago).await, NOBODY);
    }
    assert_eq!(harbour.may(&harbour.ada, "admin", 60).await, ALLOWED);
    assert_eq!(harbour.site.members(&harbour.organization).await, [harbour.ada.clone()]);
}

#[tokio::test]
async fn of_a_deleted_organization_nobody_reads_anything() {
    let mut harbour = harbour().await;
    let deleted = harbour.site.clerk.delete_organization(&harbour.organization).unwrap();
    harbour.hears(&deleted).await;
    for user in [&harbour.ada, &harbour.bo, "user_newcomer"] {
        for seconds_ago in [60, -3] {
            assert_eq!(harbour.may(user, "admin", seconds_ago).await, NOBODY);
        }
    }
}

#[tokio::test]
async fn a_demotion_counts_before_the_token_says_so() {
    let mut harbour = harbour().await;
    let demoted = harbour.site.clerk.change_role(&harbour.membership_of_ada, "org:member").unwrap();
    harbour.hears(&demoted).await;
    assert_eq!(harbour.may(&harbour.ada, "admin", 60).await, NO_ADMIN);
    // A younger token has its own word.
    assert_eq!(harbour.may(&harbour.ada, "admin", -3).await, ALLOWED);
}

#[tokio::test]
async fn a_promotion_counts_before_the_token_says_so() {
    let mut harbour = harbour().await;
    let promoted = harbour.site.clerk.change_role(&harbour.membership_of_bo, "org:admin").unwrap();
    harbour.hears(&promoted).await;
    assert_eq!(harbour.may(&harbour.bo, "member", 60).await, ALLOWED);
}

#[tokio::test]
async fn a_contradiction_says_nothing_of_its_cause() {
    let mut harbour = harbour().await;
    let banned = harbour.site.clerk.ban(&harbour.bo).unwrap();
    let left = harbour.site.clerk.leave(&harbour.membership_of_ada).unwrap();
    harbour.hears(&banned).await;
    harbour.hears(&left).await;
    let mut details = Vec::new();
    for user in [&harbour.bo, &harbour.ada] {
        let token = harbour.site.token(user, &harbour.organization, "admin", 60);
        // Refused before its parameters are looked at.
        let answer = harbour.site.get(&format!("{USERS}?limit=0"), &token).await;
        assert_eq!(answer.problem(), "403 FORBIDDEN");
        details.push(answer.json()["detail"].clone());
    }
    assert_eq!(details[0], details[1]);
}
