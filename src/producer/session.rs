// SPDX-License-Identifier: MIT OR Apache-2.0
//! One PutMedia request: which fragments its body carries, and when it ends.
//!
//! ```text
//! sending --(other head, age, end of input)--> retiring --(all safe)--> ended --> gone
//!    \------------------------(error, overdue, rollback)--------------> dead ---> gone
//! ```
//! A retiring session has sent END_OF_FRAGMENT and keeps its body open until its last fragment is
//! safe; meanwhile its successor may send. *Gone* is when the caller says so.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    api::{SessionId, Transmit},
    config::Config,
    in_flight::InFlight,
    spool::{Seq, Spool},
};
use crate::{
    mkv::writer::{self, DocumentHeader},
    time::Monotonic,
};

/// Bytes given to a body in one call, about.
const BATCH_BYTES: usize = 256 << 10;
/// Pieces given to a body in one call.
const BATCH_PIECES: usize = 32;

/// Where a session stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Fragments follow.
    Sending,
    /// Nothing follows.
    Retiring,
    /// The body ended, at this time.
    Ended(Monotonic),
    /// Given up.
    Dead,
}

/// What a session is told when it is asked for bytes.
pub(super) struct Orders<'a> {
    pub(super) now: Monotonic,
    pub(super) config: &'a Config,
    /// No further frame comes.
    pub(super) draining: bool,
    /// The session should make room for a successor at the next cut.
    pub(super) rotate: bool,
    /// Fragments are safe only when the response ends.
    pub(super) until_end: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    head: u64,
    segment_uuid: [u8; 16],
    pub(super) state: State,
    pub(super) opened: Monotonic,
    /// When the service was heard last.
    pub(super) heard: Monotonic,
    pub(super) in_flight: InFlight,
    header_sent: bool,
    /// The fragment being sent, or the first one that may be next.
    pub(super) next: Seq,
    /// Pieces of `next` that were sent; `None`: it has not begun.
    pieces: Option<usize>,
    /// The last fragment was followed by END_OF_FRAGMENT.
    end_marked: bool,
    /// When the body took bytes without having come back for more.
    taken: Option<Monotonic>,
}

impl Session {
    pub(super) fn new(
        id: SessionId,
        head: u64,
        segment_uuid: [u8; 16],
        next: Seq,
        now: Monotonic,
    ) -> Self {
        Self {
            id,
            head,
            segment_uuid,
            state: State::Sending,
            opened: now,
            heard: now,
            in_flight: InFlight::default(),
            header_sent: false,
            next,
            pieces: None,
            end_marked: true,
            taken: None,
        }
    }

    /// Its request is open as far as this side is concerned.
    pub(super) fn live(&self) -> bool {
        self.state != State::Dead
    }

    /// Its body has carried bytes.
    pub(super) fn begun(&self) -> bool {
        self.header_sent
    }

    /// The fragment whose bytes it needs.
    pub(super) fn midway(&self) -> Option<Seq> {
        self.pieces.map(|_| self.next)
    }

    /// Gives it up. Its fragments are no longer on their way.
    pub(super) fn kill(&mut self, spool: &mut Spool) {
        if self.pieces.take().is_some() {
            spool.end_sending(self.next);
        }
        self.state = State::Dead;
    }

    /// Whether all it sent is safe, or dropped.
    pub(super) fn settled(&self, spool: &Spool) -> bool {
        let unsettled = |seq| spool.get(seq).is_some_and(|fragment| !fragment.settled());
        self.pieces.is_none() && !self.in_flight.iter().any(|sent| unsettled(sent.seq))
    }

    /// The fragment it is sending was declared anew: the service must not see it end.
    pub(super) fn outdated(&self, spool: &Spool) -> bool {
        let midway = self.midway().and_then(|seq| spool.get(seq));
        midway.is_some_and(|fragment| fragment.head.id != self.head)
    }

    /// When an answer becomes overdue. Without acks only the end of the response is one, and that the
    /// body comes back for more.
    pub(super) fn overdue_at(&self, patience: Duration, acks: bool) -> Option<Monotonic> {
        match self.state {
            State::Sending | State::Retiring if !acks => self.taken.map(|at| at + patience),
            State::Sending | State::Retiring => self.in_flight.overdue_at(self.heard, patience),
            State::Ended(at) => Some(at.max(self.heard) + patience),
            State::Dead => None,
        }
    }

    /// Appends the next bytes of the body to `out`.
    pub(super) fn transmit(
        &mut self,
        orders: &Orders<'_>,
        spool: &mut Spool,
        out: &mut VecDeque<Bytes>,
    ) -> (Transmit, usize) {
        let (before, mut bytes) = (out.len(), 0);
        while out.len() - before < BATCH_PIECES && bytes < BATCH_BYTES {
            let pieces = out.len();
            if !self.step(orders, spool, out) {
                break;
            }
            bytes += out.iter().skip(pieces).map(Bytes::len).sum::<usize>();
        }
        self.taken = (out.len() > before).then_some(orders.now);
        if self.taken.is_some() {
            return (Transmit::Data, bytes);
        }
        if self.state == State::Retiring && (orders.until_end || self.settled(spool)) {
            self.state = State::Ended(orders.now);
        }
        let ended = matches!(self.state, State::Ended(_));
        (if ended { Transmit::End } else { Transmit::Wait }, 0)
    }

    /// One step through the body; false when there is nothing to do now.
    fn step(&mut self, orders: &Orders<'_>, spool: &mut Spool, out: &mut VecDeque<Bytes>) -> bool {
        let Some(index) = self.pieces else { return self.begin(orders, spool, out) };
        if let Some(piece) = spool.piece(self.next, index) {
            self.pieces = Some(index + 1);
            out.push_back(piece);
            return true;
        }
        let Some(fragment) = spool.get(self.next).filter(|fragment| fragment.complete) else {
            return false;
        };
        self.end_marked = fragment.end_mark;
        if fragment.end_mark {
            out.push_back(writer::end_of_fragment());
        }
        self.in_flight.complete(orders.now);
        self.pieces = None;
        spool.end_sending(self.next);
        self.next += 1;
        true
    }

    /// Begins the next fragment, or the end.
    fn begin(&mut self, orders: &Orders<'_>, spool: &mut Spool, out: &mut VecDeque<Bytes>) -> bool {
        if self.state != State::Sending {
            return false;
        }
        let next = spool.next_unsettled(self.next);
        let fragment = next.and_then(|seq| Some((seq, spool.get(seq)?)));
        let rotate = orders.rotate && self.header_sent;
        match fragment {
            Some((seq, fragment)) if fragment.head.id == self.head && !rotate => {
                let (ticks, head) = (fragment.ticks, fragment.head.clone());
                if !self.header_sent {
                    self.header_sent = true;
                    out.push_back(writer::document_header(&DocumentHeader {
                        scale: orders.config.scale,
                        tracks: &head.tracks,
                        application: &orders.config.application,
                        segment_uuid: self.segment_uuid,
                    }));
                }
                out.push_back(writer::cluster_start(ticks));
                spool.begin_sending(seq);
                (self.next, self.pieces) = (seq, Some(0));
                self.in_flight.begin(orders.now, seq, ticks);
                true
            }
            None if !orders.draining && !rotate => self.mark_end(out),
            _ => {
                self.state = State::Retiring;
                self.mark_end(out);
                true
            }
        }
    }

    /// Nothing follows for now: without this the last fragment would not be complete. False when
    /// that was said already.
    fn mark_end(&mut self, out: &mut VecDeque<Bytes>) -> bool {
        let mark = !std::mem::replace(&mut self.end_marked, true);
        if mark {
            out.push_back(writer::end_of_fragment());
        }
        mark
    }
}
