//! What came back over the socket.

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

/// One whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Asks, and waits for all of it.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The ids of a list.
    pub fn ids(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        let list = self.json();
        list.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Checks that it is a problem with all that belongs to one, and shows its kind.
    pub fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.headers["cache-control"], "no-store");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["requestId"], self.headers["x-request-id"].to_str().unwrap());
        format!("{} {}", self.status.as_u16(), problem["code"].as_str().unwrap())
    }

    /// What became of a delivery: `200 applied`, or the kind of a problem.
    pub fn verdict(&self) -> String {
        if self.status != StatusCode::OK {
            return self.problem();
        }
        assert_eq!(self.headers["content-type"], "application/json");
        let json = self.json();
        let outcome = json["outcome"].as_str().unwrap();
        assert_eq!(self.text(), format!(r#"{{"outcome":"{outcome}"}}"#));
        format!("200 {outcome}")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
