// SPDX-License-Identifier: MIT OR Apache-2.0
//! PTS of one track -> producer time. The only place that knows what to do with a bad one.
//!
//! | time of the frame | what happens |
//! | --- | --- |
//! | given | taken as it is, up to the year 2262; rounded to ticks once, where the block is written |
//! | DTS | not used; a missing one is no concern |
//! | missing, first frame of the track | the time of arrival |
//! | missing, later | the end of the frame before: its duration, else the track's, else the distance before, else 1 tick |
//! | equal to the one before | kept: several blocks may share a tick |
//! | back, but after the last cut (B-frames, jitter) | kept |
//! | at or before the last cut by up to 1 s | moved up to the first tick after the cut |
//! | so far back that the fragment would be too long | as the next two rows |
//! | further back, but not behind its own track's last frame by more than 1 s | a lead's key frame starts a new session; its other frames are dropped and reported; another track waits for a session that it can come back in |
//! | further back, behind its own track's last frame by more than 1 s | a step: see below |
//! | first after a flush or an idle end, at or before the last cut | a new session takes it as it is |
//!
//! A **step** (the clock was set, the source started over) is taken over at a frame that a fragment
//! can start with, through a new session, because the service compares times within a session only
//! (4004). Until then, and when such a session started less than 10 s ago, the track goes on from
//! its last frame, shifted by a constant.

use std::time::Duration;

use super::config::limit;
use crate::time::{Timestamp, TimestampScale};

/// The time of one track.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Constant distance of frames, when the caps say so.
    pub(super) default_duration: Option<Duration>,
    /// Time of the frame before, unshifted.
    last: Option<Timestamp>,
    /// How long after `last` a frame without time is.
    step: Option<Duration>,
    /// Added to every time since a step back.
    shift: Duration,
    /// Ticks of the last block of the track.
    placed: Option<u64>,
}

impl Clock {
    /// The time of the next frame, without shift.
    pub(super) fn resolve(
        &mut self,
        time: Option<Timestamp>,
        duration: Option<Duration>,
        arrival: Timestamp,
        scale: TimestampScale,
    ) -> Timestamp {
        let tick = Duration::from_nanos(scale.as_nanos());
        let resolved = match (time, self.last) {
            (Some(time), _) => time.min(LAST),
            (None, None) => arrival.min(LAST),
            (None, Some(last)) => later(last, self.step.unwrap_or(tick)),
        };
        let distance = self.last.map(|last| resolved.saturating_since(last));
        self.step = duration
            .or(self.default_duration)
            .or_else(|| distance.filter(|distance| !distance.is_zero()))
            .or(self.step);
        self.last = Some(resolved);
        resolved
    }

    /// A resolved time in ticks, shifted.
    pub(super) fn ticks(&self, resolved: Timestamp, scale: TimestampScale) -> u64 {
        scale.to_ticks(later(resolved, self.shift))
    }

    /// A block of the track has this time.
    pub(super) fn set_placed(&mut self, ticks: u64) {
        self.placed = Some(ticks);
    }

    /// From now on the track goes on right after its last block, whatever its times say; `resolved`
    /// is the first of them.
    pub(super) fn continue_from(&mut self, resolved: Timestamp, scale: TimestampScale) {
        let Some(end) = self.placed.and_then(|placed| scale.to_timestamp(placed)) else { return };
        let tick = Duration::from_nanos(scale.as_nanos());
        self.shift = later(end, self.step.unwrap_or(tick).max(tick)).saturating_since(resolved);
    }

    /// Whether times are shifted since a step back.
    pub(super) fn shifted(&self) -> bool {
        !self.shift.is_zero()
    }

    /// A new session takes times as they are.
    pub(super) fn clear_shift(&mut self) {
        self.shift = Duration::ZERO;
    }

    /// A flush: what was before means nothing.
    pub(super) fn reset(&mut self) {
        *self = Self { default_duration: self.default_duration, ..Self::default() };
    }
}

/// The last time there is, in the year 2262; sums of ticks stay far from overflow.
const LAST: Timestamp = Timestamp::from_nanos(i64::MAX as u64);

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).map_or(LAST, |time| time.min(LAST))
}

/// What to do with a block's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Take these ticks.
    At(u64),
    /// Too late for any fragment of the session.
    Late,
    /// Its track stepped back by so many ticks.
    Step(u64),
}

/// What a time is judged against.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// The last tick before the last cut, if any cut was made in the session.
    pub(super) floor: Option<u64>,
    /// The first tick that the open fragment can hold.
    pub(super) reach: u64,
}

impl Bounds {
    /// The nearest time that fits.
    pub(super) fn clamp(self, ticks: u64) -> u64 {
        ticks.max(self.floor.map_or(0, |floor| floor.saturating_add(1))).max(self.reach)
    }
}

/// Judges a time. See the module's table.
pub(super) fn place(clock: &Clock, ticks: u64, bounds: Bounds, scale: TimestampScale) -> Placement {
    let late = duration_ticks(limit::LATE, scale);
    let clamped = bounds.clamp(ticks);
    let little = bounds.floor.is_some_and(|floor| ticks <= floor && floor - ticks < late);
    if clamped == ticks || little {
        return Placement::At(clamped);
    }
    match clock.placed.map_or(0, |placed| placed.saturating_sub(ticks)) {
        back if back > late => Placement::Step(back),
        _ => Placement::Late,
    }
}

/// A length in ticks, rounded up, at least one.
pub(super) fn duration_ticks(duration: Duration, scale: TimestampScale) -> u64 {
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    ns.div_ceil(scale.as_nanos()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: TimestampScale = TimestampScale::MILLISECOND;

    fn ms(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    /// Feeds (time, duration) in ms, arrival 99; gives the resolved times in ms.
    fn resolve(clock: &mut Clock, frames: &[(Option<u64>, Option<u64>)]) -> Vec<u64> {
        let frames = frames.iter().map(|&(time, duration)| {
            clock.resolve(time.map(ms), duration.map(Duration::from_millis), ms(99), MS).as_millis()
        });
        frames.collect()
    }

    #[test]
    fn missing_times_follow_the_table() {
        for (frames, expect) in [
            (&[(None, None), (None, None)][..], &[99, 100][..]),
            (&[(Some(10), Some(40)), (None, None), (None, None)], &[10, 50, 90]),
            (&[(Some(10), None), (Some(43), None), (None, None)], &[10, 43, 76]),
            (&[(Some(10), None), (Some(10), None), (None, None)], &[10, 10, 11]),
            (&[(Some(50), None), (Some(20), None), (Some(30), None)], &[50, 20, 30]),
        ] {
            assert_eq!(resolve(&mut Clock::default(), frames), expect, "{frames:?}");
        }
        let default_duration = Some(Duration::from_millis(20));
        let mut clock = Clock { default_duration, ..Clock::default() };
        assert_eq!(resolve(&mut clock, &[(Some(10), None), (None, None)]), [10, 30]);
    }

    #[test]
    fn late_times_follow_the_table() {
        use Placement::{At, Late, Step};
        let judge = |placed: Option<u64>, ticks, floor| {
            place(&Clock { placed, ..Clock::default() }, ticks, Bounds { floor, reach: 10 }, MS)
        };
        for (placed, ticks, floor, expect) in [
            (None, 10, None, At(10)),
            (None, 9, None, Late),
            (Some(1009), 9, None, Late),
            (Some(1010), 9, None, Step(1001)),
            (Some(9000), 5001, Some(5000), At(5001)),
            (Some(9000), 5000, Some(5000), At(5001)),
            (Some(9000), 4001, Some(5000), At(5001)),
            (Some(9000), 4000, Some(5000), Step(5000)),
            (Some(4000), 3999, Some(5000), Late),
            (Some(4000), 3000, Some(5000), Late),
            (Some(4000), 2999, Some(5000), Step(1001)),
            (None, 0, Some(5000), Late),
        ] {
            assert_eq!(judge(placed, ticks, floor), expect, "{placed:?} {ticks} {floor:?}");
        }
    }

    #[test]
    fn goes_on_after_a_step() {
        let mut clock = Clock::default();
        let first = clock.resolve(Some(ms(10_000)), Some(Duration::from_millis(40)), ms(0), MS);
        clock.set_placed(clock.ticks(first, MS));
        let back = clock.resolve(Some(ms(500)), None, ms(0), MS);
        clock.continue_from(back, MS);
        assert_eq!(clock.ticks(back, MS), 10_040);
        let next = clock.resolve(Some(ms(540)), None, ms(0), MS);
        assert_eq!(clock.ticks(next, MS), 10_080);
        clock.clear_shift();
        assert_eq!(clock.ticks(next, MS), 540);
    }

    #[test]
    fn rounds_once() {
        let clock = Clock::default();
        assert_eq!(clock.ticks(Timestamp::from_nanos(1_499_999), MS), 1);
        assert_eq!(clock.ticks(Timestamp::from_nanos(1_500_000), MS), 2);
        assert_eq!(
            clock.ticks(Timestamp::from_nanos(u64::MAX), MS),
            i64::MAX as u64 / 1_000_000 + 1
        );
    }
}
