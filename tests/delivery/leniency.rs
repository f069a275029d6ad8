//! What Clerk may leave out, add or change without our noticing.

use roster::domain::time::iso8601;
use serde_json::{Value, json};

use super::payloads::{self, at};
use crate::support::site::{ADMIN, Site, USERS};

/// A site where these events were delivered, each of them taken.
async fn told(events: &[String]) -> Site {
    let site = Site::start().await;
    for (number, event) in events.iter().enumerate() {
        assert_eq!(site.deliver_as(&format!("msg_{number}"), event.clone()).await, "200 applied", "{event}");
    }
    site
}

/// What the two lists say of the only member of `org_1`, who is told of in these words.
async fn told_of(user: impl Into<String>) -> (Value, Value) {
    let joined = payloads::membership("orgmem_1", "org_1", "user_1").to_string();
    let site = told(&[user.into(), joined]).await;
    let shown = [site.ask(USERS, "org_1").await.json(), site.ask(ADMIN, "org_1").await.json()];
    let [Value::Array(users), Value::Array(admin)] = shown else { panic!("{shown:?}") };
    assert_eq!((users.len(), admin.len()), (1, 1));
    (users[0].clone(), admin[0].clone())
}

/// A user of whom only this is said.
fn bare(data: &Value) -> String {
    json!({"type": "user.created", "data": data}).to_string()
}

#[tokio::test]
async fn fields_that_we_do_not_use_may_hold_anything() {
    const USED: [&str; 14] = [
        "id",
        "first_name",
        "last_name",
        "username",
        "primary_email_address_id",
        "email_addresses",
        "image_url",
        "has_image",
        "banned",
        "last_sign_in_at",
        "public_metadata",
        "created_at",
        "updated_at",
        // Only its place in the text is looked at.
        "object",
    ];
    let good = payloads::user("user_1");
    let expected = told_of(good.to_string()).await;
    let unused: Vec<String> = good["data"].as_object().unwrap().keys().cloned().collect();
    let unused: Vec<_> = unused.into_iter().filter(|name| !USED.contains(&name.as_str())).collect();
    assert!(unused.len() > 20, "{unused:?}");
    for odd in [
        "null",
        "5",
        "-1e999",
        "1E+400",
        "true",
        "[]",
        "{}",
        r#""text""#,
        r#""\ud800""#,
        r#"{"\udc00":"\ud800\ud800"}"#,
        r#"[[1e999,{"a":"\udfff"}]]"#,
        r#""\u0000""#,
    ] {
        let mut event = good.clone();
        for name in &unused {
            event["data"][name] = json!("ODD");
        }
        for name in ["object", "event_attributes", "instance_id"] {
            event[name] = json!("ODD");
        }
        event["data"]["email_addresses"][0]["verification"] = json!("ODD");
        event["data"]["email_addresses"][0]["linked_to"] = json!("ODD");
        event["data"]["new_since_yesterday"] = json!("ODD");
        event["api_version"] = json!("ODD");
        assert_eq!(told_of(event.to_string().replace(r#""ODD""#, odd)).await, expected, "{odd}");
    }
}

#[tokio::test]
async fn names_of_fields_that_we_do_not_know_may_be_anything() {
    let good = payloads::user("user_1");
    let expected = told_of(good.to_string()).await;
    for odd in ["", "\\u0000", "\\ud800", "data.id", "Data", "\u{1f980}", "__proto__"] {
        let field = format!(r#"{{"{odd}":"x","#);
        let event = good.to_string().replacen('{', &field, 1).replacen(
            r#""data":{"#,
            &format!(r#""data":{field}"#),
            1,
        );
        assert_eq!(told_of(event).await, expected, "{odd}");
    }
}

#[tokio::test]
async fn other_fields_of_a_membership_do_not_matter() {
    let mut joined = payloads::membership("orgmem_1", "org_1", "user_1");
    joined["data"]["permissions"] = json!({"read": 1});
    joined["data"]["role_name"] = json!(5);
    joined["data"]["private_metadata"] = json!([1]);
    joined["data"]["organization"] =
        json!({"id": "org_1", "name": 5, "public_metadata": [], "created_at": "x"});
    joined["data"]["public_user_data"] = json!({"user_id": "user_1", "first_name": [], "banned": "x"});
    let site = told(&[joined.to_string(), payloads::user("user_1").to_string()]).await;
    assert_eq!(site.members("org_1").await, ["user_1"]);
}

#[tokio::test]
async fn a_type_and_an_id_are_enough() {
    let (user, admin) = told_of(bare(&json!({"id": "user_1"}))).await;
    let nothing = "1970-01-01T00:00:00.000Z";
    assert_eq!(
        user,
        json!({
            "id": "user_1", "firstName": null, "lastName": null, "email": null, "profilePictureUrl": null,
            "createdAt": nothing, "updatedAt": nothing, "clerkId": "user_1", "clerkOrgId": "org_1",
        })
    );
    assert_eq!(
        admin,
        json!({
            "id": "user_1", "email": null, "firstName": null, "lastName": null, "username": null,
            "profileImageUrl": null, "lastSignInAt": null, "publicMetadata": {}, "createdAt": nothing,
            "role": "org:member",
        })
    );
}

#[tokio::test]
async fn null_and_absent_are_the_same() {
    let absent = told_of(bare(&json!({"id": "user_1", "updated_at": 5}))).await;
    let null = json!({
        "id": "user_1", "updated_at": 5, "first_name": null, "last_name": null, "username": null,
        "primary_email_address_id": null, "email_addresses": null, "image_url": null, "has_image": null,
        "banned": null, "last_sign_in_at": null, "public_metadata": null, "created_at": null,
    });
    assert_eq!(told_of(bare(&null)).await, absent);
    let envelope = json!({"type": "user.created", "timestamp": null, "instance_id": null, "data": null});
    assert_eq!(told_of(at(&envelope, "/data", null).to_string()).await, absent);
}

#[tokio::test]
async fn the_time_of_an_event_is_in_seconds_or_in_milliseconds() {
    let site = Site::start().await;
    let as_of = async || {
        let answer = site.ask(USERS, "org_1").await;
        answer.header("roster-as-of").map(str::to_owned)
    };
    let mut user = payloads::user("user_1");
    for (number, (stated, meant_ms)) in [
        (1_716_883_200_i64, 1_716_883_200_000_i64),
        (1_716_883_200_001, 1_716_883_200_001),
        (99_999_999_999, 99_999_999_999_000),
        // The first moment that is read as milliseconds is in 1973; it moves nothing back.
        (100_000_000_000, 99_999_999_999_000),
        (253_402_300_799_999, 253_402_300_799_999),
    ]
    .into_iter()
    .enumerate()
    {
        user["timestamp"] = json!(stated);
        user["data"]["updated_at"] = json!(number);
        assert_eq!(site.deliver_as(&format!("msg_{number}"), user.to_string()).await, "200 applied");
        assert_eq!(as_of().await, Some(iso8601(meant_ms)), "{stated}");
    }
}

/// What the dashboard sends by "Send Example": no instance, bare roles, fields of years ago.
#[tokio::test]
async fn the_dashboards_examples_are_understood() {
    let user = json!({
        "object": "event", "type": "user.created", "timestamp": 1_654_012_591,
        "data": {
            "birthday": "", "created_at": 1_654_012_591_514_i64,
            "email_addresses": [{"email_address": "example@example.org", "id": "idn_29w83yL7CwVlJXylYLxcslromF1", "linked_to": [], "object": "email_address", "verification": {"status": "verified", "strategy": "ticket"}}],
            "external_accounts": [], "external_id": "567772", "first_name": "Example", "gender": "", "id": "user_29w83sxmDNGwOuEthce5gg56FcC",
            "image_url": "https://img.clerk.com/xxxxxx", "last_name": "Example", "last_sign_in_at": 1_654_012_591_514_i64, "object": "user", "password_enabled": true, "phone_numbers": [],
            "primary_email_address_id": "idn_29w83yL7CwVlJXylYLxcslromF1", "primary_phone_number_id": null, "primary_web3_wallet_id": null, "private_metadata": {},
            "profile_image_url": "https://www.gravatar.com/avatar?d=mp", "public_metadata": {}, "two_factor_enabled": false, "unsafe_metadata": {}, "updated_at": 1_654_012_591_835_i64,
            "username": null, "web3_wallets": [],
        },
    });
    let membership = |role: &str, suffix: &str| {
        json!({
            "object": "event", "type": "organizationMembership.created", "timestamp": 1_654_013_203,
            "data": {
                "created_at": 1_654_013_203_217_i64, "id": format!("orgmem_29w9IptNja3mP8GDXpquBwN2qR{suffix}"), "object": "organization_membership",
                "organization": {"created_at": 1_654_013_202_977_i64, "created_by": "user_1vq84bqWzw7qmFgqSwN4CH1Wp0n", "id": format!("org_29w9IfBrPmcpi0IeBVaKtA7R94{suffix}"), "image_url": "https://img.clerk.com/xxxxxx", "logo_url": "https://example.org/example.png", "name": "Acme Inc", "object": "organization", "public_metadata": {}, "slug": "acme-inc", "updated_at": 1_654_013_202_977_i64},
                "public_user_data": {"first_name": "Example", "identifier": "example@example.org", "image_url": "https://img.clerk.com/xxxxxx", "last_name": "Example", "profile_image_url": "https://www.gravatar.com/avatar?d=mp", "user_id": "user_29w83sxmDNGwOuEthce5gg56FcC"},
                "role": role, "updated_at": 1_654_013_203_217_i64,
            },
        })
    };
    let events =
        [user, membership("admin", "W"), membership("basic_member", "X"), membership("org:admin", "Y")];
    let site = told(&events.map(|event| event.to_string())).await;
    for (suffix, role) in [("W", "org:admin"), ("X", "org:basic_member"), ("Y", "org:admin")] {
        let organization = format!("org_29w9IfBrPmcpi0IeBVaKtA7R94{suffix}");
        let list = site.ask(ADMIN, &organization).await.json();
        assert_eq!((&list[0]["role"], &list[0]["email"]), (&json!(role), &json!("example@example.org")));
        assert_eq!(list[0]["lastSignInAt"], "2022-05-31T15:56:31.514Z");
        // Without `has_image` nobody has set a picture; the avatar is shown to admins.
        assert_eq!(list[0]["profileImageUrl"], "https://img.clerk.com/xxxxxx");
        assert_eq!(site.ask(USERS, &organization).await.json()[0]["profilePictureUrl"], Value::Null);
    }
}

#[tokio::test]
async fn only_the_address_that_is_named_primary_is_the_address() {
    let address = |id: Value, address: &str| json!({"id": id, "email_address": address});
    let both =
        json!([address(json!("idn_1"), "one@example.com"), address(json!("idn_2"), "Two@Example.com")]);
    let nameless = json!([address(json!(null), "one@example.com")]);
    for (addresses, primary, expected) in [
        (both.clone(), json!("idn_2"), json!("Two@Example.com")),
        (both.clone(), json!("idn_3"), json!(null)),
        (both.clone(), json!(null), json!(null)),
        (both, json!(""), json!(null)),
        (nameless, json!(null), json!(null)),
        (json!([{"id": "idn_1"}]), json!("idn_1"), json!(null)),
        (json!([]), json!("idn_1"), json!(null)),
        (json!(null), json!("idn_1"), json!(null)),
    ] {
        let data = json!({"id": "user_1", "email_addresses": addresses, "primary_email_address_id": primary});
        let (user, admin) = told_of(bare(&data)).await;
        assert_eq!((&user["email"], &admin["email"]), (&expected, &expected), "{data}");
    }
}

#[tokio::test]
async fn odd_texts_in_used_fields_come_out_as_they_went_in() {
    let metadata =
        json!({"nul": "\0", "\0": 1, "emoji": "👩‍👩‍👧", "deep": [[[{"a": [null, 1.5, -0.0]}]]], "": "\u{2028}"});
    let (user, admin) = told_of(bare(&json!({
        "id": "user_1", "first_name": "A\0da", "last_name": "Ó \u{202e}\"\\</script>", "username": "",
        "public_metadata": metadata,
    })))
    .await;
    // Not every database can hold a NUL in a text, so it is shown as what it is: a character that is lost.
    assert_eq!(user["firstName"], "A\u{fffd}da");
    assert_eq!(user["lastName"], "Ó \u{202e}\"\\</script>");
    assert_eq!(admin["username"], "");
    assert_eq!(admin["publicMetadata"], metadata);
}

#[tokio::test]
async fn a_field_that_comes_twice_counts_as_it_does_for_every_parser_of_the_web() {
    let twice = r#"{"type":"email.created","type":"user.created","data":{"id":"user_2","id":"user_1","first_name":"A","first_name":"B"}}"#;
    assert_eq!(told_of(twice).await.0["firstName"], "B");
}

#[tokio::test]
async fn a_deletion_needs_nothing_but_its_id() {
    let site = told(&payloads::controls().iter().map(Value::to_string).collect::<Vec<_>>()).await;
    let user = json!({"type": "user.deleted", "data": {"id": "user_control", "deleted": true}});
    assert_eq!(site.deliver_as("msg_deleted", user.to_string()).await, "200 applied");
    assert!(site.members("org_control").await.is_empty());
}
