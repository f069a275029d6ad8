//! The primary dies, and its replica is promoted; the address moves, as Patroni's or a cloud's does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::fleet::{Fleet, Story};
use crate::support::cluster::Cluster;

/// An address that leads to one server, and later to another.
struct Address {
    port: u16,
    target: Arc<AtomicU16>,
    moved: Arc<Notify>,
}

impl Address {
    async fn of(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(target));
        let moved = Arc::new(Notify::new());
        let (to, gone) = (target.clone(), moved.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, gone) = (to.load(Ordering::SeqCst), gone.clone());
                tokio::spawn(async move {
                    let moved = gone.notified();
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = moved => {}
                    }
                });
            }
        });
        Self { port, target, moved }
    }

    /// Cuts everybody off, and leads elsewhere.
    fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_has_everything_that_was_acknowledged() {
    let (mut primary, replica) = tokio::task::spawn_blocking(|| {
        let primary = Cluster::start(&["synchronous_commit=on"]);
        let replica = primary.replica();
        (primary, replica)
    })
    .await
    .unwrap();
    // From here on a commit waits until the replica has it.
    primary.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    primary.run("postgres", "SELECT pg_reload_conf()").await;
    let database = primary.database().await;
    let address = Address::of(primary.port).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", address.port);
    let fleet = Fleet::start(2, &url);
    let story = Story::new();
    let mut parts = story.parts(3);
    fleet.deliver(parts.next().unwrap()).await;
    let fail_over = async {
        tokio::task::spawn_blocking(move || primary.down()).await.unwrap();
        replica.run("postgres", "SELECT pg_promote()").await;
        address.lead_to(replica.port);
    };
    tokio::join!(fleet.deliver(parts.next().unwrap()), fail_over);
    fleet.deliver(parts.next().unwrap()).await;
    fleet.agree(&story, Duration::from_secs(1)).await;
    fleet.journal_has_all(&replica, &database, &story).await;
}
