//! Filters and pages.

use super::site::Site;

const USERS: &str = "/api/v1/entities/users";
const ADMIN: &str = "/api/admin/getUsersInOrg";

/// Follows `Link` to the end.
async fn walk(site: &Site, first: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut path = first.to_owned();
    loop {
        let answer = site.ada(&path).await;
        pages.push(answer.ids());
        let Some(link) = answer.header("link") else { return pages };
        let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        next.clone_into(&mut path);
    }
}

#[tokio::test]
async fn a_list_is_walked_page_by_page() {
    let site = Site::start().await;
    assert_eq!(
        walk(&site, &format!("{USERS}?limit=2")).await,
        [vec!["user_ada", "user_bob"], vec!["user_cyd"]]
    );
    assert_eq!(walk(&site, &format!("{ADMIN}?limit=1")).await, [["user_cyd"], ["user_bob"], ["user_ada"]]);
    assert_eq!(walk(&site, &format!("{USERS}?limit=3")).await.len(), 1);
    assert_eq!(walk(&site, USERS).await, [["user_ada", "user_bob", "user_cyd"]]);
}

#[tokio::test]
async fn filters_hold_on_every_page() {
    let site = Site::start().await;
    let members = format!("{ADMIN}?limit=1&role=member&metadata.number=1");
    assert_eq!(walk(&site, &members).await, [["user_bob"]]);
    assert_eq!(walk(&site, &format!("{ADMIN}?limit=1&role=member")).await, [["user_cyd"], ["user_bob"]]);
    let some = format!("{USERS}?ids=user_cyd,user_dan,user_ada,nobody&limit=1");
    assert_eq!(walk(&site, &some).await, [["user_ada"], ["user_cyd"]]);
    assert_eq!(walk(&site, &format!("{USERS}?query=BO&role=admin")).await, [["user_bob"]]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name() {
    let site = Site::start().await;
    for (path, name) in [
        (format!("{USERS}?limit=0"), "`limit`"),
        (format!("{USERS}?cursor=x"), "`cursor`"),
        (format!("{USERS}?ids="), "`ids`"),
        (format!("{ADMIN}?role="), "`role`"),
        (format!("{ADMIN}?query=a&query=b"), "`query`"),
    ] {
        let answer = site.ada(&path).await;
        assert_eq!(answer.problem(), "400 VALIDATION_ERROR");
        assert!(answer.json()["detail"].as_str().unwrap().contains(name), "{path}");
    }
}
