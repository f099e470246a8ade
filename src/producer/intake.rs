// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of all pads, in order of arrival, into the fragments of the spool.
//!
//! A frame goes straight into the open fragment, or waits in its pad's queue:
//! - **gathering**: up to 1 s after the first frame, until every pad has one;
//! - **at a cut**: the frames from the cut on wait until the other tracks have come as far, at most
//!   to `max_fragment_duration`;
//! - **ahead**: another track's frame that is later than the lead's latest waits, when the lead
//!   could cut before it (4004); no more than `max_fragment_duration` of it;
//! - **room**: a track that the session does not declare waits for one that does ([`membership`]).
//!
//! No queue holds up another pad's thread. What ends all waits at once: the end of the fragment
//! (EOS, flush, idle, stop), and a spool that is full of nothing else.
//!
//! [`membership`]: super::membership

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Env,
    api::{DropCause, Event, InputFrame, PadId, Payload, PushOutcome, TrackDescription, Warning},
    config::{Config, OnFull, Persistence, limit},
    fragmenter::Rules,
    pad::{Held, Pad},
    placement::Placing,
    spool::{self, Head, Spool},
    waiting::Wait,
};
use crate::time::{Monotonic, Timestamp};

/// Realtime input this far ahead of its arrival is not paced by a clock.
const AHEAD: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) rules: Rules,
    pub(super) pads: Vec<Pad>,
    pub(super) next_pad: usize,
    /// Frames that arrived.
    pub(super) order: u64,
    /// When the first frame arrived while no head was chosen yet.
    pub(super) gathering: Option<Monotonic>,
    pub(super) head: Option<Arc<Head>>,
    pub(super) next_head: u64,
    pub(super) wait: Option<Wait>,
    /// The last tick before the last cut of the current head.
    pub(super) floor: Option<u64>,
    /// When a head was replaced last.
    pub(super) last_switch: Option<Monotonic>,
    pub(super) last_frame: Option<Monotonic>,
    /// Frames are dropped up to one that a fragment can start with.
    pub(super) shed: Option<DropCause>,
    /// The last fragment was ended, not cut: tracks may go on at different times, or anywhere.
    pub(super) fresh: bool,
    /// Key frames asked for in the open fragment.
    pub(super) asks: u64,
    pub(super) warned_no_key: bool,
    pub(super) warned_ahead: bool,
    /// What waiting frames cost.
    pub(super) held: usize,
    /// What the last frame that found no room costs.
    pub(super) wanted: usize,
}

impl Intake {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            rules: Rules::new(config),
            pads: Vec::new(),
            next_pad: 0,
            order: 0,
            gathering: None,
            head: None,
            next_head: 0,
            wait: None,
            floor: None,
            last_switch: None,
            last_frame: None,
            shed: None,
            fresh: false,
            asks: 0,
            warned_no_key: false,
            warned_ahead: false,
            held: 0,
            wanted: 0,
        }
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Frames that wait.
    pub(super) fn held_frames(&self) -> u64 {
        self.pads.iter().map(|pad| pad.queue.len() as u64).sum()
    }

    pub(super) fn add_pad(&mut self) -> Option<PadId> {
        if self.pads.iter().filter(|pad| !pad.gone).count() >= limit::TRACKS {
            return None;
        }
        let id = PadId(self.next_pad);
        self.next_pad += 1;
        self.pads.push(Pad::new(id));
        Some(id)
    }

    fn find(&self, id: PadId) -> Option<usize> {
        self.pads.iter().position(|pad| pad.id == id)
    }

    pub(super) fn set_track(&mut self, env: &mut Env<'_>, id: PadId, track: TrackDescription) {
        let Some(index) = self.find(id) else { return };
        if self.pads.get(index).is_some_and(|pad| !pad.queue.is_empty()) {
            // What waits was made for the old caps. Equal caps are not worth ending the wait.
            let same =
                self.pads.get(index).and_then(|pad| pad.description.as_ref()) == Some(&track);
            if same {
                return;
            }
            self.pump(env, true);
        }
        if let Some(pad) = self.pads.get_mut(index) {
            pad.describe(track);
        }
        self.pump(env, false);
    }

    pub(super) fn remove_pad(&mut self, env: &mut Env<'_>, id: PadId) {
        if let Some(pad) = self.pads.iter_mut().find(|pad| pad.id == id) {
            pad.gone = true;
        }
        self.pump(env, false);
        self.forget_gone();
    }

    fn forget_gone(&mut self) {
        // The wait names a pad by index.
        if self.wait.is_none() {
            self.pads.retain(|pad| !pad.gone || !pad.queue.is_empty());
        }
    }

    pub(super) fn gap(&mut self, env: &mut Env<'_>, id: PadId, until: Timestamp) {
        if let Some(pad) = self.pads.iter_mut().find(|pad| pad.id == id) {
            pad.gap_until = Some(pad.clock.ticks(until, env.config.scale));
            self.pump(env, false);
        }
    }

    pub(super) fn end_of_stream(&mut self, env: &mut Env<'_>, id: PadId) {
        if let Some(pad) = self.pads.iter_mut().find(|pad| pad.id == id) {
            pad.ended = true;
        }
        self.pump(env, false);
    }

    /// Whether no pad will push any more.
    pub(super) fn all_ended(&self) -> bool {
        self.pads.iter().any(|pad| pad.ended) && self.pads.iter().all(|pad| !pad.active())
    }

    pub(super) fn flush(&mut self, env: &mut Env<'_>, id: PadId) {
        self.end_fragment(env);
        if let Some(pad) = self.pads.iter_mut().find(|pad| pad.id == id) {
            pad.clock.reset();
            pad.gap_until = None;
            pad.ended = false;
        }
    }

    /// The service will not have the open fragment: what belongs to it goes the same way.
    pub(super) fn open_fragment_rejected(&mut self, cause: DropCause) {
        self.shed = Some(cause);
    }

    pub(super) fn push(
        &mut self,
        env: &mut Env<'_>,
        id: PadId,
        frame: &InputFrame<'_>,
    ) -> PushOutcome {
        let Some(index) = self.find(id) else { return PushOutcome::Dropped(DropCause::NoCaps) };
        if let Some(outcome) = self.refuse(env, index, frame) {
            if let PushOutcome::Dropped(cause) = outcome {
                env.out.refuse(cause, 1, frame.payload.len() as u64);
            }
            return outcome;
        }
        let Some(pad) = self.pads.get_mut(index) else { return PushOutcome::Full };
        pad.ended = false;
        pad.needs_key = false;
        let time = pad.clock.resolve(frame.time, frame.duration, frame.arrival, env.config.scale);
        let key = frame.key || !pad.inter();
        self.last_frame = Some(env.now);
        self.order += 1;
        env.out.stats.accepted_frames += 1;
        env.out.stats.accepted_bytes += frame.payload.len() as u64;
        self.watch_clock(env, frame);

        let placing = Placing { time, key, payload: &frame.payload, pinned: frame.pinned };
        let direct =
            self.head.is_some() && self.held == 0 && self.admissible(env, index, time, false);
        if !(direct && self.place(env, index, &placing, false)) {
            self.hold(env.now, index, &placing);
        }
        self.pump(env, false);
        PushOutcome::Accepted
    }

    /// Why a frame is not accepted, if it is not.
    fn refuse(
        &mut self,
        env: &mut Env<'_>,
        index: usize,
        frame: &InputFrame<'_>,
    ) -> Option<PushOutcome> {
        let pad = self.pads.get_mut(index)?;
        if pad.description.is_none() {
            return Some(PushOutcome::Dropped(DropCause::NoCaps));
        }
        if frame.payload.len() > limit::FRAGMENT_BYTES {
            return Some(PushOutcome::Dropped(DropCause::FrameTooLarge));
        }
        let (key, inter) = (frame.key, pad.inter());
        if inter && pad.needs_key && !key {
            if pad.ask_for_key(env.now) {
                env.out.event(Event::ForceKeyUnit(pad.id));
            }
            return Some(PushOutcome::Dropped(DropCause::BeforeKeyFrame));
        }
        if let Some(cause) = self.shed {
            let led = self.pads.iter().any(|pad| pad.inter() && pad.active());
            if led && !(inter && key) {
                self.ask_for_keys(env);
                return Some(PushOutcome::Dropped(cause));
            }
        }
        let refused = self.admit(env, spool::cost(&frame.payload, frame.pinned));
        if refused.is_none() {
            self.shed = None;
        }
        refused
    }

    pub(super) fn ask_for_keys(&mut self, env: &mut Env<'_>) {
        for pad in self.pads.iter_mut().filter(|pad| pad.inter() && pad.active()) {
            if pad.ask_for_key(env.now) {
                env.out.event(Event::ForceKeyUnit(pad.id));
            }
        }
    }

    /// Makes room for `cost` bytes, or says why not.
    fn admit(&mut self, env: &mut Env<'_>, cost: usize) -> Option<PushOutcome> {
        let storage = env.config.storage_bytes;
        let fits = |intake: &Self, spool: &Spool| spool.pinned() + intake.held + cost <= storage;
        if fits(self, env.spool) {
            return None;
        }
        match env.config.on_full {
            OnFull::Block => {
                self.wanted = cost;
                return self.blocks(env.config, env.spool, cost).then_some(PushOutcome::Full);
            }
            OnFull::DropOldest => {
                while !fits(self, env.spool) && env.spool.evict(env.out) {}
                if !fits(self, env.spool) && self.held > 0 {
                    self.pump(env, true);
                    while !fits(self, env.spool) && env.spool.evict(env.out) {}
                }
            }
            OnFull::DropNewest => {}
        }
        if fits(self, env.spool) {
            return None;
        }
        // The open fragment must become one that can be safe, or evicted.
        self.end_fragment(env);
        self.shed = Some(self.shed.unwrap_or(DropCause::Full));
        Some(PushOutcome::Dropped(DropCause::Full))
    }

    /// Whether there is room for the frame that found none.
    pub(super) fn has_room(&self, config: &Config, spool: &Spool) -> bool {
        !self.blocks(config, spool, self.wanted)
    }

    /// Whether a full spool will have room without another frame: then the pad can wait.
    fn blocks(&self, config: &Config, spool: &Spool, cost: usize) -> bool {
        let used = spool.pinned() + self.held + cost;
        if used <= config.storage_bytes || !spool.has_complete() {
            return false;
        }
        // Without acks a session must end, and it ends at a cut.
        config.persistence != Persistence::SessionEnd
            || spool.open().is_none()
            || used > config.storage_bytes + limit::FRAGMENT_BYTES
    }

    fn watch_clock(&mut self, env: &mut Env<'_>, frame: &InputFrame<'_>) {
        let ahead = frame.time.is_some_and(|time| time.saturating_since(frame.arrival) > AHEAD);
        if ahead && !self.warned_ahead && env.config.on_full != OnFull::Block {
            self.warned_ahead = true;
            env.out.event(Event::Warning(Warning::AheadOfClock));
        }
    }

    fn hold(&mut self, now: Monotonic, index: usize, placing: &Placing<'_>) {
        let (payload, pinned) = match placing.payload {
            Payload::Copy(data) => (Bytes::copy_from_slice(data), data.len()),
            Payload::Share(data) => (data.clone(), placing.pinned),
        };
        let (order, time, key) = (self.order, placing.time, placing.key);
        let held = Held { order, since: now, time, key, payload, pinned };
        if self.held == 0 {
            self.gathering = Some(now);
        }
        self.held += held.cost();
        if let Some(pad) = self.pads.get_mut(index) {
            pad.queue.push_back(held);
        }
    }

    /// Takes what a purge freed out of the account.
    pub(super) fn freed(&mut self, freed: usize) {
        self.held -= freed;
    }

    /// Ends all waits and completes the open fragment.
    pub(super) fn end_fragment(&mut self, env: &mut Env<'_>) {
        self.pump(env, true);
        self.close(env, true);
        self.fresh = true;
        self.forget_gone();
    }

    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        if self.idle_at(env.config, env.spool).is_some_and(|at| at <= env.now) {
            self.end_fragment(env);
        } else {
            self.pump(env, false);
        }
    }

    fn idle_at(&self, config: &Config, spool: &Spool) -> Option<Monotonic> {
        let busy = spool.open().is_some() || self.held > 0;
        self.last_frame.filter(|_| busy).map(|at| at + config.idle_end)
    }

    pub(super) fn next_timeout(&self, config: &Config, spool: &Spool) -> Option<Monotonic> {
        let gathering = self.head.is_none() && self.held > 0;
        let gather = self.gathering.filter(|_| gathering).map(|at| at + limit::GATHER);
        let wait = self.wait.map(|wait| wait.deadline);
        [self.idle_at(config, spool), gather, wait, self.room_timeout()].into_iter().flatten().min()
    }

    pub(super) fn check_invariants(&self) {
        let held: usize = self.pads.iter().flat_map(|p| &p.queue).map(Held::cost).sum();
        assert_eq!(self.held, held, "cost of waiting frames adds up");
        if let Some(wait) = self.wait {
            assert!(self.pads.get(wait.pad).is_some_and(|pad| !pad.queue.is_empty()));
        }
        for pad in &self.pads {
            let orders: Vec<_> = pad.queue.iter().map(|held| held.order).collect();
            assert!(orders.is_sorted(), "a queue is in order of arrival");
        }
    }
}
