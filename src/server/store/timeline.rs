// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which fragment contains an instant, as a pure decision.

use std::time::Duration;

use super::{index::TimeKind, record::FragmentMeta};
use crate::time::Timestamp;

/// How long a fragment's last frame is taken to last: its length ends where that frame starts.
const LAST_FRAME: Duration = Duration::from_millis(200);

impl TimeKind {
    /// Up to when a fragment that starts at `start` is taken to last.
    pub fn end(self, start: Timestamp, length_ms: u32) -> Timestamp {
        let length = Duration::from_millis(u64::from(length_ms)) + LAST_FRAME;
        start.checked_add(length).unwrap_or(start)
    }
}

/// Whether the fragment's media covers `time`.
fn covers(meta: &FragmentMeta, kind: TimeKind, time: Timestamp) -> bool {
    let start = kind.of(meta);
    start <= time && time <= kind.end(start, meta.length_ms)
}

/// The fragment that contains `time`: the last started one of those that cover it; in a gap the
/// next later one.
pub(super) fn containing(
    candidates: impl IntoIterator<Item = FragmentMeta>,
    kind: TimeKind,
    time: Timestamp,
) -> Option<FragmentMeta> {
    let (mut inside, mut later) = (None::<FragmentMeta>, None::<FragmentMeta>);
    for meta in candidates {
        let start = kind.of(&meta);
        if covers(&meta, kind, time) {
            if inside.is_none_or(|best| kind.of(&best) < start) {
                inside = Some(meta);
            }
        } else if start > time && later.is_none_or(|best| kind.of(&best) > start) {
            later = Some(meta);
        }
    }
    inside.or(later)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::number::Number;

    fn meta(sequence: u64, producer_ms: u64) -> FragmentMeta {
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        FragmentMeta {
            number: Number::from_parts(sequence, 0, 0),
            server: at(9_000_000 + sequence),
            producer: at(producer_ms),
            length_ms: 1900,
            timecode: 0,
            head_len: 0,
            body_len: 0,
        }
    }

    #[test]
    fn the_covering_one_or_else_the_next() {
        let all = [meta(1, 10_000), meta(2, 12_000), meta(3, 30_000), meta(4, 12_000)];
        let at = |ms| {
            let time = Timestamp::from_millis(ms).unwrap();
            containing(all, TimeKind::Producer, time).map(|m| m.number.sequence())
        };
        assert_eq!(at(0), Some(1));
        assert_eq!(at(11_999), Some(1));
        assert_eq!(at(12_000), Some(2));
        assert_eq!(at(14_101), Some(3));
        assert_eq!(at(32_101), None);
    }
}
