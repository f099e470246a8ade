// SPDX-License-Identifier: MIT OR Apache-2.0
//! What time alone does to a PutMedia session. Pure: readings of the clock in, decisions out.

use std::time::Duration;

use crate::{server::config::Limits, time::Monotonic};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The producer has been silent for a while: say that the session is still open.
    IdleAck,
    /// The producer has been silent for too long.
    Silent,
    /// The session has lasted for as long as one may.
    SessionEnd,
}

/// IDLE acks come no faster than this, whatever is configured.
const MIN_IDLE_INTERVAL: Duration = Duration::from_millis(1);

/// The clockwork of one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    end: Monotonic,
    silence: Duration,
    idle_every: Duration,
    heard: Monotonic,
    next_idle: Monotonic,
}

impl Timers {
    pub(super) fn new(limits: &Limits, now: Monotonic) -> Self {
        let mut timers = Self {
            end: now + limits.session_length,
            silence: limits.producer_idle,
            idle_every: limits.idle_ack_interval.max(MIN_IDLE_INTERVAL),
            heard: now,
            next_idle: now,
        };
        timers.heard(now);
        timers
    }

    /// Bytes arrived.
    pub(super) fn heard(&mut self, now: Monotonic) {
        self.heard = now;
        self.next_idle = now + self.idle_every;
    }

    /// What is due at `now`, the earliest first: whoever asks late gets all of it one by one.
    pub(super) fn due(&mut self, now: Monotonic) -> Option<Due> {
        if now >= self.end {
            return Some(Due::SessionEnd);
        }
        let silent = self.heard + self.silence;
        if now >= self.next_idle && self.next_idle < silent {
            self.next_idle = self.next_idle + self.idle_every;
            return Some(Due::IdleAck);
        }
        (now >= silent).then_some(Due::Silent)
    }

    /// When [`Self::due`] is worth asking again.
    pub(super) fn next(&self) -> Monotonic {
        self.end.min(self.heard + self.silence).min(self.next_idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Monotonic {
        Monotonic::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn idle_acks_then_the_end_unless_bytes_arrive() {
        let mut timers = Timers::new(&Limits::default(), at(0));
        let mut seen = Vec::new();
        while timers.next() < at(2700) {
            let now = timers.next();
            let due = timers.due(now).unwrap();
            seen.push((now.as_nanos() / 1_000_000_000, due));
            if seen.len() == 3 {
                timers.heard(at(16));
            }
            if due == Due::Silent {
                break;
            }
        }
        let times: Vec<_> = seen.iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [5, 10, 15, 21, 26, 31, 36, 41, 46]);
        assert_eq!(seen.last(), Some(&(46, Due::Silent)));
    }

    #[test]
    fn who_asks_late_gets_every_idle_ack_before_the_end() {
        let mut timers = Timers::new(&Limits::default(), at(0));
        let due: Vec<_> = (0..6).map(|_| timers.due(at(60)).unwrap()).collect();
        assert_eq!(due[..5], [Due::IdleAck; 5]);
        assert_eq!(due[5], Due::Silent);
    }

    #[test]
    fn the_session_ends_however_busy_it_is() {
        let mut timers = Timers::new(&Limits::default(), at(0));
        timers.heard(at(2699));
        assert_eq!(timers.due(at(2699)), None);
        assert_eq!(timers.next(), at(2700));
        assert_eq!(timers.due(at(2700)), Some(Due::SessionEnd));
    }
}
