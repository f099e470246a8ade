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
//! 3. wakes the bodies that got [`Transmit::Wait`] (not after [`Producer::poll_transmit`]: two
//!    waiting bodies would wake each other for ever) and, when [`Producer::has_room`] says so, the
//!    pads that got [`PushOutcome::Full`],
//! 4. makes sure that [`Producer::handle_timeout`] is called at [`Producer::next_timeout`]: that
//!    time may have become earlier (arm a timer anew only then; a timer that fires early is fine).
//!
//! For every [`Action::OpenSession`] the caller ends with exactly one [`Producer::session_ended`],
//! also after [`Action::AbortSession`] and when the request was never sent.

mod api;
mod config;
mod delivery;
mod fragmenter;
mod in_flight;
mod intake;
mod membership;
mod outbox;
mod pad;
mod placement;
mod session;
mod spool;
mod timeline;
mod waiting;

use std::collections::VecDeque;

use bytes::Bytes;

pub use self::{
    api::{
        Action, Drained, DropCause, Event, InputFrame, PadId, Payload, PushOutcome, SessionId,
        Stats, TrackDescription, Transmit, Warning,
    },
    config::{Config, OnFull, Persistence, limit},
};
use self::{delivery::Delivery, intake::Intake, outbox::Outbox, spool::Spool};
use crate::{
    time::{Monotonic, Timestamp},
    wire::{ServiceError, ack::AckEvent},
};

/// What the parts work on.
struct Env<'a> {
    now: Monotonic,
    config: &'a Config,
    spool: &'a mut Spool,
    out: &'a mut Outbox,
}

/// The machine. See the module for its law.
#[derive(Debug)]
pub struct Producer {
    config: Config,
    intake: Intake,
    spool: Spool,
    delivery: Delivery,
    out: Outbox,
}

impl Producer {
    /// A producer without pads.
    pub fn new(config: Config) -> Self {
        Self {
            intake: Intake::new(&config),
            spool: Spool::default(),
            delivery: Delivery::new(&config),
            out: Outbox::default(),
            config,
        }
    }

    /// A new pad. `None`: there are [`limit::TRACKS`] already.
    pub fn add_pad(&mut self, now: Monotonic) -> Option<PadId> {
        self.take_in(now, |intake, _| intake.add_pad())
    }

    /// A pad's caps. A change that matters starts a new session at the pad's next frame.
    pub fn set_track(&mut self, now: Monotonic, pad: PadId, track: TrackDescription) {
        self.take_in(now, |intake, env| intake.set_track(env, pad, track));
    }

    /// A pad is gone. What it pushed stays.
    pub fn remove_pad(&mut self, now: Monotonic, pad: PadId) {
        self.take_in(now, |intake, env| intake.remove_pad(env, pad));
        self.drain_when_ended(now);
    }

    /// One frame. Nothing is taken when the outcome is [`PushOutcome::Full`].
    pub fn push_frame(
        &mut self,
        now: Monotonic,
        pad: PadId,
        frame: &InputFrame<'_>,
    ) -> PushOutcome {
        if self.delivery.failed() {
            self.out.refuse(DropCause::Stopped, 1, frame.payload.len() as u64);
            self.out.report_drops(now, false);
            return PushOutcome::Dropped(DropCause::Stopped);
        }
        let outcome = self.take_in(now, |intake, env| intake.push(env, pad, frame));
        if outcome == PushOutcome::Accepted {
            self.delivery.cancel_drain();
        }
        outcome
    }

    /// A pad has no frame before `until` (GAP event), mapped as [`InputFrame::time`] is.
    pub fn gap(&mut self, now: Monotonic, pad: PadId, until: Timestamp) {
        self.take_in(now, |intake, env| intake.gap(env, pad, until));
    }

    /// A pad is at its end. When all are, the end begins: see [`Event::Drained`]. A frame pushed
    /// later takes it back.
    pub fn end_of_stream(&mut self, now: Monotonic, pad: PadId) {
        self.take_in(now, |intake, env| intake.end_of_stream(env, pad));
        self.drain_when_ended(now);
    }

    fn drain_when_ended(&mut self, now: Monotonic) {
        if self.intake.all_ended() {
            self.stop(now);
        }
    }

    /// FLUSH_STOP of a pad: the open fragment is completed, and the times that follow may start
    /// anywhere. Nothing is discarded.
    pub fn flush(&mut self, now: Monotonic, pad: PadId) {
        self.take_in(now, |intake, env| intake.flush(env, pad));
    }

    /// The end of everything without EOS (PAUSED to READY): completes the fragment and begins to
    /// drain.
    pub fn stop(&mut self, now: Monotonic) {
        self.take_in(now, |intake, env| intake.end_fragment(env));
        self.deliver(now, |delivery, env| {
            delivery.begin_drain(env);
            delivery.plan(env);
        });
    }

    /// What makes a fragment safe, once DescribeStream has told the stream's retention.
    pub fn set_persistence(&mut self, now: Monotonic, persistence: Persistence) {
        self.config.persistence = persistence;
        self.deliver(now, |delivery, env| delivery.plan(env));
    }

    /// Whether a pad that got [`PushOutcome::Full`] should try again.
    pub fn has_room(&self) -> bool {
        self.delivery.failed() || self.intake.has_room(&self.config, &self.spool)
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        self.take_in(now, |intake, env| intake.handle_timeout(env));
        self.deliver(now, |delivery, env| delivery.handle_timeout(env));
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Monotonic> {
        let intake = self.intake.next_timeout(&self.config, &self.spool);
        let delivery = self.delivery.next_timeout(&self.config, &self.spool);
        [intake, delivery, self.out.next_timeout()].into_iter().flatten().min()
    }

    /// The next thing for the driver to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.poll_action()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.poll_event()
    }

    /// Appends the next bytes of a session's body to `out`: a few pieces, about 256 KiB. Those
    /// must not be taken back: they count as sent.
    pub fn poll_transmit(
        &mut self,
        now: Monotonic,
        session: SessionId,
        out: &mut VecDeque<Bytes>,
    ) -> Transmit {
        self.deliver(now, |delivery, env| delivery.transmit(env, session, out))
    }

    /// The response head came: the service reads the body.
    pub fn session_started(&mut self, now: Monotonic, session: SessionId) {
        self.deliver(now, |delivery, env| delivery.started(env, session));
    }

    /// An ack of a session.
    pub fn handle_ack(&mut self, now: Monotonic, session: SessionId, ack: AckEvent) {
        let open = self.spool.open().is_some();
        let rejected = self.deliver(now, |delivery, env| delivery.ack(env, session, ack));
        if let Some(id) = rejected.filter(|_| open && self.spool.open().is_none()) {
            self.intake.open_fragment_rejected(DropCause::Rejected(id));
        }
    }

    /// A session is over: its response ended (`Ok`), or it failed or never came about (`Err`).
    pub fn session_ended(
        &mut self,
        now: Monotonic,
        session: SessionId,
        result: Result<(), ServiceError>,
    ) {
        self.deliver(now, |delivery, env| delivery.ended(env, session, result));
    }

    /// Counts.
    pub fn stats(&self) -> Stats {
        Stats {
            spooled_fragments: self.spool.unsettled(),
            spooled_frames: self.spool.frames() + self.intake.held_frames(),
            spooled_bytes: self.spool.pinned() + self.intake.held(),
            ..self.out.stats
        }
    }

    /// Runs a step of the input side, then sees to it that what came of it is sent.
    fn take_in<T>(
        &mut self,
        now: Monotonic,
        step: impl FnOnce(&mut Intake, &mut Env<'_>) -> T,
    ) -> T {
        let Self { config, intake, spool, delivery, out } = self;
        let result = step(intake, &mut Env { now, config, spool, out });
        if delivery.idle() || spool.take_changed() {
            delivery.plan(&mut Env { now, config, spool, out });
        }
        out.report_drops(now, false);
        result
    }

    /// Runs a step of the output side.
    fn deliver<T>(
        &mut self,
        now: Monotonic,
        step: impl FnOnce(&mut Delivery, &mut Env<'_>) -> T,
    ) -> T {
        let Self { config, spool, delivery, out, .. } = self;
        let result = step(delivery, &mut Env { now, config, spool, out });
        out.report_drops(now, false);
        result
    }

    /// Checks what must hold after every call; for tests.
    ///
    /// # Panics
    /// When it does not hold.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.intake.check_invariants();
        self.spool.check_invariants();
        self.delivery.check_invariants(&self.spool);
        let stats = self.stats();
        assert_eq!(
            stats.accepted_frames,
            stats.persisted_frames + self.out.lost_frames + stats.spooled_frames,
            "every accepted frame is safe, dropped or held: {stats:?}"
        );
    }
}

#[cfg(test)]
mod tests;
