// SPDX-License-Identifier: MIT OR Apache-2.0
//! What waits to be told or done, and the accounts of frames.
//!
//! Drops are gathered per cause and told at once the first time, then at most once per second.

use std::{collections::VecDeque, time::Duration};

use super::api::{Action, DropCause, Event, Stats};
use crate::time::Monotonic;

/// Acks kept for a caller that does not ask; older ones make room.
const MAX_ACKS: usize = 1024;
/// Shortest time between two reports of drops.
const DROP_REPORT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Drops {
    cause: DropCause,
    frames: u64,
    bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    acks: usize,
    drops: Vec<Drops>,
    next_report: Option<Monotonic>,
    /// What is counted; the "spooled" members are filled in by whoever asks.
    pub(super) stats: Stats,
    /// Frames that were accepted and then dropped.
    pub(super) lost_frames: u64,
}

impl Outbox {
    pub(super) fn action(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn event(&mut self, event: Event) {
        if matches!(event, Event::FragmentAck { .. }) {
            self.acks += 1;
            if self.acks > MAX_ACKS
                && let Some(oldest) =
                    self.events.iter().position(|e| matches!(e, Event::FragmentAck { .. }))
            {
                self.events.remove(oldest);
                self.acks -= 1;
            }
        }
        self.events.push_back(event);
    }

    /// Frames that were accepted are gone.
    pub(super) fn lose(&mut self, cause: DropCause, frames: u64, bytes: u64) {
        self.lost_frames += frames;
        self.refuse(cause, frames, bytes);
    }

    /// Frames are not accepted.
    pub(super) fn refuse(&mut self, cause: DropCause, frames: u64, bytes: u64) {
        self.stats.dropped_frames += frames;
        match self.drops.iter_mut().find(|drops| drops.cause == cause) {
            Some(drops) => {
                drops.frames += frames;
                drops.bytes += bytes;
            }
            None if frames > 0 => self.drops.push(Drops { cause, frames, bytes }),
            None => {}
        }
    }

    /// Turns gathered drops into events when it is time, or anyway.
    pub(super) fn report_drops(&mut self, now: Monotonic, anyway: bool) {
        if self.drops.is_empty() || (!anyway && self.next_report.is_some_and(|at| at > now)) {
            return;
        }
        self.next_report = Some(now + DROP_REPORT);
        for Drops { cause, frames, bytes } in self.drops.drain(..) {
            self.events.push_back(Event::Dropped { cause, frames, bytes });
        }
    }

    /// When gathered drops are due.
    pub(super) fn next_timeout(&self) -> Option<Monotonic> {
        self.next_report.filter(|_| !self.drops.is_empty())
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if matches!(event, Some(Event::FragmentAck { .. })) {
            self.acks -= 1;
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_drops_between_reports() {
        let at = |s: u64| Monotonic::from_nanos(s * 1_000_000_000);
        let mut out = Outbox::default();
        out.refuse(DropCause::Full, 1, 10);
        out.report_drops(at(1), false);
        assert_eq!(
            out.poll_event(),
            Some(Event::Dropped { cause: DropCause::Full, frames: 1, bytes: 10 })
        );
        for _ in 0..3 {
            out.lose(DropCause::Full, 2, 5);
            out.report_drops(Monotonic::from_nanos(1_500_000_000), false);
        }
        assert_eq!((out.poll_event(), out.next_timeout()), (None, Some(at(2))));
        out.report_drops(at(2), false);
        assert_eq!(
            out.poll_event(),
            Some(Event::Dropped { cause: DropCause::Full, frames: 6, bytes: 15 })
        );
        assert_eq!((out.stats.dropped_frames, out.lost_frames), (7, 6));
    }
}
