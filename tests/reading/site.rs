//! A running site with a few people in it, and callers who ask it.

use std::sync::Arc;

use reqwest::Method;
use roster::api::{Api, Public, router};
use roster::app::server;
use roster::clerk::jwks::KeySet;
use roster::clerk::session_token::Verifier;
use roster::clock;
use roster::config::KeySource;
use roster::domain::model::Metadata;
use roster::domain::{Change, Membership, MembershipId, Observed, OrganizationId, Role, User, UserId};
use roster::reconcile::schedule::Gate;
use roster::sim::keys::SigningKey;
use roster::webhook::Receiver;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::answer::Answer;
use crate::support::database::{Kind, TestStore};

/// What deliveries are signed with.
pub const WEBHOOK_SECRET: &str = "whsec_c2VjcmV0IGZvciB0ZXN0cyBvbmx5IQ==";

/// Whose pages may read the answers.
pub const FRONT_END: &str = "https://app.example.com";

/// The public listener over a store of its own.
pub struct Site {
    pub database: TestStore,
    key: Arc<SigningKey>,
    address: String,
    /// Where the same is served with its short way.
    whole_address: String,
    client: reqwest::Client,
}

impl Site {
    /// Ada (an admin), Bob and Cyd are in `org_1`, Dan is in `org_2`.
    pub async fn start() -> Self {
        let site = Self::empty(Arc::new(SigningKey::generate("ins_1").unwrap())).await;
        for (number, (name, organization, role)) in [
            ("ada", "org_1", "admin"),
            ("bob", "org_1", "member"),
            ("cyd", "org_1", "member"),
            ("dan", "org_2", "member"),
        ]
        .into_iter()
        .enumerate()
        {
            site.apply(vec![
                user(name, i64::try_from(number).unwrap()),
                membership(name, organization, role),
            ])
            .await;
        }
        site
    }

    /// Nobody is there yet. Sites that share a key take the same tokens.
    pub async fn empty(key: Arc<SigningKey>) -> Self {
        Self::on(Kind::Sqlite, key).await
    }

    /// The same on either database.
    pub async fn on(kind: Kind, key: Arc<SigningKey>) -> Self {
        let keys = KeySource::Pem(key.public_pem().unwrap());
        Self::over(TestStore::on(kind).await, key, keys).await
    }

    /// Nobody is there yet, and tokens are checked with keys from `keys`.
    pub async fn with_keys(key: Arc<SigningKey>, keys: KeySource) -> Self {
        Self::over(TestStore::new().await, key, keys).await
    }

    /// One more instance over a database.
    pub async fn over(database: TestStore, key: Arc<SigningKey>, keys: KeySource) -> Self {
        let keys = KeySet::new(keys).unwrap();
        let store = database.store.clone();
        let secret = WEBHOOK_SECRET.to_owned().into();
        let api = Api {
            verifier: Arc::new(Verifier::new(keys, None, Vec::new())),
            origins: vec![FRONT_END.to_owned()],
            admin_roles: Arc::from([Role::new("admin")]),
            receiver: Arc::new(Receiver::new(store.clone(), &[secret], None).unwrap()),
            store,
            gate: Gate::default(),
            read_through: None,
            stop: CancellationToken::new(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let whole = Public::new(api.clone(), 16);
        tokio::spawn(async move { axum::serve(listener, router(api)).await });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let whole_address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(server::serve(listener, whole, CancellationToken::new()));
        let client = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
        Self { database, key, address, whole_address, client }
    }

    pub async fn apply(&self, changes: Vec<Change>) {
        self.database.store.apply(changes).await.unwrap();
    }

    /// A token of this person, issued ten seconds ago.
    pub fn token(&self, name: &str, organization: Option<&str>, role: &str) -> String {
        let now = clock::now_ms() / 1000;
        let mut claims = json!({
            "v": 2, "sub": format!("user_{name}"), "sid": "sess_1", "iss": "https://clerk.example.com",
            "iat": now - 10, "nbf": now - 20, "exp": now + 50,
        });
        if let Some(organization) = organization {
            claims["o"] = json!({ "id": organization, "rol": role });
        }
        self.sign(&claims)
    }

    /// A token that says just this.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key.kid() });
        self.key.sign(&header, claims).unwrap()
    }

    /// Where it listens, without a slash at the end.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ada asks.
    pub async fn ada(&self, path: &str) -> Answer {
        self.get(path, &[("authorization", &self.bearer_ada())]).await
    }

    pub fn bearer_ada(&self) -> String {
        format!("Bearer {}", self.token("ada", Some("org_1"), "admin"))
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Vec::new()).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let request = self.client.request(method, format!("{}{path}", self.address)).body(body);
        Self::with(request, headers).await
    }

    /// Asks where the short way is.
    pub async fn send_whole(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        Self::with(self.client.request(method, format!("{}{path}", self.whole_address)), headers).await
    }

    async fn with(mut request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> Answer {
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request).await
    }
}

/// A person whose account is the older the smaller `number` is.
pub fn user(name: &str, number: i64) -> Change {
    let content = User {
        id: UserId::parse(&format!("user_{name}")).unwrap(),
        first_name: Some(name.to_owned()),
        last_name: None,
        username: None,
        // In the admin's list the youngest account comes first.
        email: Some(format!("{}-{name}@example.com", 9 - number)),
        image_url: None,
        has_image: false,
        banned: false,
        public_metadata: Metadata::from_stored(format!(r#"{{"number":{number}}}"#)),
        created_at_ms: 1_000 * number,
    };
    Change::User { user: Observed::new(content, 5_000, 5_000), last_sign_in_at_ms: None }
}

pub fn membership(name: &str, organization: &str, role: &str) -> Change {
    let content = Membership {
        id: MembershipId::parse(&format!("orgmem_{name}")).unwrap(),
        organization_id: OrganizationId::parse(organization).unwrap(),
        user_id: UserId::parse(&format!("user_{name}")).unwrap(),
        role: Role::new(role),
        public_metadata: Metadata::default(),
        created_at_ms: 1,
    };
    Change::Membership(Observed::new(content, 5_000, 5_000))
}
