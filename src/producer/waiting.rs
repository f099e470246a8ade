// SPDX-License-Identifier: MIT OR Apache-2.0
//! The order in which waiting frames are placed, and when they have waited long enough.
//!
//! See [`intake`](super::intake) for who waits for what.

use super::{
    Env,
    api::Payload,
    config::limit,
    intake::Intake,
    pad::{Held, Pad},
    placement::Placing,
};
use crate::time::{Monotonic, Timestamp};

/// A cut that waits for other tracks; its frame is at the front of its pad's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) pad: usize,
    pub(super) ticks: u64,
    pub(super) deadline: Monotonic,
    /// A waiting frame at this time ends the wait.
    pub(super) limit: u64,
}

impl Intake {
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
    pub(super) fn admissible(
        &self,
        env: &Env<'_>,
        index: usize,
        time: Timestamp,
        force: bool,
    ) -> bool {
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
        let scale = env.config.scale;
        let bound = lead.latest.max(lead.front_ticks(scale)).unwrap_or(open.cut);
        let newest = pad.queue.back().map_or(ticks, |held| pad.clock.ticks(held.time, scale));
        ticks < bound
            || ticks < open.cut.saturating_add(self.rules.shortest)
            || newest >= bound.saturating_add(self.rules.max)
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
    pub(super) fn must_wait(&self, env: &Env<'_>, index: usize, ticks: u64) -> bool {
        self.pads.iter().enumerate().any(|(other, pad)| {
            other != index
                && pad.member.is_some()
                && pad.active()
                && pad.waited_for()
                && !pad.reached(ticks, env.config.scale)
        })
    }

    pub(super) fn start_wait(&mut self, env: &Env<'_>, pad: usize, ticks: u64, age: u64) {
        let left = self.rules.max.saturating_sub(age);
        let left_time = env.config.scale.to_duration(left).unwrap_or(limit::CUT);
        let (deadline, limit) = (env.now + left_time, ticks.saturating_add(left));
        self.wait = Some(Wait { pad, ticks, deadline, limit });
    }
}
