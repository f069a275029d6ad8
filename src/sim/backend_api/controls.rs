//! What a test may turn, and what it may see: who asked for what.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio::time::Instant;

use super::SECRET_KEY;
use super::fault::Fault;
use super::lists::Orders;
use super::rate::RateLimit;
use crate::sim::Instance;

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its number, from 1.
    pub number: usize,
    /// `GET`
    pub method: String,
    /// With `/v1`.
    pub path: String,
    /// Decoded, in its order.
    pub query: Vec<(String, String)>,
}

impl Asked {
    /// The first value of a parameter.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The decoded parts of the path behind `/v1`.
    pub(super) fn segments(&self) -> Vec<String> {
        let parts = self.path.split('/').filter(|part| !part.is_empty()).skip(1);
        parts.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
    }
}

/// What becomes of `starting_after` when that user is gone. Clerk does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LostCursor {
    /// 422.
    #[default]
    Refused,
    /// An empty page: the walk seems to be over.
    EmptyPage,
    /// The users who come after it, as if it were there.
    GoesOn,
}

type ChooseFault = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;
type ChooseHeld = Box<dyn FnMut(&Asked) -> bool + Send>;
type Between = Box<dyn FnMut(&Asked, &mut Instance) + Send>;

/// The knobs and the log of one server. Clones turn the same knobs.
#[derive(Clone, Default)]
pub struct Controls(Arc<Mutex<Inner>>);

struct Inner {
    secret_key: String,
    limit: Option<RateLimit>,
    latency: Duration,
    lost_cursor: LostCursor,
    knows_no_cursors: bool,
    /// By the number of the request.
    faults: BTreeMap<usize, Fault>,
    choose: Option<ChooseFault>,
    between: Option<Between>,
    /// Which requests are held, and what lets them go when it is dropped.
    held: Option<(ChooseHeld, watch::Sender<()>)>,
    asked: usize,
    log: Vec<Asked>,
    orders: Orders,
    /// The last users of the pages that were served, and when they were made.
    cursors: HashMap<String, i64>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            secret_key: SECRET_KEY.to_owned(),
            limit: None,
            latency: Duration::ZERO,
            lost_cursor: LostCursor::default(),
            knows_no_cursors: false,
            faults: BTreeMap::new(),
            choose: None,
            between: None,
            held: None,
            asked: 0,
            log: Vec::new(),
            orders: Orders::default(),
            cursors: HashMap::new(),
        }
    }
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls").field("asked", &self.lock().asked).finish_non_exhaustive()
    }
}

impl Controls {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this key is the right one.
    pub fn set_secret_key(&self, key: &str) {
        key.clone_into(&mut self.lock().secret_key);
    }

    /// From now on `starting_after` is passed over, as by a server that does not know it.
    pub fn forget_cursors(&self) {
        self.lock().knows_no_cursors = true;
    }

    /// Begins to count, or stops. There is no limit at first.
    pub fn set_limit(&self, requests_per_10s: Option<usize>) {
        self.lock().limit = requests_per_10s.map(RateLimit::new);
    }

    /// Every answer takes this long.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// What becomes of a cursor whose user is gone.
    pub fn set_lost_cursor(&self, lost_cursor: LostCursor) {
        self.lock().lost_cursor = lost_cursor;
    }

    /// The request of this number (the first is 1) goes wrong.
    pub fn fail_at(&self, number: usize, fault: Fault) {
        self.lock().faults.insert(number, fault);
    }

    /// The next so many requests go wrong.
    pub fn fail_next(&self, count: usize, fault: &Fault) {
        let mut inner = self.lock();
        let next = inner.asked + 1;
        inner.faults.extend((next..next + count).map(|number| (number, fault.clone())));
    }

    /// Every request for which this gives a fault goes wrong.
    pub fn fail_when(&self, choose: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        self.lock().choose = Some(Box::new(choose));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut inner = self.lock();
        inner.faults.clear();
        inner.choose = None;
    }

    /// Before each request is answered this may change the truth, and turn the other knobs.
    pub fn before_each(&self, between: impl FnMut(&Asked, &mut Instance) + Send + 'static) {
        self.lock().between = Some(Box::new(between));
    }

    /// From now on these requests wait for their answers until [`Self::release`].
    pub fn hold_when(&self, choose: impl FnMut(&Asked) -> bool + Send + 'static) {
        self.lock().held = Some((Box::new(choose), watch::Sender::new(())));
    }

    /// Answers what was held, and holds nothing any more.
    pub fn release(&self) {
        self.lock().held = None;
    }

    /// What a request has to wait for: the end of the channel.
    pub(super) fn held(&self, asked: &Asked) -> Option<watch::Receiver<()>> {
        let mut inner = self.lock();
        let (choose, release) = inner.held.as_mut()?;
        choose(asked).then(|| release.subscribe())
    }

    /// Nothing happens between the requests any more.
    pub fn calm(&self) {
        self.lock().between = None;
    }

    /// Everything that was asked since this was last called.
    pub fn take_log(&self) -> Vec<Asked> {
        std::mem::take(&mut self.lock().log)
    }

    /// How many requests came in.
    pub fn asked(&self) -> usize {
        self.lock().asked
    }

    /// Notes a request, lets happen what is to happen before it, and says how it will go.
    pub(super) fn ask(
        &self,
        method: &Method,
        uri: &Uri,
        instance: &mut Instance,
    ) -> (Asked, Option<Fault>, Duration) {
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let mut inner = self.lock();
        inner.asked += 1;
        let asked = Asked {
            number: inner.asked,
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: query.into_owned().collect(),
        };
        inner.log.push(asked.clone());
        let planned = inner.faults.remove(&asked.number);
        let latency = inner.latency;
        // Whoever is called may turn the knobs, so the lock is not held meanwhile.
        let (mut choose, mut between) = (inner.choose.take(), inner.between.take());
        drop(inner);
        let chosen = choose.as_mut().and_then(|choose| choose(&asked));
        if let Some(between) = &mut between {
            between(&asked, instance);
        }
        let mut inner = self.lock();
        inner.choose = inner.choose.take().or(choose);
        inner.between = inner.between.take().or(between);
        (asked, planned.or(chosen), latency)
    }

    pub(super) fn admit(&self) -> Result<(), Duration> {
        self.lock().limit.as_mut().map_or(Ok(()), |limit| limit.admit(Instant::now()))
    }

    pub(super) fn secret_key(&self) -> String {
        self.lock().secret_key.clone()
    }

    pub(super) fn knows_no_cursors(&self) -> bool {
        self.lock().knows_no_cursors
    }

    pub(super) fn lost_cursor(&self) -> LostCursor {
        self.lock().lost_cursor
    }

    /// Works on the remembered orders of the lists.
    pub(super) fn with_orders<T>(&self, work: impl FnOnce(&mut Orders) -> T) -> T {
        work(&mut self.lock().orders)
    }

    pub(super) fn remember_cursor(&self, user_id: &str, created_at_ms: i64) {
        self.lock().cursors.insert(user_id.to_owned(), created_at_ms);
    }

    /// When the user of a cursor was made, if it was served once.
    pub(super) fn remembered_cursor(&self, user_id: &str) -> Option<i64> {
        self.lock().cursors.get(user_id).copied()
    }
}
