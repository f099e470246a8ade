// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which pads are tracks of the session: the head of a run of fragments.
//!
//! Tracks are fixed per session, and every declared track needs a frame in every fragment (4011).
//!
//! | what happens | what the head does |
//! | --- | --- |
//! | start | the pads with caps and a frame within 1 s of the first frame |
//! | a declared track has no frame for `max_fragment_duration` | the open fragment is declared anew without it |
//! | a fragment must end before a declared track has a frame | that fragment alone is declared without it |
//! | its caps change | it leaves at once, and comes back with the next cut or switch |
//! | a pad ended | it leaves with the next cut |
//! | a pad outside has frames | it comes in with the next cut, at most every 10 s (new caps: always) |
//!
//! A **switch** cuts without waiting for the lead: when a pad outside has frames and there is no
//! lead to wait for, or the lead made no cut for 19 s. Both keep the shortest fragment of 1 s.

use std::sync::Arc;

use super::{
    Env,
    api::{DropCause, Event, Warning},
    config::limit,
    intake::Intake,
    pad::Pad,
    spool::{Fragment, Head},
};
use crate::{ids::TrackNumber, time::Monotonic, track::Track};

impl Intake {
    /// The pad whose key frames fragments start with.
    pub(super) fn lead(&self) -> Option<usize> {
        let leads = self.pads.iter().enumerate().filter(|(_, pad)| {
            pad.inter() && pad.member.is_some() && (pad.active() || !pad.queue.is_empty())
        });
        leads.min_by_key(|(_, pad)| pad.member).map(|(index, _)| index)
    }

    /// Whether enough time has passed since the head changed last.
    pub(super) fn may_switch(&self, now: Monotonic) -> bool {
        self.last_switch.is_none_or(|at| now - at >= limit::REJOIN)
    }

    /// Outside, with frames, and allowed in.
    fn comes_in(&self, pad: &Pad, now: Monotonic) -> bool {
        outside(pad) && (pad.changed || self.may_switch(now))
    }

    /// Whether the next cut should choose the tracks anew.
    pub(super) fn head_changes(&self, now: Monotonic) -> bool {
        self.head.is_none()
            || self.pads.iter().any(|pad| {
                self.comes_in(pad, now)
                    || (pad.member.is_some() && !pad.active() && pad.queue.is_empty())
            })
    }

    /// Whether pads outside are let in now. See the module.
    pub(super) fn switch_due(&self, env: &Env<'_>, force: bool) -> bool {
        let members = self
            .pads
            .iter()
            .any(|pad| pad.member.is_some() && (pad.active() || !pad.queue.is_empty()));
        self.pads.iter().filter(|pad| outside(pad)).any(|pad| {
            let due = self.lead().is_none() || waited(pad, env.now) >= limit::CUT;
            let allowed = !members || self.comes_in(pad, env.now);
            force || (due && allowed && self.long_enough(env, pad))
        })
    }

    /// Whether the open fragment may end when `pad` comes in.
    fn long_enough(&self, env: &Env<'_>, pad: &Pad) -> bool {
        let newest = pad.queue.back().map(|held| pad.clock.ticks(held.time, env.config.scale));
        env.spool.open().is_none_or(|open| {
            let newest = open.latest.max(newest.unwrap_or(0));
            newest.saturating_sub(open.cut) >= self.rules.min
                || waited(pad, env.now) >= limit::MIN_CUT
        })
    }

    /// When a pad outside has waited long enough for the lead.
    pub(super) fn room_timeout(&self) -> Option<Monotonic> {
        let patience = if self.lead().is_some() { limit::CUT } else { limit::MIN_CUT };
        let allowed = self.last_switch.map(|at| at + limit::REJOIN);
        self.head.as_ref()?;
        let rooms = self.pads.iter().filter(|pad| outside(pad)).filter_map(|pad| {
            let due = pad.queue.front()?.since + patience;
            Some(if pad.changed { due } else { due.max(allowed.unwrap_or(due)) })
        });
        rooms.min()
    }

    /// Chooses the first tracks. Frames far before the lead's first key frame are dropped.
    pub(super) fn begin(&mut self, env: &mut Env<'_>) {
        let lead = self.pads.iter().position(|pad| pad.inter() && !pad.queue.is_empty());
        let scale = env.config.scale;
        let fronts = self.pads.iter().filter_map(|pad| pad.front_ticks(scale));
        let start = lead
            .and_then(|lead| self.pads.get(lead)?.front_ticks(scale))
            .or_else(|| fronts.min())
            .unwrap_or(0);
        self.purge_before(env, None, start, DropCause::BeforeKeyFrame);
        self.declare(None, env.now);
        self.last_switch = None;
    }

    /// Lets pads in without a frame at hand.
    pub(super) fn switch(&mut self, env: &mut Env<'_>) {
        self.close(env, false);
        let scale = env.config.scale;
        let inside = self.pads.iter().filter(|pad| !pad.queue.is_empty());
        let lead = inside.clone().find(|pad| pad.inter() && outside(pad));
        let start = lead.and_then(|pad| pad.front_ticks(scale));
        let start =
            start.or_else(|| inside.filter_map(|pad| pad.front_ticks(scale)).min()).unwrap_or(0);
        self.last_switch = None;
        self.replace_head(env, None, start);
        let mut freed = 0;
        for pad in self.pads.iter_mut().filter(|pad| outside(pad)) {
            freed += pad.purge(env.out, DropCause::TrackAbsent, |_, _| true);
        }
        self.freed(freed);
    }

    /// Chooses the tracks anew, with the pad that cuts at `ticks`.
    pub(super) fn replace_head(&mut self, env: &mut Env<'_>, cutting: Option<usize>, ticks: u64) {
        for pad in &mut self.pads {
            pad.clock.clear_shift();
        }
        self.purge_before(env, cutting, ticks, DropCause::TrackAbsent);
        self.declare(cutting, env.now);
        self.floor = None;
    }

    /// Drops waiting frames that lie too far before `ticks`.
    fn purge_before(
        &mut self,
        env: &mut Env<'_>,
        cutting: Option<usize>,
        ticks: u64,
        cause: DropCause,
    ) {
        let scale = env.config.scale;
        let window = self.rules.window;
        let mut freed = 0;
        for (index, pad) in self.pads.iter_mut().enumerate() {
            if Some(index) != cutting {
                freed += pad.purge(env.out, cause, |pad, held| {
                    pad.clock.ticks(held.time, scale).saturating_add(window) < ticks
                });
            }
        }
        self.freed(freed);
    }

    /// Makes a head of the pads that have a frame, those that stay, and the one that cuts.
    fn declare(&mut self, cutting: Option<usize>, now: Monotonic) {
        let mut chosen: Vec<usize> = (0..self.pads.len())
            .filter(|&index| {
                self.pads.get(index).is_some_and(|pad| {
                    let stays = pad.member.is_some() && (pad.active() || !pad.queue.is_empty());
                    let first = self.head.is_none() && outside(pad);
                    Some(index) == cutting || stays || first || self.comes_in(pad, now)
                })
            })
            .collect();
        chosen.sort_by_key(|&index| self.pads.get(index).map(Pad::rank));
        chosen.truncate(limit::TRACKS);
        let returns = |pad: &Pad| outside(pad) && !pad.changed;
        if chosen.iter().any(|&index| self.pads.get(index).is_some_and(returns)) {
            self.last_switch = Some(now);
        }
        for pad in &mut self.pads {
            (pad.member, pad.latest) = (None, None);
        }
        let mut tracks = Vec::new();
        for (number, index) in (1..).map(TrackNumber).zip(chosen) {
            if let Some(pad) = self.pads.get_mut(index) {
                (pad.member, pad.changed) = (Some(number), false);
                tracks.extend(pad.track(number));
            }
        }
        self.head = Some(self.new_head(tracks));
    }

    fn new_head(&mut self, tracks: Vec<Track>) -> Arc<Head> {
        self.next_head += 1;
        Arc::new(Head { id: self.next_head, tracks })
    }

    /// Gives up declared tracks that stayed silent for too long.
    pub(super) fn give_up_silent(&mut self, env: &mut Env<'_>, index: usize, ticks: u64) {
        let Some(open) = env.spool.open() else { return };
        let member = self.pads.get(index).and_then(|pad| pad.member);
        let silent = |track: &Track| !open.present(track) && Some(track.number) != member;
        let long = ticks.saturating_sub(open.cut) >= self.rules.max;
        if long && open.head.tracks.iter().any(silent) {
            self.redeclare(env, member);
        }
    }

    /// A head with the tracks of `open` that have a frame in it, and `keep`.
    pub(super) fn present_tracks(
        &mut self,
        open: &Fragment,
        keep: Option<TrackNumber>,
    ) -> Arc<Head> {
        let stays = |track: &&Track| open.present(track) || Some(track.number) == keep;
        self.new_head(open.head.tracks.iter().filter(stays).cloned().collect())
    }

    /// Declares the open fragment without the tracks that have no frame in it, but with `keep`.
    fn redeclare(&mut self, env: &mut Env<'_>, keep: Option<TrackNumber>) {
        let Some(open) = env.spool.open() else { return };
        let head = self.present_tracks(open, keep);
        let mut freed = 0;
        for pad in &mut self.pads {
            if pad.member.is_some_and(|number| head.tracks.iter().all(|t| t.number != number)) {
                pad.leave();
                if pad.active() {
                    env.out.event(Event::Warning(Warning::TrackSilent(pad.id)));
                }
                let inter = pad.inter();
                freed +=
                    pad.purge(env.out, DropCause::BeforeKeyFrame, |_, held| inter && !held.key);
                pad.needs_key = inter && pad.queue.is_empty();
            }
        }
        self.freed(freed);
        self.last_switch = Some(env.now);
        self.head = Some(head.clone());
        env.spool.redeclare(head);
    }

    /// Bounds what waits outside; after a forced pump nothing does.
    pub(super) fn purge_rooms(&mut self, env: &mut Env<'_>, force: bool) {
        let (now, mut freed) = (env.now, 0);
        for pad in self.pads.iter_mut().filter(|pad| outside(pad)) {
            freed += pad.purge(env.out, DropCause::TrackAbsent, |_, held| {
                force || now - held.since > limit::CUT + limit::MIN_CUT
            });
            let inter = pad.inter();
            freed += pad.purge(env.out, DropCause::BeforeKeyFrame, |_, held| inter && !held.key);
            pad.needs_key = inter && pad.queue.is_empty();
        }
        self.freed(freed);
    }
}

/// Has frames that the head has no track for.
fn outside(pad: &Pad) -> bool {
    pad.member.is_none() && pad.description.is_some() && !pad.queue.is_empty()
}

fn waited(pad: &Pad, now: Monotonic) -> std::time::Duration {
    pad.queue.front().map_or(std::time::Duration::ZERO, |held| now - held.since)
}
