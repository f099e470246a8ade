// SPDX-License-Identifier: MIT OR Apache-2.0
//! The frames of the last fragments, so that an exact repeat is recognised.
//!
//! A repeat has the same producer time, track and payload hash as a frame of an *earlier*
//! document. Every remembered frame answers for one repeat only, so that frames which are equal
//! within one fragment come out as often as the producer sent them, however often that fragment
//! is read again. Payloads are not kept. Two different payloads of one track and one nanosecond
//! whose 64-bit hashes agree would be taken for a repeat.

use std::collections::VecDeque;

use crate::frame::Frame;

/// Documents remembered: twice the fragments of AWS's longest replay (40 s) at a second each.
const MAX_DOCUMENTS: usize = 80;
/// Frames remembered over all documents, 32 bytes each: a minute of three busy tracks.
const MAX_FRAMES: usize = 32_768;

/// One remembered frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    pts_ns: u64,
    track: u64,
    hash: u64,
    /// A repeat has been recognised by this frame; it stands for no other.
    answered: bool,
}

impl Seen {
    fn key(&self) -> (u64, u64, u64) {
        (self.pts_ns, self.track, self.hash)
    }
}

/// The memory. See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Earlier documents, the oldest first, each sorted.
    earlier: VecDeque<Vec<Seen>>,
    /// The running document, as it came.
    current: Vec<Seen>,
    frames: usize,
}

impl Recent {
    /// Remembers `frame` and says whether an earlier document had it.
    pub(super) fn is_repeat(&mut self, frame: &Frame) -> bool {
        let seen = Seen {
            pts_ns: frame.pts.as_nanos(),
            track: frame.track.0,
            hash: hash(&frame.data),
            answered: false,
        };
        let repeat = self.earlier.iter_mut().rev().any(|document| answer(document, seen));
        self.current.push(seen);
        self.frames += 1;
        if self.current.len() >= MAX_FRAMES {
            self.end_document();
        }
        repeat
    }

    /// The running document is over, whole or not.
    pub(super) fn end_document(&mut self) {
        if !self.current.is_empty() {
            let mut document = std::mem::take(&mut self.current);
            document.sort_unstable();
            self.earlier.push_back(document);
        }
        while self.earlier.len() > MAX_DOCUMENTS || self.frames > MAX_FRAMES {
            let Some(oldest) = self.earlier.pop_front() else { break };
            self.frames -= oldest.len();
        }
    }
}

/// Whether `document` holds `seen` and has not answered for it yet.
fn answer(document: &mut [Seen], seen: Seen) -> bool {
    if document.last().is_none_or(|last| last.pts_ns < seen.pts_ns) {
        return false;
    }
    let from = document.partition_point(|other| other.key() < seen.key());
    let equal = document.iter_mut().skip(from).take_while(|other| other.key() == seen.key());
    match equal.into_iter().find(|other| !other.answered) {
        Some(other) => {
            other.answered = true;
            true
        }
        None => false,
    }
}

/// A hash of a payload at memory speed: 16 bytes a step, folded 64x64 to 128 bit multiplication.
fn hash(data: &[u8]) -> u64 {
    const K: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93];
    let word =
        |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, &byte| (word << 8) | u64::from(byte));
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        (wide as u64) ^ ((wide >> 64) as u64)
    };
    let (steps, rest) = data.as_chunks::<16>();
    let mut state = (data.len() as u64) ^ K[0];
    for step in steps {
        let wide = u128::from_le_bytes(*step);
        state = fold((wide as u64) ^ K[1], ((wide >> 64) as u64) ^ state);
    }
    let (low, high) = rest.split_at(rest.len().min(8));
    fold(word(low) ^ K[1], word(high) ^ state.rotate_left(23)) ^ state
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{ids::TrackNumber, time::Timestamp};

    fn frame(track: u64, pts_ns: u64, data: &'static [u8]) -> Frame {
        Frame {
            track: TrackNumber(track),
            pts: Timestamp::from_nanos(pts_ns),
            duration: None,
            key: true,
            data: Bytes::from_static(data),
        }
    }

    #[test]
    fn recognises_a_repeat_by_time_track_and_payload() {
        let mut recent = Recent::default();
        assert!(!recent.is_repeat(&frame(1, 10, b"a")));
        recent.end_document();
        for other in [frame(2, 10, b"a"), frame(1, 11, b"a"), frame(1, 10, b"b")] {
            assert!(!recent.is_repeat(&other), "{other:?}");
        }
        assert!(recent.is_repeat(&frame(1, 10, b"a")));
    }

    #[test]
    fn equal_frames_of_one_document_are_as_many_as_they_were() {
        let mut recent = Recent::default();
        let a = frame(1, 10, b"a");
        assert!(!recent.is_repeat(&a));
        assert!(!recent.is_repeat(&a), "twice in one fragment is twice");
        recent.end_document();
        let again: Vec<_> = (0..3).map(|_| recent.is_repeat(&a)).collect();
        assert_eq!(again, [true, true, false]);
        recent.end_document();
        let again: Vec<_> = (0..4).map(|_| recent.is_repeat(&a)).collect();
        assert_eq!(again, [true, true, true, false]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for pts in 0..(3 * MAX_FRAMES as u64) {
            recent.is_repeat(&frame(1, pts, b"a"));
            if pts % 500 == 0 {
                recent.end_document();
            }
        }
        assert!(recent.frames <= MAX_FRAMES + 500);
        assert!(recent.earlier.len() <= MAX_DOCUMENTS);
        assert_eq!(
            recent.frames,
            recent.earlier.iter().map(Vec::len).sum::<usize>() + recent.current.len()
        );
    }

    #[test]
    fn the_hash_sees_every_byte_and_the_length() {
        let data: Vec<u8> = (0..100u8).collect();
        for len in 0..=100 {
            let whole = hash(&data[..len]);
            for at in 0..len {
                let mut other = data[..len].to_vec();
                other[at] ^= 1;
                assert_ne!(hash(&other), whole, "length {len}, byte {at}");
            }
            assert_ne!(hash(&[&data[..len], &[0]].concat()), whole, "length {len}");
        }
    }
}
