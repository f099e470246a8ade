// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragments from their first frame until they are safe or dropped: a bounded FIFO in memory.
//!
//! A fragment is kept as the bytes that go to the socket, without the cluster start, which each
//! session writes. Small pieces (block headers, payloads below 4 kB) are gathered in one buffer;
//! larger payloads are held by reference. The budget counts what is pinned, not what is sent.
//!
//! ```text
//! open -> complete -> settled (safe or dropped): bytes freed at once, or, while a session is in
//!                                                the middle of it, when that session has passed
//! ```

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::api::{DropCause, Payload};
use super::outbox::Outbox;
use crate::{ids::TrackNumber, mkv::writer, time::TimestampScale, track::Track};

/// Payloads below this are copied together with block headers.
const GATHER_BELOW: usize = 4096;
/// Size of the buffer that gathers.
const GATHER_BUFFER: usize = 16 << 10;
/// The longest SimpleBlock header: ID 1, size 8, track number 4, offset 2, flags 1.
const BLOCK_HEADER: usize = 16;
/// What a frame costs besides its payload.
const FRAME_OVERHEAD: usize = 80;
/// What a fragment costs besides its frames.
const FRAGMENT_OVERHEAD: usize = 512;

/// What a frame of this payload will cost the budget.
pub(super) fn cost(payload: &Payload<'_>, pinned: usize) -> usize {
    FRAME_OVERHEAD
        + match payload {
            Payload::Share(data) if data.len() >= GATHER_BELOW => pinned.max(data.len()),
            payload => payload.len(),
        }
}

/// The tracks of a run of fragments. Fragments with different heads cannot share a session.
#[derive(Debug)]
pub(super) struct Head {
    /// Ascending.
    pub(super) id: u64,
    pub(super) tracks: Vec<Track>,
}

/// A fragment's place in the order of all fragments.
pub(super) type Seq = u64;

/// One fragment.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) head: Arc<Head>,
    /// Cluster timestamp.
    pub(super) ticks: u64,
    /// The frame it was cut at; what waited for that cut may be earlier.
    pub(super) cut: u64,
    /// Its earliest frame, or its start.
    pub(super) earliest: u64,
    /// Its latest frame.
    pub(super) latest: u64,
    /// Bytes of its blocks so far.
    pub(super) bytes: usize,
    pub(super) frames: u64,
    /// END_OF_FRAGMENT follows its last block.
    pub(super) end_mark: bool,
    /// No further block comes.
    pub(super) complete: bool,
    payload_bytes: u64,
    pinned: usize,
    /// Bit n: track number n has a frame.
    seen: u64,
    pieces: Vec<Bytes>,
    settled: bool,
    /// Sessions in the middle of it.
    senders: u32,
}

impl Fragment {
    /// The declared tracks that have a frame.
    pub(super) fn present(&self, track: &Track) -> bool {
        self.seen & bit(track.number) != 0
    }

    /// Every declared track has a frame.
    pub(super) fn all_present(&self) -> bool {
        self.head.tracks.iter().all(|track| self.present(track))
    }

    /// Safe or dropped.
    pub(super) fn settled(&self) -> bool {
        self.settled
    }

    fn release(&mut self) -> usize {
        self.pieces = Vec::new();
        std::mem::take(&mut self.pinned)
    }
}

fn bit(number: TrackNumber) -> u64 {
    1u64.checked_shl(u32::try_from(number.0).unwrap_or(u32::MAX)).unwrap_or(0)
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Spool {
    fragments: VecDeque<Fragment>,
    /// `Seq` of the first of `fragments`.
    first: Seq,
    /// The last fragment is open.
    open: bool,
    /// Bytes behind the pieces of the open fragment.
    gathered: BytesMut,
    pinned: usize,
    /// What sessions were told may have changed: a head, or a fragment that is gone.
    changed: bool,
}

impl Spool {
    pub(super) fn get(&self, seq: Seq) -> Option<&Fragment> {
        self.fragments.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    fn get_mut(&mut self, seq: Seq) -> Option<&mut Fragment> {
        self.fragments.get_mut(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// All that are held, settled ones in between included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Seq, &Fragment)> {
        (self.first..).zip(&self.fragments)
    }

    /// The `Seq` of the next fragment to be opened.
    pub(super) fn end(&self) -> Seq {
        self.first + self.fragments.len() as Seq
    }

    /// The first fragment from `seq` on that is not settled.
    pub(super) fn next_unsettled(&self, seq: Seq) -> Option<Seq> {
        let skip = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let at = self.fragments.iter().skip(skip).position(|fragment| !fragment.settled)?;
        Some(self.first + (skip + at) as Seq)
    }

    /// The open fragment.
    pub(super) fn open(&self) -> Option<&Fragment> {
        self.fragments.back().filter(|_| self.open)
    }

    fn open_mut(&mut self) -> Option<&mut Fragment> {
        self.fragments.back_mut().filter(|_| self.open)
    }

    /// Bytes that are pinned.
    pub(super) fn pinned(&self) -> usize {
        self.pinned
    }

    /// Frames that are neither safe nor dropped.
    pub(super) fn frames(&self) -> u64 {
        self.fragments.iter().filter(|f| !f.settled).map(|f| f.frames).sum()
    }

    /// Fragments that are neither safe nor dropped, the open one included.
    pub(super) fn unsettled(&self) -> usize {
        self.fragments.iter().filter(|f| !f.settled).count()
    }

    /// Whether a complete fragment waits to be safe.
    pub(super) fn has_complete(&self) -> bool {
        self.fragments.iter().any(|f| f.complete && !f.settled)
    }

    /// Starts a fragment at `ticks`, cut at a frame at `cut`. The one before must be closed.
    pub(super) fn start(&mut self, head: Arc<Head>, ticks: u64, cut: u64) {
        debug_assert!(!self.open && self.gathered.is_empty());
        self.open = true;
        self.pinned += FRAGMENT_OVERHEAD;
        self.fragments.push_back(Fragment {
            head,
            ticks,
            cut,
            earliest: ticks,
            latest: ticks,
            bytes: 0,
            frames: 0,
            end_mark: false,
            complete: false,
            payload_bytes: 0,
            pinned: FRAGMENT_OVERHEAD,
            seen: 0,
            pieces: Vec::new(),
            settled: false,
            senders: 0,
        });
    }

    /// Appends a frame to the open fragment. `ticks` must fit 16 bits from its start.
    pub(super) fn append(
        &mut self,
        track: TrackNumber,
        ticks: u64,
        key: bool,
        payload: &Payload<'_>,
        pinned: usize,
    ) {
        let cost = cost(payload, pinned);
        let len = payload.len();
        let Self { fragments, gathered, open, .. } = self;
        let Some(fragment) = fragments.back_mut().filter(|_| *open) else {
            debug_assert!(false, "no open fragment");
            return;
        };
        let offset = ticks.wrapping_sub(fragment.ticks) as i64;
        debug_assert!(i16::try_from(offset).is_ok(), "offset {offset}");
        let gather = len < GATHER_BELOW;
        let need = BLOCK_HEADER + if gather { len } else { 0 };
        if gathered.capacity() - gathered.len() < need {
            settle(gathered, &mut fragment.pieces);
            *gathered = BytesMut::with_capacity(GATHER_BUFFER);
        }
        let before = gathered.len();
        writer::simple_block_header(gathered, track, offset as i16, key, len);
        fragment.bytes += gathered.len() - before + len;
        match payload {
            Payload::Copy(data) if gather => gathered.extend_from_slice(data),
            Payload::Share(data) if gather => gathered.extend_from_slice(data),
            Payload::Copy(data) => {
                settle(gathered, &mut fragment.pieces);
                fragment.pieces.push(Bytes::copy_from_slice(data));
            }
            Payload::Share(data) => {
                settle(gathered, &mut fragment.pieces);
                fragment.pieces.push(data.clone());
            }
        }
        fragment.earliest = fragment.earliest.min(ticks);
        fragment.latest = fragment.latest.max(ticks);
        fragment.frames += 1;
        fragment.payload_bytes += len as u64;
        fragment.seen |= bit(track);
        fragment.pinned += cost;
        self.pinned += cost;
    }

    /// Gives the open fragment another head: the same without tracks that have no frame in it.
    pub(super) fn redeclare(&mut self, head: Arc<Head>) {
        if let Some(fragment) = self.open_mut() {
            fragment.head = head;
            self.changed = true;
        }
    }

    /// Whether sessions have to look at what they do again.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Completes the open fragment.
    pub(super) fn close(&mut self, end_mark: bool) {
        self.flush();
        if let Some(fragment) = self.open_mut() {
            fragment.complete = true;
            fragment.end_mark = end_mark;
        }
        self.open = false;
        self.compact();
    }

    /// Makes a piece of what was gathered.
    fn flush(&mut self) {
        let Self { fragments, gathered, open, .. } = self;
        if let Some(fragment) = fragments.back_mut().filter(|_| *open) {
            settle(gathered, &mut fragment.pieces);
        }
    }

    /// The piece of a fragment at `index`; gathered bytes count as one.
    pub(super) fn piece(&mut self, seq: Seq, index: usize) -> Option<Bytes> {
        if self.open && seq + 1 == self.end() {
            self.flush();
        }
        self.get(seq)?.pieces.get(index).cloned()
    }

    /// A session begins to send it.
    pub(super) fn begin_sending(&mut self, seq: Seq) {
        if let Some(fragment) = self.get_mut(seq) {
            fragment.senders += 1;
        }
    }

    /// A session is through with it, or died.
    pub(super) fn end_sending(&mut self, seq: Seq) {
        let Some(fragment) = self.get_mut(seq) else { return };
        fragment.senders = fragment.senders.saturating_sub(1);
        if fragment.settled && fragment.senders == 0 {
            let freed = fragment.release();
            self.pinned -= freed;
        }
        self.compact();
    }

    /// A fragment is safe.
    pub(super) fn persisted(&mut self, seq: Seq, out: &mut Outbox) {
        if let Some((frames, _)) = self.settle(seq) {
            out.stats.persisted_frames += frames;
            out.stats.persisted_fragments += 1;
        }
    }

    /// A fragment is dropped; an open one is closed.
    pub(super) fn drop_fragment(&mut self, seq: Seq, cause: DropCause, out: &mut Outbox) {
        if let Some((frames, bytes)) = self.settle(seq) {
            out.lose(cause, frames, bytes);
        }
    }

    fn settle(&mut self, seq: Seq) -> Option<(u64, u64)> {
        if self.open && seq + 1 == self.end() {
            self.close(false);
        }
        let fragment = self.get_mut(seq).filter(|fragment| !fragment.settled)?;
        fragment.settled = true;
        let counts = (fragment.frames, fragment.payload_bytes);
        if fragment.senders == 0 {
            let freed = fragment.release();
            self.pinned -= freed;
        }
        self.compact();
        Some(counts)
    }

    /// Drops the oldest whole fragment that no session is in the middle of; false when there is
    /// none.
    pub(super) fn evict(&mut self, out: &mut Outbox) -> bool {
        let oldest = self.iter().find(|(_, f)| f.complete && !f.settled && f.senders == 0);
        let Some((seq, _)) = oldest else { return false };
        self.drop_fragment(seq, DropCause::Full, out);
        true
    }

    /// Forgets settled fragments at the front.
    fn compact(&mut self) {
        while self.fragments.front().is_some_and(|f| f.settled && f.senders == 0) {
            self.fragments.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn check_invariants(&self) {
        let pinned: usize = self.fragments.iter().map(|f| f.pinned).sum();
        assert_eq!(self.pinned, pinned, "budget adds up");
        let open = self.fragments.iter().filter(|f| !f.complete).count();
        assert_eq!(open, usize::from(self.open), "only the last fragment is open");
        assert!(self.open().is_none_or(|f| !f.settled), "an open fragment is not settled");
        for (seq, fragment) in self.iter() {
            assert!(fragment.latest >= fragment.ticks, "fragment {seq}");
            assert!(fragment.frames > 0, "fragment {seq} has a frame");
            let sound = !fragment.complete || fragment.settled || fragment.all_present();
            assert!(sound, "4011 in fragment {seq}");
            let free = fragment.settled && fragment.senders == 0;
            assert!(!free || fragment.pinned == 0, "fragment {seq} is freed");
        }
    }
}

fn settle(gathered: &mut BytesMut, pieces: &mut Vec<Bytes>) {
    if !gathered.is_empty() {
        pieces.push(gathered.split().freeze());
    }
}

/// The time of `ticks`, or the last one there is.
pub(super) fn timestamp(scale: TimestampScale, ticks: u64) -> crate::time::Timestamp {
    scale.to_timestamp(ticks).unwrap_or(crate::time::Timestamp::from_nanos(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::{TrackKind, VideoFormat};

    fn head() -> Arc<Head> {
        let kind = TrackKind::Video(VideoFormat::default());
        let track = Track {
            number: TrackNumber(1),
            kind,
            codec_id: "V_TEST".into(),
            codec_private: None,
            name: None,
            default_duration_ns: None,
        };
        Arc::new(Head { id: 0, tracks: vec![track] })
    }

    fn append(spool: &mut Spool, ticks: u64, payload: &Payload<'_>) {
        spool.append(TrackNumber(1), ticks, true, payload, 10_000);
    }

    #[test]
    fn gathers_small_payloads_and_references_large_ones() {
        let mut spool = Spool::default();
        spool.start(head(), 100, 100);
        append(&mut spool, 100, &Payload::Copy(&[1; 10]));
        append(&mut spool, 101, &Payload::Share(Bytes::from(vec![2; 10])));
        let large = Bytes::from(vec![3; 5000]);
        append(&mut spool, 102, &Payload::Share(large.clone()));
        append(&mut spool, 103, &Payload::Copy(&[4; 5]));
        assert_eq!(spool.piece(0, 0).unwrap().len(), 2 * (6 + 10) + 7);
        assert_eq!(spool.piece(0, 1).unwrap().as_ptr(), large.as_ptr());
        assert_eq!(spool.piece(0, 2).unwrap().len(), 6 + 5);
        assert_eq!(spool.piece(0, 3), None);
        assert_eq!(spool.pinned(), FRAGMENT_OVERHEAD + 4 * FRAME_OVERHEAD + 25 + 10_000);
        spool.check_invariants();
    }

    #[test]
    fn frees_when_safe_but_not_under_a_sender() {
        let (mut spool, mut out) = (Spool::default(), Outbox::default());
        for ticks in [0, 1000, 2000] {
            spool.start(head(), ticks, ticks);
            append(&mut spool, ticks, &Payload::Copy(&[0; 100]));
            spool.close(false);
        }
        spool.begin_sending(0);
        spool.persisted(0, &mut out);
        spool.persisted(1, &mut out);
        spool.persisted(1, &mut out);
        assert_eq!((spool.unsettled(), spool.next_unsettled(0)), (1, Some(2)));
        assert!(spool.piece(0, 0).is_some() && spool.piece(1, 0).is_none());
        spool.end_sending(0);
        assert_eq!((spool.get(0).is_none(), spool.end()), (true, 3));
        assert_eq!((out.stats.persisted_frames, out.stats.persisted_fragments), (2, 2));
        spool.check_invariants();
    }

    #[test]
    fn evicts_the_oldest_that_nobody_sends() {
        let (mut spool, mut out) = (Spool::default(), Outbox::default());
        for ticks in [0, 1000, 2000] {
            spool.start(head(), ticks, ticks);
            append(&mut spool, ticks, &Payload::Copy(&[0; 100]));
            if ticks < 2000 {
                spool.close(false);
            }
        }
        spool.begin_sending(0);
        assert!(spool.evict(&mut out));
        assert!(spool.get(1).unwrap().settled() && !spool.get(0).unwrap().settled());
        assert!(!spool.evict(&mut out), "neither the one being sent nor the open one");
        assert_eq!((out.lost_frames, spool.frames()), (1, 2));
    }
}
