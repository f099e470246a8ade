// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fragments of one session between their first byte and the answer that makes them safe.

use std::{collections::VecDeque, time::Duration};

use super::spool::Seq;
use crate::time::Monotonic;

/// A fragment that a session has begun to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) seq: Seq,
    /// Its cluster timestamp, by which acks name it.
    ticks: u64,
    /// When its first byte, and then when its last byte, was given to the body.
    since: Monotonic,
    /// Its last byte was.
    pub(super) complete: bool,
    buffering: bool,
    received: bool,
}

/// Ascending by `seq` and by ticks.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sent: VecDeque<Sent>,
    /// The number of fragments above which settled ones are looked for behind the front.
    sweep_above: usize,
}

/// What an ack may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Buffering,
    Received,
}

impl InFlight {
    pub(super) fn begin(&mut self, now: Monotonic, seq: Seq, ticks: u64) {
        let (buffering, received) = (false, false);
        self.sent.push_back(Sent { seq, ticks, since: now, complete: false, buffering, received });
    }

    /// The fragment begun last was given to the body as a whole.
    pub(super) fn complete(&mut self, now: Monotonic) {
        if let Some(last) = self.sent.back_mut() {
            (last.complete, last.since) = (true, now);
        }
    }

    /// The fragment an ack names.
    pub(super) fn find(&self, ticks: u64) -> Option<Sent> {
        let at = self.sent.binary_search_by_key(&ticks, |sent| sent.ticks).ok()?;
        self.sent.get(at).copied()
    }

    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.sent.binary_search_by_key(&seq, |sent| sent.seq).is_ok()
    }

    /// Remembers how far the service has come with a fragment.
    pub(super) fn reach(&mut self, ticks: u64, stage: Stage) {
        let Ok(at) = self.sent.binary_search_by_key(&ticks, |sent| sent.ticks) else { return };
        if let Some(sent) = self.sent.get_mut(at) {
            sent.buffering = true;
            sent.received |= stage == Stage::Received;
        }
    }

    /// Forgets the fragments that are settled.
    pub(super) fn retain(&mut self, unsettled: impl Fn(Seq) -> bool) {
        while self.sent.front().is_some_and(|sent| sent.complete && !unsettled(sent.seq)) {
            self.sent.pop_front();
        }
        // Those behind the front are looked at when their number has doubled: an ack must not cost
        // a walk over all that a far-off service has yet to answer.
        if self.sent.len() > self.sweep_above.max(64) {
            self.sent.retain(|sent| !sent.complete || unsettled(sent.seq));
            self.sweep_above = self.sent.len() * 2;
        }
    }

    /// The first fragment that the service has not received as a whole: the one it is reading.
    pub(super) fn reading(&self) -> Option<Sent> {
        self.sent.iter().find(|sent| !sent.received).copied()
    }

    /// Whether the service has begun to read every fragment.
    pub(super) fn all_read(&self) -> bool {
        self.sent.iter().all(|sent| sent.buffering)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Sent> + '_ {
        self.sent.iter().copied()
    }

    /// When an answer becomes overdue: some fragment has not begun to arrive, nothing having been
    /// heard since `heard`; or a whole one was sent twice as long ago and is not safe.
    pub(super) fn overdue_at(&self, heard: Monotonic, patience: Duration) -> Option<Monotonic> {
        let quiet = self
            .sent
            .iter()
            .find(|sent| sent.complete || !sent.buffering)
            .map(|sent| sent.since.max(heard) + patience);
        let unsafe_since = self.sent.iter().find(|sent| sent.complete).map(|sent| sent.since);
        let lost = unsafe_since.map(|since| since + patience.saturating_mul(2));
        [quiet, lost].into_iter().flatten().min()
    }
}
