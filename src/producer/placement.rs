// SPDX-License-Identifier: MIT OR Apache-2.0
//! One frame into the open fragment, or the cut before it: what `timeline` and `fragmenter` decide
//! is done here.

use super::{
    Env,
    api::{DropCause, Event, Payload, Warning},
    fragmenter::{self, Cut, OpenState, Role},
    intake::Intake,
    spool::Spool,
    timeline::{self, Bounds, Placement},
};
use crate::time::Timestamp;

/// A frame on its way into a fragment.
pub(super) struct Placing<'a> {
    pub(super) time: Timestamp,
    pub(super) key: bool,
    pub(super) payload: &'a Payload<'a>,
    pub(super) pinned: usize,
}

/// What came of a frame's time.
enum Timed {
    At(u64),
    Dropped,
    /// The pad left the head: its track is too far behind.
    Outside,
}

impl Intake {
    pub(super) fn role(&self, index: usize, key: bool) -> Role {
        match self.lead() {
            None => Role::Free,
            Some(lead) if lead != index => Role::Other,
            Some(_) if key => Role::LeadKey,
            Some(_) => Role::LeadDelta,
        }
    }

    /// Puts a frame where it belongs; false when it has to wait.
    pub(super) fn place(
        &mut self,
        env: &mut Env<'_>,
        index: usize,
        frame: &Placing<'_>,
        force: bool,
    ) -> bool {
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
    pub(super) fn cut(&mut self, env: &mut Env<'_>, index: usize, ticks: u64, new_time: bool) {
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
}
