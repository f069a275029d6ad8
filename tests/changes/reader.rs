//! One who reads server-sent events, as the standard says that they are read.

use std::time::Duration;

use reqwest::{Client, Method, Response};

/// Whatever is waited for comes much sooner, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(40);
pub const CHANGES: &str = "/api/v1/changes";

/// What lies between two empty lines.
#[derive(Debug, Default)]
pub struct Block {
    pub comments: usize,
    pub event: String,
    pub data: String,
}

pub struct Reader {
    response: Response,
    /// What has come and was not read yet.
    rest: Vec<u8>,
    /// From where to go on.
    pub last_id: String,
}

pub async fn request(url: &str, token: &str, last_id: Option<&str>) -> Response {
    let client = Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(Method::GET, format!("{url}{CHANGES}")).bearer_auth(token);
    // Another test asks for compressed answers.
    request = request.header("accept-encoding", "gzip, br, zstd");
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    request.send().await.unwrap()
}

impl Reader {
    /// Follows from now on, or from an id on.
    pub async fn open(url: &str, token: &str, last_id: Option<&str>) -> Self {
        let response = request(url, token, last_id).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"), "it would be held back");
        Self { response, rest: Vec::new(), last_id: last_id.unwrap_or_default().to_owned() }
    }

    /// The next block; `None` at the end of the answer.
    pub async fn block(&mut self) -> Option<Block> {
        let end = loop {
            if let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                break end;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("nothing comes") {
                Ok(Some(chunk)) => self.rest.extend_from_slice(&chunk),
                Ok(None) => {
                    assert!(self.rest.is_empty(), "it ends in the middle of an event");
                    return None;
                }
                Err(error) => panic!("it breaks off: {error}"),
            }
        };
        let text: Vec<u8> = self.rest.drain(..end + 2).collect();
        let mut block = Block::default();
        for line in std::str::from_utf8(&text).unwrap().trim_end().lines() {
            match line.split_once(": ").unwrap() {
                ("", _) => block.comments += 1,
                ("id", id) => id.clone_into(&mut self.last_id),
                ("event", event) => event.clone_into(&mut block.event),
                ("data", data) => data.clone_into(&mut block.data),
                _ => panic!("a field that nobody knows: {line}"),
            }
        }
        Some(block)
    }

    /// The next event as `upserted user_…`, or `reset`; `None` at the end of the answer.
    pub async fn event(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, self.next_event()).await.expect("only silence comes")
    }

    async fn next_event(&mut self) -> Option<String> {
        loop {
            let block = self.block().await?;
            if block.data.is_empty() {
                assert_eq!(block.event, "", "no browser would tell of it");
                continue;
            }
            let data: serde_json::Value = serde_json::from_str(&block.data).unwrap();
            if block.event == "reset" {
                assert_eq!(block.data, "{}");
                return Some(block.event);
            }
            assert_eq!(block.event, "member");
            let (id, change) = (data["id"].as_str().unwrap(), data["change"].as_str().unwrap());
            assert_eq!(block.data, format!(r#"{{"id":"{id}","change":"{change}"}}"#));
            return Some(format!("{change} {id}"));
        }
    }

    /// So many events.
    pub async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event().await.expect("it ended"));
        }
        events
    }

    /// All events until one of this kind, which is left out.
    pub async fn until(&mut self, last: &str) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            let event = self.event().await.expect("it ended");
            if event == last {
                return events;
            }
            events.push(event);
        }
    }

    /// Reads on to the end, and answers with the events before it.
    pub async fn rest_of_it(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }
}
