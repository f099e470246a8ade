// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fragments of a stream without retention: a bounded buffer that no disk sees.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;

use super::{number::Number, record::FragmentMeta, retention::MemoryBounds};
use crate::time::Timestamp;

/// The newest fragments of a stream, oldest first out.
#[derive(Debug, Default)]
pub(super) struct Memory {
    fragments: BTreeMap<Number, (FragmentMeta, Vec<Bytes>)>,
    bytes: u64,
    bounds: MemoryBounds,
}

impl Memory {
    pub(super) fn new(bounds: MemoryBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Takes a fragment in and lets the oldest ones go.
    pub(super) fn insert(&mut self, meta: FragmentMeta, pieces: Vec<Bytes>, now: Timestamp) {
        self.bytes += meta.size();
        self.fragments.insert(meta.number, (meta, pieces));
        self.expire(now);
    }

    /// Lets go what is too old or too much. The newest one stays as long as it is not too old.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(entry) = self.fragments.first_entry() {
            let meta = entry.get().0;
            if !self.bounds.overflow(meta.server, now, self.bytes) {
                return;
            }
            self.bytes -= meta.size();
            entry.remove();
        }
    }

    pub(super) fn get(&self, number: Number) -> Option<(FragmentMeta, Vec<Bytes>)> {
        self.fragments.get(&number).cloned()
    }

    pub(super) fn next_after(&self, number: Number) -> Option<FragmentMeta> {
        let mut later = self.fragments.range((Bound::Excluded(number), Bound::Unbounded));
        later.next().map(|(_, (meta, _))| *meta)
    }

    pub(super) fn highest(&self) -> Option<Number> {
        self.fragments.last_key_value().map(|(number, _)| *number)
    }

    pub(super) fn metas(&self) -> impl Iterator<Item = FragmentMeta> {
        self.fragments.values().map(|(meta, _)| *meta)
    }

    pub(super) fn clear(&mut self) {
        (self.fragments, self.bytes) = (BTreeMap::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(sequence: u64, ms: u64, body_len: u32) -> FragmentMeta {
        let server = Timestamp::from_millis(ms).unwrap();
        FragmentMeta {
            number: Number::from_parts(sequence, ms, 0),
            server,
            producer: server,
            length_ms: 1000,
            timecode: 0,
            head_len: 0,
            body_len,
        }
    }

    #[test]
    fn the_oldest_leave_first_by_size_and_by_age() {
        let mut memory = Memory::default();
        for sequence in 0..6 {
            let meta = meta(sequence, 1000 * sequence, 50_000_000);
            memory.insert(meta, vec![], meta.server);
        }
        let held: Vec<_> = memory.metas().map(|m| m.number.sequence()).collect();
        assert_eq!(held, [2, 3, 4, 5]);
        assert_eq!(memory.next_after(Number::MIN).unwrap().number.sequence(), 2);
        memory.expire(Timestamp::from_millis(304_500).unwrap());
        assert_eq!(memory.metas().map(|m| m.number.sequence()).collect::<Vec<_>>(), [5]);
    }
}
