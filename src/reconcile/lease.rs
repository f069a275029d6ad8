//! One pass at a time, over every process that works on the database: the lease that a pass holds while it runs.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::clock;
use crate::store::{Store, StoreError};
use crate::telemetry::causes;

/// How long a holder that has died keeps others out.
const LASTS: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(4);
/// How long a renewal may take.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(3);
/// How often whoever waits for it looks.
const MOMENT: Duration = Duration::from_millis(500);

/// Whoever has, or wants, the lease. Each run of a pass is a holder of its own.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    store: Store,
    name: String,
}

impl Holder {
    pub(super) fn new(store: Store, name: String) -> Self {
        Self { store, name }
    }

    /// Takes the lease, and keeps it until it is given back; `None` when somebody else has it. `stop` is told when it is
    /// lost.
    pub(super) async fn take(self, stop: &CancellationToken) -> Result<Option<Lease>, StoreError> {
        let asked = Instant::now();
        Ok(self.begin().await?.then(|| self.keep(asked, stop.clone())))
    }

    /// The same, and waits for one that nobody renews: its holder has died. `None` too when it is told to stop.
    pub(super) async fn wait(self, stop: &CancellationToken) -> Result<Option<Lease>, StoreError> {
        let began = Instant::now();
        let end = self.store.lease_end().await?;
        while began.elapsed() < LASTS + RENEWAL {
            // Who lives renews it. Who has just given it back has left nothing.
            if self.store.lease_end().await?.is_some_and(|now| Some(now) != end) {
                break;
            }
            if stop.run_until_cancelled(tokio::time::sleep(MOMENT)).await.is_none() {
                break;
            }
            let asked = Instant::now();
            if self.begin().await? {
                return Ok(Some(self.keep(asked, stop.clone())));
            }
        }
        Ok(None)
    }

    /// Takes it if nobody has it. Looks first: whoever has it may write one page after the other, and with a file the attempt
    /// would have to wait for a gap.
    async fn begin(&self) -> Result<bool, StoreError> {
        let now_ms = self.store.lease_clock_ms(clock::now_ms()).await?;
        Ok(!self.store.is_pass_under_way(now_ms).await? && self.renew().await?)
    }

    async fn renew(&self) -> Result<bool, StoreError> {
        let now_ms = self.store.lease_clock_ms(clock::now_ms()).await?;
        let lasts_ms = i64::try_from(LASTS.as_millis()).unwrap_or(i64::MAX);
        self.store.take_lease(&self.name, now_ms, now_ms.saturating_add(lasts_ms)).await
    }

    fn keep(self, renewed: Instant, stop: CancellationToken) -> Lease {
        let lost = CancellationToken::new();
        // Not even a panic may leave it beating.
        let heart = tokio::spawn(self.clone().beat(renewed, stop, lost.clone()));
        Lease { holder: self, lost, heart: AbortOnDropHandle::new(heart) }
    }

    /// Renews it while a pass runs; stops the pass when it is lost, or would be before the next renewal is sure.
    async fn beat(self, mut renewed: Instant, stop: CancellationToken, lost: CancellationToken) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let asked = Instant::now();
            match timeout(RENEWAL_PATIENCE, self.renew()).await.unwrap_or(Err(StoreError::Timeout)) {
                Ok(true) => renewed = asked,
                Ok(false) => break,
                Err(error) => {
                    warn!(error = %causes(&error), "the lease was not renewed");
                    if renewed.elapsed() + RENEWAL + RENEWAL_PATIENCE > LASTS {
                        break;
                    }
                }
            }
        }
        lost.cancel();
        stop.cancel();
    }
}

/// The lease, renewed while this lives.
pub(super) struct Lease {
    holder: Holder,
    lost: CancellationToken,
    heart: AbortOnDropHandle<()>,
}

impl Lease {
    /// Cancelled when somebody else may have it.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    pub(super) async fn give_back(self) {
        let Self { holder, lost, heart } = self;
        heart.abort();
        // A renewal under way must not come after the release.
        let _ = heart.await;
        if !lost.is_cancelled()
            && let Err(error) = holder.store.release_lease(&holder.name).await
        {
            warn!(error = %causes(&error), "the lease was not given back; it ends by itself");
        }
    }
}
