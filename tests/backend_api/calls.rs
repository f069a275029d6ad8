//! Each call once: what is asked, and what comes of the answer.

use roster::clerk::backend_api::{ApiError, BackendApi, Order};
use roster::domain::{Change, InvitationId, OrganizationId, UserId};
use roster::sim::NewUser;
use roster::sim::backend_api::{LostCursor, SECRET_KEY};
use roster::sim::instance::{organization_of, user_of};
use roster::sim::shapes::{SECRET, SECRET_PHONE};
use secrecy::SecretString;

use super::*;

#[tokio::test]
async fn what_is_asked_is_what_clerk_documents() {
    let site = Site::with_users(3).await;
    let membership = site.first_membership();
    let organization = OrganizationId::parse(organization_of(&membership)).unwrap();
    let user = UserId::parse(user_of(&membership)).unwrap();
    let odd = UserId::parse("-odd/../id?").unwrap();
    let api = &site.api;
    api.users_page(500, None).await.unwrap();
    api.users_page(9_999, Some(user.as_str())).await.unwrap();
    api.users_updated_page(100, 20).await.unwrap();
    api.users_by_ids(&[user.clone(), odd.clone()]).await.unwrap();
    api.users_count().await.unwrap();
    api.user(&odd).await.unwrap();
    api.organizations_page(0, 0, Order::OldestFirst).await.unwrap();
    api.organization(&organization).await.unwrap();
    api.memberships_page(500, 500, Order::NewestFirst).await.unwrap();
    api.organization_memberships_page(&organization, 500, 0).await.unwrap();
    api.organization_memberships_of(&organization, &[user]).await.unwrap();
    api.invitations_page(500, 0, Order::OldestFirst).await.unwrap();
    api.invitation(&organization, &InvitationId::parse("orginv_1").unwrap()).await.unwrap();
    api.instance().await.unwrap();
    let lines = site.controls().take_log().into_iter().map(|asked| {
        let query: Vec<_> = asked.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let line = format!("{} {} {}", asked.method, asked.path, query.join(" "));
        line.trim_end().replace(organization.as_str(), "ORG").replace(user_of(&membership), "USER")
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    GET /v1/users limit=500 order_by=+created_at
    GET /v1/users limit=500 order_by=+created_at starting_after=USER
    GET /v1/users limit=100 offset=20 order_by=-updated_at
    GET /v1/users limit=500 user_id=USER user_id=+-odd/../id?
    GET /v1/users/count
    GET /v1/users/-odd%2F..%2Fid%3F
    GET /v1/organizations limit=1 offset=0 order_by=+created_at
    GET /v1/organizations/ORG
    GET /v1/organization_memberships limit=500 offset=500 order_by=-created_at
    GET /v1/organizations/ORG/memberships limit=500 offset=0 order_by=+created_at
    GET /v1/organizations/ORG/memberships limit=500 user_id=USER
    GET /v1/organization_invitations limit=500 offset=0 order_by=+created_at
    GET /v1/organizations/ORG/invitations/orginv_1
    GET /v1/instance
    ");
}

#[tokio::test]
async fn objects_come_as_changes_of_the_moment_that_clerk_says() {
    let site = Site::with_users(1).await;
    site.clerk.lock().advance(5_000);
    let date_ms = {
        let now_ms = site.clerk.lock().now_ms();
        now_ms - now_ms % 1_000
    };
    let users = site.api.users_page(500, None).await.unwrap();
    assert_eq!(users.observed_at_ms, date_ms);
    let [Change::User { user, .. }] = users.value.changes.as_slice() else { panic!("{users:?}") };
    assert_eq!(user.content.email.as_deref(), Some("user0@example.com"));
    assert_eq!(user.version.observed_at_ms, date_ms);
    let memberships = site.api.memberships_page(500, 0, Order::OldestFirst).await.unwrap();
    let [Change::Membership(membership)] = memberships.value.changes.as_slice() else { panic!() };
    assert_eq!(membership.content.role.as_str(), "org:admin");
    assert_eq!(membership.content.user_id, user.content.id);
    assert_eq!(memberships.value.total_count, Some(1));
    let organization_id = &membership.content.organization_id;
    let organization = site.api.organization(organization_id).await.unwrap().value.unwrap();
    assert_eq!(id(&organization), organization_id.as_str());
    let invitations = site.api.invitations_page(500, 0, Order::NewestFirst).await.unwrap();
    let [Change::Invitation(invitation)] = invitations.value.changes.as_slice() else { panic!() };
    assert_eq!(invitation.content.organization_id.as_ref(), Some(organization_id));
    let again = site.api.invitation(organization_id, &invitation.content.id).await.unwrap();
    assert_eq!(again.value.as_ref(), invitations.value.changes.first());
    assert_eq!(site.api.users_count().await.unwrap().value, 1);
    let instance = site.api.instance().await.unwrap().value;
    assert_eq!((instance.id.as_str(), instance.environment_type.as_str()), ("ins_test", "development"));
    let all = format!("{users:?} {memberships:?} {organization:?} {invitations:?}");
    assert!(!all.contains(SECRET) && !all.contains(SECRET_PHONE), "{all}");
}

#[tokio::test]
async fn only_clerks_word_for_it_makes_an_object_gone() {
    let site = Site::with_users(1).await;
    let membership = site.first_membership();
    let user = UserId::parse(user_of(&membership)).unwrap();
    let organization = OrganizationId::parse(organization_of(&membership)).unwrap();
    let slug = OrganizationId::parse("org-0").unwrap();
    let of_slug = site.api.organization(&slug).await;
    assert!(matches!(of_slug, Err(ApiError::Garbage { .. })), "{of_slug:?}");
    site.clerk.lock().delete_user(user.as_str()).unwrap();
    site.clerk.lock().delete_organization(organization.as_str()).unwrap();
    assert_eq!(site.api.user(&user).await.unwrap().value, None);
    assert_eq!(site.api.organization(&organization).await.unwrap().value, None);
    let nobody = InvitationId::parse("orginv_1").unwrap();
    assert_eq!(site.api.invitation(&organization, &nobody).await.unwrap().value, None);
    // The list of an organization that is gone is no list.
    let memberships = site.api.organization_memberships_page(&organization, 500, 0).await;
    assert!(matches!(memberships, Err(ApiError::FeatureOff { status: 404 })), "{memberships:?}");
}

#[tokio::test]
async fn many_ids_are_asked_for_in_batches() {
    let site = Site::with_users(250).await;
    let all = site.api.users_page(500, None).await.unwrap().value;
    let mut wanted: Vec<_> = ids(&all.changes).into_iter().map(|id| UserId::parse(id).unwrap()).collect();
    wanted.push(UserId::parse("user_nobody").unwrap());
    wanted.push(UserId::parse("+user").unwrap());
    site.controls().take_log();
    let found = site.api.users_by_ids(&wanted).await.unwrap().value;
    assert_eq!((found.received, found.changes.len(), found.unusable), (250, 250, 0));
    assert_eq!(site.controls().take_log().len(), 3);
    let membership = site.first_membership();
    let organization = OrganizationId::parse(organization_of(&membership)).unwrap();
    let members = site.api.organization_memberships_of(&organization, &wanted).await.unwrap().value;
    assert_eq!(members.changes.len(), 10);
    assert_eq!(site.controls().take_log().len(), 3);
    let nobody = site.api.users_by_ids(&[]).await.unwrap().value;
    assert_eq!((nobody.received, site.controls().take_log().len()), (0, 0));
}

#[tokio::test]
async fn an_address_may_have_a_path_and_the_key_is_asked_for() {
    let site = Site::with_users(1).await;
    let with_slash = BackendApi::new(&format!("{}/", site.server.url()), SECRET_KEY.into(), 50).unwrap();
    assert_eq!(with_slash.users_count().await.unwrap().value, 1);
    let wrong = client(&site.server, "sk_test_of_another_instance");
    assert!(matches!(wrong.users_count().await, Err(ApiError::WrongKey)));
    assert!(BackendApi::new("api.clerk.com", SecretString::from("sk_test_1"), 50).is_err());
    assert!(!format!("{wrong:?}").contains("of_another_instance"));
}

#[tokio::test]
async fn a_cursor_whose_user_is_gone_is_what_the_simulation_is_told() {
    let site = Site::empty().await;
    let users: Vec<_> =
        (0..4).map(|_| site.clerk.lock().create_user(NewUser::default()).id().to_owned()).collect();
    let first = site.api.users_page(2, None).await.unwrap().value;
    let cursor = first.last_id.unwrap();
    assert_eq!(cursor, users[1]);
    site.clerk.lock().delete_user(&cursor).unwrap();
    let refused = site.api.users_page(2, Some(&cursor)).await;
    assert!(matches!(refused, Err(ApiError::Refused { status: 422, .. })), "{refused:?}");
    site.controls().set_lost_cursor(LostCursor::EmptyPage);
    assert_eq!(site.api.users_page(2, Some(&cursor)).await.unwrap().value.received, 0);
    site.controls().set_lost_cursor(LostCursor::GoesOn);
    let next = site.api.users_page(2, Some(&cursor)).await.unwrap().value;
    assert_eq!(ids(&next.changes), users[2..]);
}
