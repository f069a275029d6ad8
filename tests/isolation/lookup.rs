use reqwest::Method;

use super::ask::{ADMIN, USERS, token_of};
use super::town::{ORGANIZATIONS, PEOPLE, Town, listed, user_id};
use super::walls::said;
use crate::support::database::Kind;

/// "Not yours" is byte for byte "not there".
#[tokio::test]
async fn a_stranger_looks_like_nobody() {
    let town = Town::new(Kind::Sqlite).await;
    let site = &town.together;
    for organization in 0..ORGANIZATIONS {
        let bearer = format!("Bearer {}", token_of(&town, 900, organization, Some("admin")));
        let sent = [("authorization", bearer.as_str()), ("x-request-id", "asked")];
        let listed = listed(organization);
        let ask = async |method: &Method, path: &str| {
            said(&site.send(method.clone(), path, &sent, Vec::new()).await)
        };
        for method in [Method::GET, Method::HEAD] {
            let nobody = ask(&method, &format!("{USERS}/user_999")).await;
            assert_eq!(nobody.0, 404);
            let nobodies = [
                ask(&method, &format!("{USERS}?ids=user_999")).await,
                ask(&method, &format!("{ADMIN}?ids=user_999&limit=5")).await,
            ];
            for id in (0..PEOPLE).map(user_id) {
                let one = ask(&method, &format!("{USERS}/{id}")).await;
                let lists = [
                    ask(&method, &format!("{USERS}?ids={id}")).await,
                    ask(&method, &format!("{ADMIN}?ids={id}&limit=5")).await,
                ];
                if listed.contains(&id) {
                    assert_eq!(one.0, 200);
                    assert!(lists != nobodies);
                } else {
                    assert_eq!(one, nobody, "{id} in organization {organization}");
                    assert_eq!(lists, nobodies, "{id} in organization {organization}");
                }
            }
        }
    }
}
