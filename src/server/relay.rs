// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragments on their way from producers to consumers and to the store.
//!
//! A [`Hub`] per stream holds the fragments that are in progress, and those that are complete and
//! not yet stored. Numbers are given out under its lock, so that whoever has seen a number knows
//! that no lower one is still to come: consumers walk the numbers in order, across overlapping
//! sessions, and never miss one.
//!
//! ```text
//! session: begin -> push ... -> complete -> (stored) leave
//!                           \-> cut -> leave
//! ```
//!
//! Memory is bounded by the producers' sessions, which wait for the store, and by one fragment per
//! consumer: whoever is slower than that reads the stored fragments instead.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::store::{FragmentMeta, Number, Store, StoreError, Stream};
use crate::time::{Monotonic, Timestamp};

/// A producer silent for this long gives its place to a new one: its connection is probably dead.
const STALE_SESSION: Duration = Duration::from_secs(5);

/// The hubs of all streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relay(Arc<Mutex<HashMap<u64, Weak<Hub>>>>);

impl Relay {
    /// The hub of a stream. It lives for as long as somebody uses it.
    pub(crate) fn hub(&self, stream: &Stream) -> Arc<Hub> {
        let mut hubs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = hubs.get(&stream.id()).and_then(Weak::upgrade) {
            return hub;
        }
        hubs.retain(|_, hub| hub.strong_count() > 0);
        let hub = Arc::new(Hub::new(stream.clone()));
        hubs.insert(stream.id(), Arc::downgrade(&hub));
        hub
    }
}

/// The fragments of one stream that are not stored yet, and who sends them.
#[derive(Debug)]
pub(crate) struct Hub {
    stream: Stream,
    state: Mutex<HubState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct HubState {
    fragments: BTreeMap<Number, Arc<Live>>,
    /// The highest number given out here.
    last: Option<Number>,
    sessions: Vec<Arc<Slot>>,
}

/// What a consumer gets next.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// In progress, or complete and not stored yet.
    Live(Arc<Live>),
    /// Stored.
    Stored(FragmentMeta),
}

impl Next {
    pub(crate) fn number(&self) -> Number {
        match self {
            Self::Live(live) => live.number,
            Self::Stored(meta) => meta.number,
        }
    }
}

/// Every place for a producer is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} PutMedia sessions of this stream are open already: end one, then try again")]
pub(crate) struct TooManyProducers(usize);

impl Hub {
    fn new(stream: Stream) -> Self {
        Self { stream, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a producer's place; one that has been silent for a while gives up its own.
    pub(crate) fn open_session(
        self: &Arc<Self>,
        places: usize,
        now: Monotonic,
    ) -> Result<Session, TooManyProducers> {
        let mut state = self.state();
        if state.sessions.len() >= places {
            let stale = state.sessions.iter().position(|s| s.silence(now) >= STALE_SESSION);
            let Some(stale) = stale else { return Err(TooManyProducers(places)) };
            state.sessions.remove(stale).replaced.notify_one();
        }
        let slot =
            Arc::new(Slot { heard: AtomicU64::new(now.as_nanos()), replaced: Notify::new() });
        state.sessions.push(slot.clone());
        drop(state);
        Ok(Session { hub: self.clone(), slot, open: None })
    }

    /// The fragment after `number`, whether live or stored.
    pub(crate) fn next_after(
        &self,
        store: &Store,
        number: Number,
    ) -> Result<Option<Next>, StoreError> {
        // Live ones first: what leaves between the two looks is stored by then.
        let live = {
            let state = self.state();
            let after = (std::ops::Bound::Excluded(number), std::ops::Bound::Unbounded);
            state.fragments.range(after).next().map(|(_, live)| live.clone())
        };
        let stored = store.next_after(&self.stream, number)?;
        Ok(match (live, stored) {
            (Some(live), Some(stored)) if stored.number < live.number => Some(Next::Stored(stored)),
            (Some(live), _) => Some(Next::Live(live)),
            (None, stored) => stored.map(Next::Stored),
        })
    }

    /// Fragments that are live, in the order of their numbers.
    pub(crate) fn live(&self) -> Vec<Arc<Live>> {
        self.state().fragments.values().cloned().collect()
    }

    /// The highest number that was given out, if one was since this hub exists.
    pub(crate) fn last(&self) -> Option<Number> {
        self.state().last
    }

    /// Resolves at the next change after this call: a fragment begins or leaves.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.changed.notified()
    }

    fn begin(&self, start: Start) -> Arc<Live> {
        let mut state = self.state();
        let live = Arc::new(Live::new(self.stream.next_number(start.server), start));
        state.last = Some(live.number);
        state.fragments.insert(live.number, live.clone());
        drop(state);
        self.changed.notify_waiters();
        live
    }

    /// A fragment is stored or lost: it is not live any more.
    fn leave(&self, number: Number) {
        self.state().fragments.remove(&number);
        self.changed.notify_waiters();
    }
}

/// A producer's place.
#[derive(Debug)]
struct Slot {
    /// When bytes arrived last, on the monotonic clock in ns.
    heard: AtomicU64,
    replaced: Notify,
}

impl Slot {
    fn silence(&self, now: Monotonic) -> Duration {
        now.saturating_since(Monotonic::from_nanos(self.heard.load(Ordering::Relaxed)))
    }
}

/// What is known of a fragment when it begins.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// When its first byte arrived.
    pub(crate) server: Timestamp,
    /// The producer's time of its Cluster.
    pub(crate) producer: Timestamp,
    /// The Cluster's timestamp in ticks.
    pub(crate) timecode: u64,
    /// The bytes before the place of the service's tags.
    pub(crate) head: Bytes,
}

/// A producer's session: its place, and the fragment it is sending. Dropping it cuts that.
#[derive(Debug)]
pub(crate) struct Session {
    hub: Arc<Hub>,
    slot: Arc<Slot>,
    open: Option<Arc<Live>>,
}

impl Session {
    /// Bytes arrived.
    pub(crate) fn heard(&self, now: Monotonic) {
        self.slot.heard.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Resolves when another producer took this one's place.
    pub(crate) async fn replaced(&self) {
        self.slot.replaced.notified().await;
    }

    /// The fragment in progress.
    pub(crate) fn open(&self) -> Option<&Arc<Live>> {
        self.open.as_ref()
    }

    /// Begins a fragment; consumers see it from now on.
    pub(crate) fn begin(&mut self, start: Start) -> Arc<Live> {
        self.cut();
        let live = self.hub.begin(start);
        self.open = Some(live.clone());
        live
    }

    /// Adds to the fragment in progress.
    pub(crate) fn push(&self, piece: Bytes) {
        if let Some(live) = &self.open {
            live.push(piece);
        }
    }

    /// Completes the fragment in progress. It stays live until the guard is dropped.
    pub(crate) fn complete(&mut self, length_ms: u32) -> Option<Completed> {
        let live = self.open.take()?;
        let (meta, pieces) = live.complete(length_ms);
        Some(Completed { hub: self.hub.clone(), meta, pieces })
    }

    /// Gives up the fragment in progress: it is not stored, and whoever relays it ends.
    pub(crate) fn cut(&mut self) {
        if let Some(live) = self.open.take() {
            self.hub.leave(live.number);
            live.end(Phase::Cut);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cut();
        self.hub.state().sessions.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
    }
}

/// A complete fragment on its way to the store. Drop it when it is there.
#[derive(Debug)]
pub(crate) struct Completed {
    hub: Arc<Hub>,
    /// What is known of it.
    pub(crate) meta: FragmentMeta,
    /// Its bytes.
    pub(crate) pieces: Vec<Bytes>,
}

impl Drop for Completed {
    fn drop(&mut self) {
        self.hub.leave(self.meta.number);
    }
}

/// A fragment that is not stored yet.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its number.
    pub(crate) number: Number,
    /// What was known at its start.
    pub(crate) start: Start,
    grown: Mutex<Grown>,
    changed: Notify,
}

#[derive(Debug)]
struct Grown {
    body: Vec<Bytes>,
    phase: Phase,
}

/// How far a live fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// More may come.
    Growing,
    /// All of it is there.
    Complete {
        /// First to last frame.
        length_ms: u32,
    },
    /// Nothing more comes, and what there is is worth nothing.
    Cut,
}

impl Live {
    fn new(number: Number, start: Start) -> Self {
        let grown = Grown { body: Vec::new(), phase: Phase::Growing };
        Self { number, start, grown: Mutex::new(grown), changed: Notify::new() }
    }

    fn grown(&self) -> MutexGuard<'_, Grown> {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, piece: Bytes) {
        self.grown().body.push(piece);
        self.changed.notify_waiters();
    }

    fn end(&self, phase: Phase) {
        self.grown().phase = phase;
        self.changed.notify_waiters();
    }

    fn complete(&self, length_ms: u32) -> (FragmentMeta, Vec<Bytes>) {
        self.end(Phase::Complete { length_ms });
        let body = self.grown().body.clone();
        let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let meta = FragmentMeta {
            number: self.number,
            server: self.start.server,
            producer: self.start.producer,
            length_ms,
            timecode: self.start.timecode,
            head_len: len(self.start.head.len()),
            body_len: len(body.iter().map(Bytes::len).sum()),
        };
        let mut pieces = vec![self.start.head.clone()];
        pieces.extend(body);
        (meta, pieces)
    }

    /// How far it is.
    pub(crate) fn phase(&self) -> Phase {
        self.grown().phase
    }

    /// The pieces of the body from the one numbered `from` on, and how far the fragment is.
    pub(crate) fn body_from(&self, from: usize) -> (Vec<Bytes>, Phase) {
        let grown = self.grown();
        (grown.body.get(from..).unwrap_or_default().to_vec(), grown.phase)
    }

    /// Resolves at the next change after this call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests;
