// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine of kvssink: frames of several pads in, PutMedia bodies out, acks in.
//!
//! ```text
//! pads -> timeline -> fragmenter -> spool -> session ==> body of a PutMedia request
//!                                     ^  safe <- in flight <- acks, end of the response
//! ```
//!
//! **The law.** The machine does no I/O and reads no clock; one mutex guards it. After *every* call
//! that takes `now`, the caller
//! 1. calls [`Producer::poll_action`] until `None` and performs each action,
//! 2. calls [`Producer::poll_event`] until `None`,
//! 3. wakes the bodies that got [`Transmit::Wait`] and the pads that got [`PushOutcome::Full`],
//! 4. makes sure that [`Producer::handle_timeout`] is called at [`Producer::next_timeout`]: that
//!    time may have become earlier (arm a timer anew only then; a timer that fires early is fine).
//!
//! For every [`Action::OpenSession`] the caller ends with exactly one [`Producer::session_ended`],
//! also after [`Action::AbortSession`] and when the request was never sent.

mod api;
mod config;

pub use api::{
    Action, Drained, DropCause, Event, InputFrame, PadId, Payload, PushOutcome, SessionId, Stats,
    TrackDescription, Transmit, Warning,
};
pub use config::{Config, OnFull, Persistence, limit};

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    time::Monotonic,
    wire::{ServiceError, ack::AckEvent},
};

/// The machine. See the module for its law.
#[derive(Debug)]
pub struct Producer {
    config: Config,
}

#[expect(clippy::todo, unused_variables, reason = "signatures land first; bodies follow at once")]
impl Producer {
    /// A producer without pads.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// A new pad. `None`: there are [`limit::TRACKS`] already.
    pub fn add_pad(&mut self, now: Monotonic) -> Option<PadId> {
        todo!()
    }

    /// A pad's caps. A change starts a new session at the pad's next frame.
    pub fn set_track(&mut self, now: Monotonic, pad: PadId, track: TrackDescription) {
        todo!()
    }

    /// A pad is gone. What it pushed stays.
    pub fn remove_pad(&mut self, now: Monotonic, pad: PadId) {
        todo!()
    }

    /// One frame. Nothing is taken when the outcome is [`PushOutcome::Full`].
    pub fn push_frame(
        &mut self,
        now: Monotonic,
        pad: PadId,
        frame: &InputFrame<'_>,
    ) -> PushOutcome {
        todo!()
    }

    /// A pad has no frame before `until` (GAP event).
    pub fn gap(&mut self, now: Monotonic, pad: PadId, until: crate::time::Timestamp) {
        todo!()
    }

    /// A pad is at its end. When all are, the end begins: see [`Event::Drained`]. A frame pushed
    /// later takes it back.
    pub fn end_of_stream(&mut self, now: Monotonic, pad: PadId) {
        todo!()
    }

    /// FLUSH_STOP: the open fragment is completed and time is mapped anew. Nothing is discarded.
    pub fn flush(&mut self, now: Monotonic, pad: PadId) {
        todo!()
    }

    /// The end of everything without EOS (PAUSED to READY): completes the fragment and begins to
    /// drain.
    pub fn stop(&mut self, now: Monotonic) {
        todo!()
    }

    /// What DescribeStream said about retention.
    pub fn set_persistence(&mut self, now: Monotonic, persistence: Persistence) {
        todo!()
    }

    /// Whether a pad that got [`PushOutcome::Full`] may try again.
    pub fn has_room(&self) -> bool {
        todo!()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        todo!()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Monotonic> {
        todo!()
    }

    /// The next thing for the driver to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// Appends the next bytes of a session's body to `out`: several pieces, never many.
    pub fn poll_transmit(
        &mut self,
        now: Monotonic,
        session: SessionId,
        out: &mut VecDeque<Bytes>,
    ) -> Transmit {
        todo!()
    }

    /// The response head came: the service reads the body.
    pub fn session_started(&mut self, now: Monotonic, session: SessionId) {
        todo!()
    }

    /// An ack of a session.
    pub fn handle_ack(&mut self, now: Monotonic, session: SessionId, ack: AckEvent) {
        todo!()
    }

    /// A session is over: its response ended (`Ok`), or it failed or never came about (`Err`).
    pub fn session_ended(
        &mut self,
        now: Monotonic,
        session: SessionId,
        result: Result<(), ServiceError>,
    ) {
        todo!()
    }

    /// Counts.
    pub fn stats(&self) -> Stats {
        todo!()
    }
}
