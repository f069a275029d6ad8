//! The simulated lists: pages, orders and refusals as Clerk documents them, asked for without our client.

use reqwest::StatusCode;
use roster::sim::backend_api::SECRET_KEY;
use serde_json::Value;

use super::*;

impl Site {
    /// Asks as anyone might.
    pub(super) async fn ask(&self, path: &str) -> (StatusCode, Value) {
        let request = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(format!("{}/v1{path}", self.server.url()));
        let response = request.bearer_auth(SECRET_KEY).send().await.unwrap();
        let status = response.status();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    async fn ids_at(&self, path: &str) -> Vec<String> {
        let (status, body) = self.ask(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let items = body.as_array().or(body["data"].as_array()).unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn pages_are_as_long_as_clerks() {
    let site = Site::with_users(30).await;
    for path in ["/users", "/organization_memberships"] {
        for (query, length) in [("", 10), ("?limit=7", 7), ("?limit=500", 30), ("?limit=501", 10)] {
            assert_eq!(site.ids_at(&format!("{path}{query}")).await.len(), length, "{path}{query}");
        }
        assert_eq!(site.ids_at(&format!("{path}?limit=500&offset=28")).await.len(), 2);
        assert!(site.ids_at(&format!("{path}?offset=1000")).await.is_empty());
    }
    let (_, body) = site.ask("/organization_memberships?limit=1&offset=29").await;
    assert_eq!((body["total_count"].as_u64(), body["data"].as_array().unwrap().len()), (Some(30), 1));
}

#[tokio::test]
async fn orders_turn_around_and_the_cursor_follows_them() {
    let site = Site::with_users(25).await;
    let ascending = site.ids_at("/users?limit=500&order_by=%2Bcreated_at").await;
    let descending = site.ids_at("/users?limit=500").await;
    assert_eq!(ascending, descending.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(ascending, site.ids_at("/users?limit=500&order_by=created_at").await);
    for (order, expected) in [("created_at", &ascending), ("-created_at", &descending)] {
        let mut walked = site.ids_at(&format!("/users?order_by={order}")).await;
        loop {
            let last = walked.last().unwrap();
            let page = site.ids_at(&format!("/users?order_by={order}&starting_after={last}")).await;
            walked.extend(page.iter().cloned());
            if page.len() < 10 {
                break;
            }
        }
        assert_eq!(&walked, expected);
    }
    site.clerk.lock().ban(&ascending[3]).unwrap();
    assert_eq!(site.ids_at("/users?limit=1&order_by=-updated_at").await, ascending[3..4]);
    let two = format!("/users?user_id={}&user_id=%2B{}", ascending[1], ascending[2]);
    assert_eq!(site.ids_at(&two).await, [ascending[2].as_str(), ascending[1].as_str()]);
    assert_eq!(site.ids_at(&format!("/users?limit=500&user_id=-{}", ascending[1])).await.len(), 24);
}

#[tokio::test]
async fn what_clerk_refuses_is_refused() {
    let site = Site::with_users(1).await;
    let many = "&user_id=user_1".repeat(101);
    for (path, status, code) in [
        ("/users?limit=0", 422, "form_param_value_invalid"),
        ("/users?limit=many", 422, "form_param_value_invalid"),
        ("/users?offset=-1", 422, "form_param_value_invalid"),
        // A plus sign that is not encoded is a space.
        ("/users?order_by=+created_at", 422, "form_param_value_invalid"),
        ("/users?order_by=shoe_size", 422, "form_param_value_invalid"),
        ("/users?order_by=-updated_at&starting_after=user_1", 422, "form_param_value_invalid"),
        ("/users?offset=1&starting_after=user_1", 422, "form_param_value_invalid"),
        (&format!("/users?limit=1{many}"), 422, "form_param_value_invalid"),
        ("/organizations?order_by=updated_at", 422, "form_param_value_invalid"),
        ("/organization_memberships?user_id=user_1", 422, "form_param_value_invalid"),
        ("/users/user_nobody", 404, "resource_not_found"),
        ("/organizations/org_none", 404, "resource_not_found"),
        ("/organizations/org_none/memberships", 404, "resource_not_found"),
        ("/organizations/org_none/invitations/orginv_1", 404, "resource_not_found"),
        ("/somewhere", 404, "resource_not_found"),
        ("/users?__clerk_api_version=1999-01-01", 400, "clerk_api_version_invalid"),
    ] {
        let (seen, body) = site.ask(path).await;
        assert_eq!((seen.as_u16(), body["errors"][0]["code"].as_str()), (status, Some(code)), "{path}");
    }
    let twice = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(format!("{}/v1/users?__clerk_api_version=2026-05-12", site.server.url()))
        .header("Clerk-API-Version", "2026-05-12")
        .bearer_auth(SECRET_KEY);
    assert_eq!(twice.send().await.unwrap().status(), 400);
    let nobody = reqwest::Client::builder().no_proxy().build().unwrap();
    let nobody = nobody.get(format!("{}/v1/users", site.server.url())).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    assert!(nobody.text().await.unwrap().contains("clerk_key_invalid"));
}

#[tokio::test]
async fn lists_shift_under_a_walk() {
    let site = Site::with_users(20).await;
    let all = site.ids_at("/users?limit=500&order_by=created_at").await;
    site.controls().before_each({
        let all = all.clone();
        move |asked, clerk| {
            if asked.first("offset") == Some("10") {
                clerk.delete_user(&all[0]).unwrap();
            }
        }
    });
    let mut walked = site.ids_at("/users?order_by=created_at").await;
    walked.extend(site.ids_at("/users?order_by=created_at&offset=10").await);
    site.controls().calm();
    // The eleventh was skipped, though it is there.
    assert_eq!(walked.len(), 19);
    assert!(!walked.contains(&all[10]));
    assert_eq!(site.ask(&format!("/users/{}", all[10])).await.0, 200);
}

#[tokio::test]
async fn answers_take_as_long_as_they_are_told() {
    let site = Site::with_users(1).await;
    site.controls().set_latency(std::time::Duration::from_millis(60));
    let began = std::time::Instant::now();
    site.ask("/users").await;
    assert!(began.elapsed() >= std::time::Duration::from_millis(60));
}
