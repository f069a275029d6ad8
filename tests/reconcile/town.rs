//! A simulated Clerk, a store, and a reconciler between them.

use std::sync::OnceLock;
use std::time::Duration;

use roster::clerk::backend_api::{BackendApi, Patience};
use roster::clerk::event::{self, Decoded};
use roster::clock;
use roster::domain::PassKind;
use roster::reconcile::{Ask, Finished, Reconciler};
use roster::sim::backend_api::{Controls, SECRET_KEY};
use roster::sim::keys::SigningKey;
use roster::sim::server::{Server, Shared};
use roster::sim::shapes::Object;
use roster::sim::{Event, Instance, NewUser};
use roster::store::{Delivery, Store};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::support::database::TestStore;

pub const FULL: Ask = Ask { kind: PassKind::Full, dry_run: false, allow_deletes: false };
pub const FULL_WITH_DELETES: Ask = Ask { allow_deletes: true, ..FULL };
pub const DRY: Ask = Ask { dry_run: true, ..FULL };
pub const INCREMENTAL: Ask = Ask { kind: PassKind::Incremental, ..FULL };

/// Clerk, and the copy.
pub struct Town {
    pub clerk: Shared,
    pub server: Server,
    pub db: TestStore,
    pub api: BackendApi,
    pub reconciler: Reconciler,
}

/// An empty instance. Keys take long to make and are not what is tested here.
pub fn instance(seed: u64) -> Instance {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let key = KEY.get_or_init(|| SigningKey::generate("ins_test").unwrap().to_pkcs8().unwrap());
    Instance::new(SigningKey::from_pkcs8("ins_test", key).unwrap(), seed, clock::now_ms())
}

impl Town {
    /// Both empty; pages are this long, and a call is tried again so often.
    pub async fn new(seed: u64, page_size: u32, retries: usize) -> Self {
        Self::over(Shared::new(instance(seed)), page_size, retries).await
    }

    pub async fn over(clerk: Shared, page_size: u32, retries: usize) -> Self {
        let server = Server::start(clerk.clone()).await.unwrap();
        let db = TestStore::in_memory().await;
        let api = client(&server, retries);
        let reconciler = Reconciler::new(db.store.clone(), api.clone(), None).with_page_size(page_size);
        Self { clerk, server, db, api, reconciler }
    }

    pub fn controls(&self) -> &Controls {
        self.server.controls()
    }

    /// So many users, each in the organization of the ten to which it belongs, each tenth with an invitation.
    /// Nobody is told.
    pub fn settle(&self, users: usize) {
        let mut clerk = self.clerk.lock();
        let mut organization = String::new();
        for number in 0..users {
            clerk.advance(1_234);
            let user =
                clerk.create_user(NewUser::named("User", &number.to_string(), &format!("u{number}@x.io")));
            if number % 10 == 0 {
                clerk.create_organization(&format!("Org {number}"), None).id().clone_into(&mut organization);
                clerk.invite(&organization, &format!("guest{number}@x.io"), "org:member", None).unwrap();
            }
            clerk.join(user.id(), &organization, "org:member", &Object::new()).unwrap();
        }
    }

    /// Tells of everything that has happened since this, or `Instance::take_events`, was last called.
    pub async fn deliver_all(&self) {
        let events = self.clerk.lock().take_events();
        for event in events {
            deliver(&self.db.store, &event).await;
        }
    }

    /// Runs a pass that nothing keeps from running.
    pub async fn pass(&self, ask: Ask) -> Finished {
        pass(&self.reconciler, ask).await
    }
}

pub async fn pass(reconciler: &Reconciler, ask: Ask) -> Finished {
    reconciler.run(ask, &CancellationToken::new(), &|_| {}).await.unwrap().expect("nobody else runs a pass")
}

pub fn client(server: &Server, retries: usize) -> BackendApi {
    let patience = Patience {
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
        retries,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(5),
    };
    client_with(server, patience)
}

pub fn client_with(server: &Server, patience: Patience) -> BackendApi {
    // No limit that a test could reach.
    let rate = 1_000_000;
    BackendApi::with_patience(&server.url(), SecretString::from(SECRET_KEY), rate, patience).unwrap()
}

/// Does with an event what the webhook does once its signature is checked.
pub async fn deliver(store: &Store, event: &Event) {
    let decoded = event::decode(event.envelope.to_string().as_bytes(), event.at_ms(), None).unwrap();
    let Decoded::Event(decoded) = decoded else { panic!("{} is not taken", event.event_type) };
    let subject = decoded.subject;
    let delivery = Delivery {
        message_id: event.message_id.clone(),
        event_type: subject.event_type,
        object_id: subject.object_id,
        user_id: subject.user_id,
        occurred_at_ms: subject.occurred_at_ms,
        received_at_ms: event.at_ms(),
        payload: subject.payload,
    };
    store.deliver(delivery, vec![decoded.change]).await.unwrap();
}
