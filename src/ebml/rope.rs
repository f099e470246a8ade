// SPDX-License-Identifier: MIT OR Apache-2.0
//! Received chunks in order, taken out again as contiguous pieces.
//!
//! A piece that lies within one chunk is a slice of it. A piece that spans chunks is copied once,
//! into exactly its own size. Chunks too small to be worth a reference are gathered, so that input
//! byte by byte costs memory in proportion to its length.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Chunks shorter than this are gathered instead of referenced.
const SMALL: usize = 512;

/// A queue of bytes. See the module.
#[derive(Debug, Default)]
pub struct Rope {
    chunks: VecDeque<Bytes>,
    /// Bytes behind `chunks`, not yet worth a chunk.
    gathered: BytesMut,
    len: usize,
}

impl Rope {
    /// Appends a chunk.
    pub fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if chunk.len() < SMALL {
            self.gathered.extend_from_slice(&chunk);
        } else {
            self.settle();
            self.chunks.push_back(chunk);
        }
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the first bytes into `out` without taking them; returns how many there were.
    pub fn peek(&self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for piece in self.chunks.iter().map(Bytes::as_ref).chain([self.gathered.as_ref()]) {
            for (to, from) in out.iter_mut().skip(filled).zip(piece) {
                *to = *from;
                filled += 1;
            }
            if filled == out.len() {
                break;
            }
        }
        filled
    }

    /// Takes the first `len` bytes as one piece; `None` while fewer are held.
    pub fn take(&mut self, len: usize) -> Option<Bytes> {
        if len > self.len {
            return None;
        }
        if self.chunks.is_empty() {
            self.settle();
        }
        self.len -= len;
        match self.chunks.front_mut() {
            None => Some(Bytes::new()),
            Some(front) if front.len() > len => Some(front.split_to(len)),
            Some(front) if front.len() == len => self.chunks.pop_front(),
            Some(_) => Some(self.gather(len)),
        }
    }

    /// Drops the first `len` bytes, or all there are; returns how many.
    pub fn skip(&mut self, len: usize) -> usize {
        let skipped = len.min(self.len);
        self.len -= skipped;
        let mut left = skipped;
        while left > 0 {
            match self.chunks.front_mut() {
                Some(front) if front.len() > left => {
                    front.advance(left);
                    left = 0;
                }
                Some(front) => {
                    left -= front.len();
                    self.chunks.pop_front();
                }
                None => {
                    self.gathered.advance(left);
                    left = 0;
                }
            }
        }
        skipped
    }

    fn gather(&mut self, len: usize) -> Bytes {
        let mut piece = BytesMut::with_capacity(len);
        while piece.len() < len {
            if self.chunks.is_empty() {
                self.settle();
            }
            let Some(front) = self.chunks.front_mut() else { break };
            piece.extend_from_slice(&front.split_to(front.len().min(len - piece.len())));
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
        piece.freeze()
    }

    /// Turns the gathered bytes into a chunk of their own.
    fn settle(&mut self) {
        if !self.gathered.is_empty() {
            self.chunks.push_back(self.gathered.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_piece_within_a_chunk_is_not_copied() {
        let chunk = Bytes::from(vec![7u8; 4096]);
        let mut rope = Rope::default();
        rope.push(chunk.clone());
        let piece = rope.take(1000).unwrap();
        assert_eq!(piece.as_ptr(), chunk.as_ptr());
        assert_eq!(rope.take(3096).unwrap().as_ptr(), chunk[1000..].as_ptr());
        assert!(rope.is_empty());
    }

    proptest! {
        #[test]
        fn gives_back_what_went_in(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1200), 0..12),
            takes in prop::collection::vec((any::<bool>(), 0usize..2000), 0..40),
        ) {
            let whole: Vec<u8> = chunks.concat();
            let (mut rope, mut at) = (Rope::default(), 0);
            let mut chunks = chunks.into_iter();
            for (skip, len) in takes {
                if let Some(chunk) = chunks.next() {
                    rope.push(chunk.into());
                }
                let mut head = [0; 12];
                let seen = rope.peek(&mut head);
                prop_assert_eq!(&head[..seen], &whole[at..at + seen]);
                if skip {
                    at += rope.skip(len);
                } else if len <= rope.len() {
                    prop_assert_eq!(&rope.take(len).unwrap()[..], &whole[at..at + len]);
                    at += len;
                } else {
                    prop_assert!(rope.take(len).is_none());
                }
            }
        }
    }
}
