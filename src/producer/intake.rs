// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of all pads, in order of arrival, into the fragments of the spool.
//!
//! A frame goes straight into the open fragment, or waits in its pad's queue:
//! - **gathering**: up to 1 s after the first frame, until every pad has one;
//! - **at a cut**: the frames from the cut on wait until the other tracks have come as far, at most
//!   to `max_fragment_duration`;
//! - **ahead**: another track's frame that is later than the lead's latest waits, when the lead
//!   could cut before it (4004); at most to `max_fragment_duration`;
//! - **room**: a track that the session does not declare waits for one that does ([`membership`]).
//!
//! No queue holds up another pad's thread. What ends all waits at once: the end of the fragment
//! (EOS, flush, idle, stop), and a spool that is full of nothing else.
//!
//! [`membership`]: super::membership

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Env,
    api::{DropCause, Event, InputFrame, PadId, Payload, PushOutcome, TrackDescription, Warning},
    config::{Config, OnFull, Persistence, limit},
    fragmenter::{self, Cut, OpenState, Role, Rules},
    pad::{Held, Pad},
    spool::{self, Head, Spool},
    timeline::{self, Bounds, Placement},
};
use crate::time::{Monotonic, Timestamp};

/// Realtime input this far ahead of its arrival is not paced by a clock.
const AHEAD: std::time::Duration = std::time::Duration::from_secs(60);

/// A frame on its way into a fragment.
struct Placing<'a> {
    time: Timestamp,
    key: bool,
    payload: &'a Payload<'a>,
    pinned: usize,
}

/// What came of a frame's time.
enum Timed {
    At(u64),
    Dropped,
    /// The pad left the head: its track is too far behind.
    Outside,
}

/// A cut that waits for other tracks; its frame is at the front of its pad's queue.
#[derive(Clone, Copy, Debug)]
struct Wait {
    pad: usize,
    ticks: u64,
    deadline: Monotonic,
    /// A waiting frame at this time ends the wait.
    limit: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) rules: Rules,
    pub(super) pads: Vec<Pad>,
    next_pad: usize,
    /// Frames that arrived.
    order: u64,
    /// When the first frame arrived while no head was chosen yet.
    gathering: Option<Monotonic>,
    pub(super) head: Option<Arc<Head>>,
    pub(super) next_head: u64,
    wait: Option<Wait>,
    /// The last tick before the last cut of the current head.
    pub(super) floor: Option<u64>,
    /// When a head was replaced last.
    pub(super) last_switch: Option<Monotonic>,
    last_frame: Option<Monotonic>,
    /// Frames are dropped up to one that a fragment can start with.
    shed: Option<DropCause>,
    /// The last fragment was ended, not cut: tracks may go on at different times, or anywhere.
    fresh: bool,
    /// Key frames asked for in the open fragment.
    asks: u64,
    warned_no_key: bool,
    warned_ahead: bool,
    /// What waiting frames cost.
    held: usize,
    /// What the last frame that found no room costs.
    wanted: usize,
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

    fn ask_for_keys(&mut self, env: &mut Env<'_>) {
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

    /// Places every waiting frame that may be placed; all of them when `force`.
    pub(super) fn pump(&mut self, env: &mut Env<'_>, force: bool) {
        loop {
            if self.held_frames() == 0 {
                break;
            }
            if self.head.is_none() {
                if !(force || self.gathered(env.now)) {
                    return;
                }
                self.begin(env);
            } else if self.switch_due(env, force) {
                self.wait = None;
                self.switch(env);
            } else if let Some(index) = self.next_admissible(env, force) {
                self.place_front(env, index, force);
            } else if let Some(wait) = self.wait {
                if !(force || self.wait_over(env, wait)) {
                    return;
                }
                self.wait = None;
                self.place_front(env, wait.pad, true);
            } else {
                break;
            }
        }
        self.purge_rooms(env, force);
    }

    /// Whether the first session can be declared.
    fn gathered(&self, now: Monotonic) -> bool {
        self.gathering.is_some_and(|since| now - since >= limit::GATHER)
            || self.pads.iter().all(|pad| !pad.queue.is_empty() || !pad.active())
    }

    fn next_admissible(&self, env: &Env<'_>, force: bool) -> Option<usize> {
        let fronts = self.pads.iter().enumerate().filter_map(|(index, pad)| {
            let front = pad.queue.front()?;
            self.admissible(env, index, front.time, force).then_some((front.order, index))
        });
        fronts.min().map(|(_, index)| index)
    }

    /// Whether the next frame of a pad may be placed. See the module.
    fn admissible(&self, env: &Env<'_>, index: usize, time: Timestamp, force: bool) -> bool {
        let Some(pad) = self.pads.get(index).filter(|pad| pad.member.is_some()) else {
            return false;
        };
        let ticks = pad.clock.ticks(time, env.config.scale);
        if let Some(wait) = self.wait {
            return index != wait.pad && ticks < wait.ticks;
        }
        if force {
            return true;
        }
        let (Some(open), Some(lead)) = (env.spool.open(), self.lead()) else { return true };
        let Some(lead) = self.pads.get(lead).filter(|_| lead != index) else { return true };
        let bound = lead.latest.max(lead.front_ticks(env.config.scale));
        bound.is_some_and(|bound| ticks < bound)
            || ticks < open.cut.saturating_add(self.rules.shortest)
            || ticks >= open.cut.saturating_add(self.rules.max)
    }

    fn place_front(&mut self, env: &mut Env<'_>, index: usize, force: bool) {
        let Some(held) = self.pads.get_mut(index).and_then(|pad| pad.queue.pop_front()) else {
            return;
        };
        let payload = Payload::Share(held.payload.clone());
        let Held { time, key, pinned, .. } = held;
        let placing = Placing { time, key, payload: &payload, pinned };
        if self.place(env, index, &placing, force) {
            self.held -= held.cost();
        } else if let Some(pad) = self.pads.get_mut(index) {
            pad.queue.push_front(held);
        }
    }

    /// Whether a wait has been long enough, or has what it waited for.
    fn wait_over(&self, env: &Env<'_>, wait: Wait) -> bool {
        let scale = env.config.scale;
        let back = |pad: &Pad| pad.queue.back().map(|held| pad.clock.ticks(held.time, scale));
        env.now >= wait.deadline
            || self.pads.iter().any(|pad| back(pad).is_some_and(|ticks| ticks >= wait.limit))
            || !self.must_wait(env, wait.pad, wait.ticks)
    }

    /// Whether some other track has not come as far as `ticks`.
    fn must_wait(&self, env: &Env<'_>, index: usize, ticks: u64) -> bool {
        self.pads.iter().enumerate().any(|(other, pad)| {
            other != index
                && pad.member.is_some()
                && pad.active()
                && pad.waited_for()
                && !pad.reached(ticks, env.config.scale)
        })
    }

    fn role(&self, index: usize, key: bool) -> Role {
        match self.lead() {
            None => Role::Free,
            Some(lead) if lead != index => Role::Other,
            Some(_) if key => Role::LeadKey,
            Some(_) => Role::LeadDelta,
        }
    }

    /// Puts a frame where it belongs; false when it has to wait.
    fn place(&mut self, env: &mut Env<'_>, index: usize, frame: &Placing<'_>, force: bool) -> bool {
        let ticks = match self.time(env, index, frame) {
            Timed::At(ticks) => ticks,
            Timed::Dropped => return true,
            Timed::Outside => return false,
        };
        self.give_up_silent(env, index, ticks);
        let role = self.role(index, frame.key);
        let open = env.spool.open().map(|open| OpenState {
            start: open.ticks,
            cut: open.cut,
            earliest: open.earliest,
            latest: open.latest,
            bytes: open.bytes,
            all: open.head.tracks.iter().all(|track| {
                // A track that left is not waited for.
                open.present(track) || self.pads.iter().all(|pad| pad.member != Some(track.number))
            }),
        });
        let mut cut = fragmenter::decide(&self.rules, open, role, ticks, frame.payload.len());
        if self.wait.is_some() && matches!(cut, Cut::Here | Cut::Overlap) {
            cut = Cut::No;
        }
        match cut {
            Cut::No => {}
            Cut::Overlap if !self.may_switch(env.now) => {}
            Cut::Overlap => self.cut(env, index, ticks, true),
            Cut::First => self.cut(env, index, ticks, false),
            Cut::Limit => {
                self.warn_no_key(env, role);
                self.cut(env, index, ticks, false);
            }
            Cut::Here => {
                let age = open.map_or(0, |open| ticks.saturating_sub(open.cut));
                if !force && age < self.rules.max && self.must_wait(env, index, ticks) {
                    self.start_wait(env, index, ticks, age);
                    return false;
                }
                self.warned_no_key = false;
                self.cut(env, index, ticks, false);
            }
        }
        if cut != Cut::No && role == Role::LeadDelta {
            self.ask_for_keys(env);
        }
        self.append(env, index, ticks, frame);
        true
    }

    fn start_wait(&mut self, env: &Env<'_>, pad: usize, ticks: u64, age: u64) {
        let left = self.rules.max.saturating_sub(age);
        let left_time = env.config.scale.to_duration(left).unwrap_or(limit::CUT);
        let (deadline, limit) = (env.now + left_time, ticks.saturating_add(left));
        self.wait = Some(Wait { pad, ticks, deadline, limit });
    }

    /// The ticks a frame is written with.
    fn time(&mut self, env: &mut Env<'_>, index: usize, frame: &Placing<'_>) -> Timed {
        let scale = env.config.scale;
        let role = self.role(index, frame.key);
        let starts = matches!(role, Role::Free | Role::LeadKey);
        let switch = starts && self.wait.is_none() && self.may_switch(env.now);
        let bounds = self.bounds(env.spool);
        let fresh = self.fresh && env.spool.open().is_none();
        let Some(pad) = self.pads.get_mut(index) else { return Timed::Outside };
        let ticks = pad.clock.ticks(frame.time, scale);
        if fresh {
            return Timed::At(ticks);
        }
        if pad.clock.shifted() && switch {
            let ticks = scale.to_ticks(frame.time);
            self.cut(env, index, ticks, true);
            return Timed::At(ticks);
        }
        match timeline::place(&pad.clock, ticks, bounds, scale) {
            Placement::At(ticks) => Timed::At(ticks),
            Placement::Step(back) => Timed::At(self.step(env, index, frame, back, switch)),
            Placement::Late => match role {
                Role::LeadKey if switch => {
                    self.cut(env, index, ticks, true);
                    Timed::At(ticks)
                }
                Role::LeadKey | Role::LeadDelta => {
                    env.out.lose(DropCause::Late, 1, frame.payload.len() as u64);
                    Timed::Dropped
                }
                Role::Free | Role::Other => {
                    pad.leave();
                    Timed::Outside
                }
            },
        }
    }

    /// What a time of the current head must keep.
    fn bounds(&self, spool: &Spool) -> Bounds {
        let reach = spool.open().map_or(0, |open| {
            let offset = open.ticks.saturating_sub(i16::MIN.unsigned_abs().into());
            offset.max((open.latest + 1).saturating_sub(self.rules.limit))
        });
        Bounds { floor: self.floor, reach }
    }

    /// The track jumped back.
    fn step(
        &mut self,
        env: &mut Env<'_>,
        index: usize,
        frame: &Placing<'_>,
        back: u64,
        switch: bool,
    ) -> u64 {
        let scale = env.config.scale;
        let bounds = self.bounds(env.spool);
        let Some(pad) = self.pads.get_mut(index) else { return 0 };
        let back = scale.to_duration(back).unwrap_or_default();
        env.out.event(Event::Warning(Warning::TimeStep { pad: pad.id, back }));
        if switch {
            let ticks = scale.to_ticks(frame.time);
            self.cut(env, index, ticks, true);
            return ticks;
        }
        pad.clock.continue_from(frame.time, scale);
        bounds.clamp(pad.clock.ticks(frame.time, scale))
    }

    fn warn_no_key(&mut self, env: &mut Env<'_>, role: Role) {
        let lead = self.lead().and_then(|lead| self.pads.get(lead));
        if let Some(pad) = lead.filter(|_| role == Role::LeadDelta && !self.warned_no_key) {
            self.warned_no_key = true;
            env.out.event(Event::Warning(Warning::NoKeyFrame(pad.id)));
        }
    }

    fn append(&mut self, env: &mut Env<'_>, index: usize, ticks: u64, frame: &Placing<'_>) {
        let floor = self.floor.map_or(0, |floor| floor.saturating_add(1));
        let Some(pad) = self.pads.get_mut(index) else { return };
        let (Some(number), Some(open)) = (pad.member, env.spool.open()) else {
            debug_assert!(false, "a placed frame has a track and a fragment");
            env.out.lose(DropCause::TrackAbsent, 1, frame.payload.len() as u64);
            return;
        };
        let cut = open.cut;
        // A cut at a B-frame leaves later frames behind it.
        let ticks = ticks.max(floor);
        env.spool.append(number, ticks, frame.key, frame.payload, frame.pinned);
        pad.clock.set_placed(ticks);
        pad.latest = pad.latest.max(Some(ticks));
        self.ask_when_long(env, ticks.saturating_sub(cut));
    }

    /// Asks for a key frame at the maximum age, and once more.
    fn ask_when_long(&mut self, env: &mut Env<'_>, age: u64) {
        if self.asks < 2 && age >= self.rules.max + self.asks * self.rules.key_retry {
            self.asks += 1;
            if let Some(pad) = self.lead().and_then(|lead| self.pads.get(lead)) {
                env.out.event(Event::ForceKeyUnit(pad.id));
            }
        }
    }

    /// Closes the open fragment, if any, and opens the next one at `ticks`.
    fn cut(&mut self, env: &mut Env<'_>, index: usize, ticks: u64, new_time: bool) {
        self.close(env, false);
        let late = self.floor.is_some_and(|floor| ticks <= floor);
        let members = self.pads.iter().filter(|pad| pad.member.is_some() && pad.active()).count();
        let fresh = std::mem::take(&mut self.fresh) && (late || members > 1);
        if new_time || fresh || self.head_changes(env.now) {
            if new_time {
                self.last_switch = Some(env.now);
            }
            self.replace_head(env, Some(index), ticks);
        }
        self.open(env, ticks);
    }

    /// Opens a fragment for a frame at `ticks`. In the first one of a head, waiting frames may be
    /// earlier.
    fn open(&mut self, env: &mut Env<'_>, ticks: u64) {
        self.asks = 0;
        let scale = env.config.scale;
        let members = self.pads.iter().filter(|pad| pad.member.is_some());
        let waiting = members.filter_map(|pad| pad.front_ticks(scale)).min().unwrap_or(ticks);
        let cut = self.floor.map_or(ticks, |floor| ticks.max(floor.saturating_add(1)));
        let start = match self.floor {
            Some(_) => cut,
            None => waiting.clamp(ticks.saturating_sub(self.rules.window), ticks),
        };
        if let Some(head) = &self.head {
            env.spool.start(head.clone(), start, cut);
        }
    }

    /// Closes the open fragment, if any.
    pub(super) fn close(&mut self, env: &mut Env<'_>, end_mark: bool) {
        let Some(open) = env.spool.open() else { return };
        let latest = open.latest;
        if !open.all_present() {
            let head = self.present_tracks(open, None);
            env.spool.redeclare(head);
        }
        self.floor = self.floor.max(Some(latest));
        env.spool.close(end_mark);
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
