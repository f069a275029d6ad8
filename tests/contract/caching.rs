use reqwest::Method;

use super::people::{ADMIN, Person, USERS, ada, bearer, empty, next, three};
use crate::reading::site::Site;

#[tokio::test]
async fn a_request_id_is_the_callers_own_or_a_new_one() {
    let site = empty().await;
    let longest = "x".repeat(128);
    for own in ["a", "A.b_c-9", &longest] {
        for path in ["/healthz", "/nowhere", USERS] {
            let answer = site.get(path, &[("x-request-id", own)]).await;
            assert_eq!(answer.header("x-request-id"), Some(own), "{path}");
        }
    }
    let too_long = "x".repeat(129);
    for odd in ["", "a b", "a/b", "é", &too_long] {
        let answer = site.get("/nowhere", &[("x-request-id", odd)]).await;
        let new = answer.header("x-request-id").unwrap().to_owned();
        assert!(
            new != odd && !new.is_empty() && new.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{new}"
        );
        assert_eq!(answer.json()["requestId"], new);
    }
    let ids = [site.get("/healthz", &[]).await, site.get("/healthz", &[]).await]
        .map(|answer| answer.header("x-request-id").unwrap().to_owned());
    assert_ne!(ids[0], ids[1]);
}

/// Enough members for a list worth compressing.
async fn forty() -> Site {
    let site = empty().await;
    let people = (0..40).map(|number| {
        let name = format!("Person {number}");
        Person::new(&format!("user_{number}"), number)
            .name(&name, "Müller")
            .email(&format!("p{number}@example.com"))
    });
    site.apply(people.flat_map(Person::changes).collect()).await;
    site
}

/// What curl's own decoder would make of it; the test has none for the others.
async fn decoded(site: &Site, path: &str, coding: &str) -> Vec<u8> {
    assert_eq!(coding, "gzip");
    let client = reqwest::Client::builder().no_proxy().gzip(true).build().unwrap();
    let request = client.get(format!("{}{path}", site.address())).header("authorization", bearer(site));
    request.send().await.unwrap().bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn each_coding_has_a_tag_of_its_own_and_any_of_them_is_enough() {
    let site = forty().await;
    let bearer = bearer(&site);
    for path in [USERS, ADMIN] {
        let mut tags = Vec::new();
        for coding in ["identity", "gzip", "br", "zstd", "gzip, br, zstd", "gzip;q=1, br;q=0.1", "deflate"] {
            let sent = [("authorization", bearer.as_str()), ("accept-encoding", coding)];
            let answer = site.get(path, &sent).await;
            let expected = match coding {
                "identity" | "deflate" => None,
                "gzip, br, zstd" => Some("zstd"),
                "gzip;q=1, br;q=0.1" => Some("gzip"),
                one => Some(one),
            };
            assert_eq!(answer.header("content-encoding"), expected, "{coding}");
            assert_eq!(answer.header("vary"), Some("Authorization, Cookie, Accept-Encoding"));
            let tag = answer.header("etag").unwrap().to_owned();
            assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
            tags.push((coding, tag));
        }
        let distinct: std::collections::BTreeSet<_> = tags.iter().map(|(_, tag)| tag).collect();
        assert_eq!(distinct.len(), 4, "{tags:?}");
        for (coding, _) in &tags {
            for (_, tag) in &tags {
                for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
                    let sent = [
                        ("authorization", bearer.as_str()),
                        ("accept-encoding", coding),
                        ("if-none-match", &known),
                    ];
                    let answer = site.get(path, &sent).await;
                    assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0), "{coding} {known}");
                    let own = tags.iter().find(|(other, _)| other == coding).unwrap();
                    assert_eq!(answer.header("etag"), Some(own.1.as_str()));
                }
            }
        }
        let plain = site.get(path, &[("authorization", &bearer), ("accept-encoding", "identity")]).await;
        assert_eq!(decoded(&site, path, "gzip").await, plain.body);
    }
}

#[tokio::test]
async fn only_what_is_large_is_compressed() {
    let site = empty().await;
    let bearer = bearer(&site);
    let mut seen = [false, false];
    for number in 0..12 {
        site.apply(Person::new(&format!("user_{number}"), number).changes().into()).await;
        let plain = site.get(USERS, &[("authorization", &bearer), ("accept-encoding", "identity")]).await;
        let packed = site.get(USERS, &[("authorization", &bearer), ("accept-encoding", "gzip")]).await;
        let is_large = plain.body.len() >= 1024;
        assert_eq!(packed.header("content-encoding").is_some(), is_large, "{} bytes", plain.body.len());
        seen[usize::from(is_large)] = true;
    }
    assert_eq!(seen, [true, true]);
}

#[tokio::test]
async fn a_tag_changes_when_and_only_when_body_or_link_does() {
    let site = three().await;
    let pages = [USERS.to_owned(), ADMIN.to_owned(), format!("{USERS}?limit=1"), format!("{USERS}/user_zoe")];
    let tag = async |path: &str| ada(&site, path).await.header("etag").unwrap().to_owned();
    let before = [tag(&pages[0]).await, tag(&pages[1]).await, tag(&pages[2]).await, tag(&pages[3]).await];
    // The same question in other words.
    assert_eq!(tag(&format!("{USERS}?x=1&query=")).await, before[0]);
    assert_eq!(tag(&format!("{USERS}?limit=500")).await, before[0]);

    // Somebody new behind the first page: its body stays, and `Link` too.
    site.apply(Person::new("user_new", 1_700_000_000_000).changes().into()).await;
    let after = [tag(&pages[0]).await, tag(&pages[1]).await, tag(&pages[2]).await, tag(&pages[3]).await];
    let changed: Vec<_> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
    assert_eq!(changed, [true, true, false, false]);

    // The same body, once with a page after it and once without.
    let bob = ada(&site, &format!("{USERS}?ids=user_bob,user_zoe&limit=1")).await;
    let only_bob = ada(&site, &format!("{USERS}?ids=user_bob&limit=1")).await;
    assert_eq!(bob.body, only_bob.body);
    assert!(next(&bob).is_some() && next(&only_bob).is_none());
    assert_ne!(bob.header("etag"), only_bob.header("etag"));
}

#[tokio::test]
async fn a_tag_does_not_open_the_door() {
    let site = three().await;
    let tag = ada(&site, USERS).await.header("etag").unwrap().to_owned();
    let refused = [
        site.get(USERS, &[("if-none-match", &tag)]).await,
        site.get(USERS, &[("if-none-match", "*"), ("authorization", "Bearer x")]).await,
        site.send(Method::POST, USERS, &[("if-none-match", "*")], Vec::new()).await,
    ];
    assert_eq!(refused.map(|answer| answer.status.as_u16()), [401, 401, 405]);
    let nobody = format!("{USERS}/user_nobody");
    let sent = [("authorization", bearer(&site)), ("if-none-match", "*".to_owned())];
    let sent: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(site.get(&nobody, &sent).await.status, 404);
}
