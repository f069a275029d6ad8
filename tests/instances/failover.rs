//! The primary dies, and its replica is promoted; the address moves, as Patroni's or a cloud's does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use roster::config::Database;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::fleet::{Fleet, Story};
use crate::support::cluster::Cluster;
use crate::support::site::Site;

/// An address that leads to one server, and later to another.
struct Address {
    port: u16,
    target: Arc<AtomicU16>,
    moved: Arc<Notify>,
    silent: Arc<AtomicBool>,
}

impl Address {
    async fn of(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(target));
        let moved = Arc::new(Notify::new());
        let silent = Arc::new(AtomicBool::new(false));
        let (to, gone, mute) = (target.clone(), moved.clone(), silent.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, gone, mute) = (to.load(Ordering::SeqCst), gone.clone(), mute.clone());
                tokio::spawn(async move {
                    let moved = gone.notified();
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = moved => {}
                    }
                    if mute.load(Ordering::SeqCst) {
                        // Nobody is told that nothing comes any more.
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { port, target, moved, silent }
    }

    /// Cuts everybody off, and leads elsewhere.
    fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    /// Takes nothing on for those who are connected, and does not tell them.
    fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fall_silent_are_left_for_new_ones() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap();
    let database = cluster.database().await;
    let address = Address::of(cluster.port).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", address.port);
    let site = Site::start_with(|config| config.database = Database::Postgres(url.into())).await;
    let story = Story::new();
    assert_eq!(site.deliver(&story.events[0]).await, "200 applied");
    // After a rest the connection has to show that it is alive before anything is written.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    address.fall_silent();
    assert_eq!(site.deliver(&story.events[1]).await, "200 applied");
    address.fall_silent();
    // Nobody knows whether it was written, so Clerk's sender has to repeat it.
    assert_eq!(site.deliver(&story.events[2]).await, "503 UNAVAILABLE");
    assert!(site.deliver(&story.events[2]).await.starts_with("200"));
    site.stop().await;
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
