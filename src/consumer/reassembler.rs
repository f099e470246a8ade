// SPDX-License-Identifier: MIT OR Apache-2.0
//! Per-fragment documents in, one continuous set of tracks out.
//!
//! **The law: after every [`Reassembler::push`] pull until `None`; at the end of a response call
//! [`Reassembler::end_session`] and pull again.** What comes out is the same however the bytes
//! were cut.
//!
//! - **Tracks.** A track is announced once, and again only when its description changes; a
//!   fragment that repeats the known descriptions merges silently. Announcements precede the
//!   fragment they belong to.
//! - **Time.** A cluster whose time equals the service's producer timestamp to the millisecond is
//!   absolute: its own time, which may be finer, is used. When the two disagree the session is
//!   relative (or its producer's clock was corrected by the service), and producer time is the
//!   tag's time plus the offset from the cluster. That difference is held while later fragments
//!   agree with it to the millisecond, so that the tags' rounding makes no jitter.
//! - **Repeats.** A fragment that the [`Cursor`] knows is skipped whole; a frame that an earlier
//!   document had with the same producer time, track and payload is dropped and counted. So a cut
//!   fragment that is read again, or that its producer sent again under a new number, loses and
//!   doubles nothing. Frames without payload are filler and are dropped.
//! - **Ends.** A fragment is whole at its tail tags, or when the next document begins. A response
//!   that ends before either has cut it.
//! - **Faults.** Broken bytes are reported once, the rest of that fragment is skipped, and reading
//!   goes on at the next EBML header. Frames that cannot be placed are dropped, counted, and
//!   reported once per fragment.
//!
//! Memory: one element of the reader, the frames of one block, [`MAX_TRACKS`] descriptions,
//! [`MAX_TAGS`] tags and what `recent` remembers.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Completeness, Corrupt, CorruptCause, Cursor, FragmentEnd, FragmentHead, FragmentStart,
    recent::Recent,
};
use crate::{
    frame::Frame,
    ids::{ContinuationToken, TrackNumber},
    mkv::{self, Block, EventKind, Limits, Reader, SimpleTag},
    time::{Timestamp, TimestampScale},
    track::Track,
    wire::get_media::ChunkTags,
};

/// Track descriptions that are remembered. Past it those of other documents are forgotten.
pub const MAX_TRACKS: usize = 64;
/// Producer's tags of one fragment that are handed on; the service takes 10, mkvmerge writes more.
pub const MAX_TAGS: usize = 256;
/// Producer times further apart than this do not follow each other.
const GAP: Duration = Duration::from_secs(2);
/// The service's timestamps are milliseconds.
const TAG_PRECISION_NS: u64 = 1_000_000;

/// A step of what was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Something is wrong with a fragment.
    Corrupt(Corrupt),
    /// A fragment is over.
    End(FragmentEnd),
    /// The service says that it failed.
    Failed {
        /// Number of the error; 0 when the service gave none.
        id: u32,
        /// Its name or description.
        message: String,
    },
    /// A frame of the running fragment.
    Frame(Frame),
    /// A fragment begins.
    Start(FragmentStart),
    /// A track is new, or its description changed.
    Track(Track),
}

/// The machine. See the module.
#[derive(Debug)]
pub struct Reassembler {
    limits: Limits,
    reader: Reader,
    document: Document,
    out: VecDeque<Piece>,
    known: BTreeMap<TrackNumber, Track>,
    recent: Recent,
    /// Producer time minus cluster time of the running relative session.
    origin_ns: Option<i128>,
    /// Where the last fragment's frames ended.
    reached: Option<Timestamp>,
    /// Something was lost since the last frame.
    lost: bool,
}

/// The running document.
#[derive(Debug, Default)]
struct Document {
    scale: TimestampScale,
    tracks: Vec<Track>,
    end: FragmentEnd,
    /// The service failed in place of media; that has been said.
    failed: bool,
    /// A cluster has begun in it.
    started: bool,
    /// It is over; what still comes belongs to nothing.
    over: bool,
    /// The cursor does not want it.
    skipped: bool,
    /// Producer time of the running cluster.
    cluster_ns: Option<i128>,
    /// A frame that could not be placed was reported.
    reported: bool,
}

impl Document {
    /// Whether there is a fragment in it that has not ended.
    fn is_open(&self) -> bool {
        !self.over && !self.skipped && (self.started || self.end.head.number.is_some())
    }
}

impl Default for Reassembler {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Reassembler {
    /// Before the first session.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            reader: Reader::new(limits),
            document: Document::default(),
            out: VecDeque::new(),
            known: BTreeMap::new(),
            recent: Recent::default(),
            origin_ns: None,
            reached: None,
            lost: true,
        }
    }

    /// Hands over the next bytes of the running response.
    pub fn push(&mut self, bytes: Bytes) {
        self.reader.push(bytes);
    }

    /// The next piece; `None` when more bytes are needed. `cursor` says which fragments are known
    /// already.
    pub fn pull(&mut self, cursor: &Cursor) -> Option<Piece> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Some(piece);
            }
            match self.reader.pull() {
                Ok(Some(event)) => self.handle(event.kind, cursor),
                Ok(None) => return None,
                Err(error) => self.corrupt(error),
            }
        }
    }

    /// Whether a fragment that is wanted has begun and not ended.
    pub fn is_inside_fragment(&self) -> bool {
        self.document.is_open()
    }

    /// The response is over: ends what it cut, and makes ready for the next one.
    pub fn end_session(&mut self) {
        self.reader = Reader::new(self.limits);
        self.end_document(Completeness::Cut);
        self.document = Document::default();
    }

    fn handle(&mut self, kind: EventKind, cursor: &Cursor) {
        match kind {
            EventKind::EbmlHeader(_) => {
                self.end_document(Completeness::Whole);
                self.document = Document::default();
            }
            EventKind::Info(info) => self.document.scale = info.scale,
            EventKind::Tracks(tracks) => self.document.tracks = tracks,
            EventKind::Tags(tags) => self.handle_tags(tags, cursor),
            EventKind::ClusterStart { .. } => self.document.cluster_ns = None,
            EventKind::ClusterTimestamp(ticks) => self.begin_cluster(ticks),
            EventKind::Block(block) => self.handle_block(block),
            EventKind::ClusterEnd
            | EventKind::Other(_)
            | EventKind::SegmentEnd
            | EventKind::SegmentStart { .. } => {}
        }
    }

    fn handle_tags(&mut self, tags: Vec<SimpleTag>, cursor: &Cursor) {
        let document = &mut self.document;
        match ChunkTags::parse(&tags) {
            Ok(Some(ChunkTags::Head { number, server_time, producer_time })) => {
                document.end.head = FragmentHead {
                    number: Some(number),
                    server: Some(server_time),
                    producer: Some(producer_time),
                };
                document.skipped = !document.started && !cursor.wants(&document.end.head);
            }
            Ok(Some(ChunkTags::Tail { continuation_token, behind_now_ms })) => {
                self.handle_tail(continuation_token, behind_now_ms);
            }
            Ok(Some(ChunkTags::Failed { id, message, .. })) => {
                document.failed = true;
                self.out.push_back(Piece::Failed { id, message });
            }
            Ok(None) => {
                let room = MAX_TAGS.saturating_sub(document.end.tags.len());
                document.end.counts.tags += tags.len().saturating_sub(room) as u64;
                document.end.tags.extend(tags.into_iter().take(room));
            }
            Err(error) => self.report(error.into()),
        }
    }

    fn handle_tail(&mut self, token: Option<ContinuationToken>, behind_now_ms: Option<u64>) {
        let end = &mut self.document.end;
        end.behind_now = behind_now_ms.map(Duration::from_millis).or(end.behind_now);
        end.token = token.or_else(|| end.token.take());
        // The last of the two tail tags, should a service write them apart.
        if end.token.is_some() {
            self.end_document(Completeness::Whole);
        }
    }

    fn begin_cluster(&mut self, ticks: u64) {
        let document = &self.document;
        let ticks_ns = i128::from(ticks) * i128::from(document.scale.as_nanos());
        let origin_ns = match document.end.head.producer {
            // Later clusters of one document share the first one's origin.
            Some(producer) if !document.started => {
                agreed_origin(i128::from(producer.as_nanos()) - ticks_ns, self.origin_ns)
            }
            Some(_) => self.origin_ns.unwrap_or(0),
            None => 0,
        };
        let start_ns = ticks_ns + origin_ns;
        let Some(start) = timestamp(start_ns) else {
            self.report(CorruptCause::Time);
            return;
        };
        self.origin_ns = Some(origin_ns);
        self.document.cluster_ns = Some(start_ns);
        if !self.document.started && !self.document.over {
            self.document.started = true;
            if !self.document.skipped {
                self.begin_fragment(start);
            }
        }
    }

    fn begin_fragment(&mut self, start: Timestamp) {
        let changed = |track: &&Track| self.known.get(&track.number) != Some(*track);
        let news: Vec<Track> = self.document.tracks.iter().filter(changed).cloned().collect();
        if self.known.len() + news.len() > MAX_TRACKS {
            let tracks = &self.document.tracks;
            self.known.retain(|number, _| tracks.iter().any(|track| track.number == *number));
        }
        for track in news {
            self.known.insert(track.number, track.clone());
            self.out.push_back(Piece::Track(track));
        }
        let follows = self.reached.is_some_and(|reached| {
            start.saturating_since(reached) <= GAP && reached.saturating_since(start) <= GAP
        });
        let discont = std::mem::take(&mut self.lost) || !follows;
        let head = self.document.end.head.clone();
        self.out.push_back(Piece::Start(FragmentStart { head, start, discont }));
    }

    fn handle_block(&mut self, block: Block) {
        if self.document.skipped || self.document.over {
            return;
        }
        let Some(cluster_ns) = self.document.cluster_ns else {
            return self.drop_block(&block, CorruptCause::NoClusterTime);
        };
        let Some(track) = self.document.tracks.iter().find(|t| t.number == block.track) else {
            return self.drop_block(&block, CorruptCause::UndeclaredTrack(block.track));
        };
        let scale_ns = i128::from(self.document.scale.as_nanos());
        let mut pts_ns = cluster_ns + i128::from(block.offset_ticks) * scale_ns;
        let frame_ns = track.default_duration_ns.filter(|&ns| ns > 0);
        let duration = match block.duration_ticks {
            Some(ticks) if block.frames.len() == 1 => self.document.scale.to_duration(ticks),
            _ => frame_ns.map(Duration::from_nanos),
        };
        for data in &block.frames {
            let Some(pts) = timestamp(pts_ns) else {
                return self.drop_block(&block, CorruptCause::Time);
            };
            if !data.is_empty() {
                let (track, key, data) = (block.track, block.key, data.clone());
                self.handle_frame(Frame { track, pts, duration, key, data });
            }
            pts_ns += i128::from(frame_ns.unwrap_or(0));
        }
    }

    fn handle_frame(&mut self, frame: Frame) {
        let end = frame.pts.checked_add(frame.duration.unwrap_or_default()).unwrap_or(frame.pts);
        let counts = &mut self.document.end.counts;
        if self.recent.is_repeat(&frame) {
            counts.repeats += 1;
        } else {
            counts.frames += 1;
            self.out.push_back(Piece::Frame(frame));
        }
        let first = counts.frames + counts.repeats == 1;
        self.reached =
            Some(self.reached.filter(|_| !first).map_or(end, |reached| reached.max(end)));
    }

    fn drop_block(&mut self, block: &Block, cause: CorruptCause) {
        self.document.end.counts.unplaced += block.frames.len() as u64;
        self.lost = true;
        if !std::mem::replace(&mut self.document.reported, true) {
            self.report(cause);
        }
    }

    fn report(&mut self, cause: CorruptCause) {
        let number = self.document.end.head.number.clone();
        self.out.push_back(Piece::Corrupt(Corrupt { number, cause }));
    }

    /// The reader cannot go on: the rest of this document is skipped.
    fn corrupt(&mut self, error: mkv::Error) {
        if !self.document.skipped {
            self.report(error.into());
        }
        self.end_document(Completeness::Corrupt);
        self.document = Document { over: true, ..Document::default() };
        self.lost = true;
        self.reader.resync();
    }

    fn end_document(&mut self, completeness: Completeness) {
        let document = &mut self.document;
        let completeness = if document.failed { Completeness::Cut } else { completeness };
        // A cut one of which nothing came out never began.
        if document.is_open() && (document.started || completeness != Completeness::Cut) {
            let end = std::mem::take(&mut document.end);
            self.out.push_back(Piece::End(FragmentEnd { completeness, ..end }));
        }
        self.recent.end_document();
        self.document.over = true;
    }
}

/// What to add to cluster times so that they become producer times. See the module, "Time".
fn agreed_origin(difference_ns: i128, held_ns: Option<i128>) -> i128 {
    let close = |other: &i128| difference_ns.abs_diff(*other) < u128::from(TAG_PRECISION_NS);
    Some(0).filter(close).or_else(|| held_ns.filter(close)).unwrap_or(difference_ns)
}

fn timestamp(ns: i128) -> Option<Timestamp> {
    u64::try_from(ns).ok().map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests;
