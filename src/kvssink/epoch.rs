// SPDX-License-Identifier: MIT OR Apache-2.0
//! The wall-clock time of running time zero: what turns buffer times into producer times.
//!
//! Made once, at the first frame after the start, a flush or (live media) a pause. Never per frame:
//! the pipeline clock is steady, the wall clock is corrected now and then.

use crate::time::{Monotonic, Timestamp};

/// A mapping from running time to wall-clock time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    /// Wall-clock time of running time zero, ns. May be negative for absurd clocks.
    zero_ns: i128,
    /// Wall-clock time of `made`, in this mapping.
    made_ns: i128,
    made: Monotonic,
}

impl Epoch {
    /// The mapping that makes running time zero happen at `zero`, where `running_ns` is the
    /// running time of `now`.
    pub(super) fn starting_at(zero: Timestamp, now: Monotonic, running_ns: u64) -> Self {
        let zero_ns = i128::from(zero.as_nanos());
        Self { zero_ns, made_ns: zero_ns + i128::from(running_ns), made: now }
    }

    /// The mapping in which `wall` is the time of `now`, whose running time is `running_ns`.
    pub(super) fn at_wall(wall: Timestamp, now: Monotonic, running_ns: u64) -> Self {
        let made_ns = i128::from(wall.as_nanos());
        Self { zero_ns: made_ns - i128::from(running_ns), made_ns, made: now }
    }

    /// The wall-clock time of a running time, which may be negative.
    pub(super) fn time(&self, running_ns: i64) -> Timestamp {
        clamp(self.zero_ns + i128::from(running_ns))
    }

    /// The wall-clock time of `now`.
    pub(super) fn arrival(&self, now: Monotonic) -> Timestamp {
        clamp(self.made_ns + i128::from((now - self.made).as_nanos() as u64))
    }
}

fn clamp(ns: i128) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn now_is_now_and_frames_keep_their_distance() {
        let (wall, now) = (Timestamp::from_nanos(100 * HOUR), Monotonic::from_nanos(7));
        let epoch = Epoch::at_wall(wall, now, HOUR);
        assert_eq!(epoch.arrival(now), wall);
        assert_eq!(epoch.arrival(Monotonic::from_nanos(10)).as_nanos(), 100 * HOUR + 3);
        assert_eq!(epoch.time(HOUR as i64), wall);
        assert_eq!(epoch.time(-1).as_nanos(), 99 * HOUR - 1);
    }

    #[test]
    fn a_given_start_is_running_time_zero() {
        let start = Timestamp::from_nanos(5 * HOUR);
        let epoch = Epoch::starting_at(start, Monotonic::from_nanos(0), 3);
        assert_eq!(epoch.time(0), start);
        assert_eq!(epoch.arrival(Monotonic::from_nanos(4)).as_nanos(), 5 * HOUR + 7);
    }

    #[test]
    fn no_time_is_before_1970() {
        let epoch = Epoch::at_wall(Timestamp::from_nanos(5), Monotonic::default(), HOUR);
        assert_eq!(epoch.time(-1), Timestamp::from_nanos(0));
    }
}
