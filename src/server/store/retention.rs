// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is kept and what goes, as pure decisions.

use std::time::Duration;

use crate::time::Timestamp;

/// What the memory buffer of a stream without retention holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBounds {
    /// How far it reaches back.
    pub age: Duration,
    /// Bytes of fragments.
    pub bytes: u64,
}

impl Default for MemoryBounds {
    /// 5 minutes or 200 MB, whichever comes first. Source: KVS API, CreateStream.
    fn default() -> Self {
        Self { age: Duration::from_secs(300), bytes: 200_000_000 }
    }
}

impl MemoryBounds {
    /// Whether the oldest of the buffer has to go.
    pub(super) fn overflow(&self, oldest: Timestamp, now: Timestamp, bytes: u64) -> bool {
        bytes > self.bytes || now.saturating_since(oldest) > self.age
    }
}

/// The earliest server time that is kept: fragments that arrived before it go. With no retention
/// nothing on disk is kept.
pub(super) fn cutoff(now: Timestamp, retention: Option<Duration>) -> Timestamp {
    retention.map_or(Timestamp::from_nanos(u64::MAX), |retention| now.saturating_sub(retention))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_exactly_the_retention() {
        let now = Timestamp::from_millis(7_200_000).unwrap();
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(cutoff(now, hour), Timestamp::from_millis(3_600_000).unwrap());
        assert_eq!(cutoff(Timestamp::from_nanos(5), hour), Timestamp::from_nanos(0));
        assert_eq!(cutoff(now, None), Timestamp::from_nanos(u64::MAX));
    }

    #[test]
    fn memory_is_bounded_by_age_and_size() {
        let old = Timestamp::from_millis(1000).unwrap();
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let bounds = MemoryBounds::default();
        assert!(!bounds.overflow(old, at(301_000), bounds.bytes));
        assert!(bounds.overflow(old, at(301_001), 1));
        assert!(bounds.overflow(old, old, bounds.bytes + 1));
    }
}
