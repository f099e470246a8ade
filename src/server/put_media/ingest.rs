// SPDX-License-Identifier: MIT OR Apache-2.0
//! A producer's bytes in, fragments out: where each begins and ends, what its bytes are, and
//! everything that the service refuses.
//!
//! Pure: no clock, no store. **The law: after a [`Fault`] nothing more goes in.** What was given
//! out before it stays valid.
//!
//! | element | belongs to |
//! | --- | --- |
//! | EBML header, Segment, what precedes the first Cluster | the head of every fragment |
//! | Tags before Info | the head of the first fragment alone |
//! | a Cluster, and what follows it | the body of that fragment |
//! | what follows AWS_KINESISVIDEO_END_OF_FRAGMENT | the head of the next fragment alone |
//!
//! Bytes are never rewritten, with two exceptions. A Segment of known size is given an unknown
//! one, since each fragment comes back as a document of its own. The END_OF_FRAGMENT tag is not
//! stored: it is a message to the service, not metadata of the media; what the real service does
//! with it is not documented.
//!
//! A fragment is complete at the next Cluster, at END_OF_FRAGMENT, and at the clean end of the
//! body. The end of a Cluster of known size alone completes nothing, since Tags may follow.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Bytes, BytesMut};

use crate::{
    ebml::{Children, Writer, children::ValueError},
    ids::TrackNumber,
    mkv::{
        Block, Error, ErrorKind, Event, EventKind, Reader, SimpleTag, ids, reader,
        writer::END_OF_FRAGMENT,
    },
    server::config::Limits,
    time::{Timestamp, TimestampScale},
    wire::put_media::TimecodeType,
};

/// Bytes of everything before the first Cluster, and of what stands between two fragments.
const MAX_HEAD_BYTES: usize = 4 << 20;
/// Metadata items per fragment. Source: KVS quotas.
const MAX_METADATA: usize = 10;
/// Bytes of a metadata item's name. Source: KVS quotas.
const MAX_METADATA_NAME: usize = 128;
/// Bytes of a metadata item's value. Source: KVS quotas.
const MAX_METADATA_VALUE: usize = 256;
/// Pieces below this are gathered instead of referenced.
const SMALL_PIECE: usize = 2048;
/// Of a Tag: present when it is about a track or the whole file, as muxers write it.
const TARGETS: u32 = 0x63C0;

/// What happens to a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One begins.
    Begin {
        /// The Cluster's timestamp in ticks.
        timecode: u64,
        /// The producer's time of the Cluster.
        producer: Timestamp,
        /// The bytes before the place of the service's tags.
        head: Bytes,
    },
    /// Whole elements of the one in progress.
    Data(Bytes),
    /// The one in progress is complete.
    Complete {
        /// First to last frame.
        length_ms: u32,
    },
}

/// Why the session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The id of the ERROR ack.
    pub(super) id: u32,
    /// The Cluster's timestamp, when it is about a fragment.
    pub(super) timecode: Option<u64>,
    /// For the log.
    pub(super) reason: String,
}

/// The fragment in progress.
#[derive(Debug)]
struct Open {
    timecode: u64,
    bytes: usize,
    /// First and last block of each track, in ticks.
    spans: BTreeMap<TrackNumber, (i128, i128)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ingest {
    reader: Reader,
    limits: IngestLimits,
    timecode_type: TimecodeType,
    start: Timestamp,

    /// Heads of the first and of every further fragment.
    first_head: BytesMut,
    head: BytesMut,
    info_seen: bool,
    segment_seen: bool,
    scale: TimestampScale,
    tracks: Vec<TrackNumber>,

    /// A Cluster whose timestamp has not come, so far.
    cluster: Option<BytesMut>,
    cluster_size: Option<u64>,
    cluster_open: bool,
    open: Option<Open>,
    /// What followed a completed fragment.
    between: BytesMut,
    metadata: usize,
    last_timecode: Option<u64>,
    /// The last block of each track in the fragments before.
    last_blocks: BTreeMap<TrackNumber, i128>,

    steps: Vec<Step>,
    gathered: BytesMut,
}

#[derive(Clone, Copy, Debug)]
struct IngestLimits {
    fragment_bytes: usize,
    fragment_duration: Duration,
    tracks: usize,
}

impl Ingest {
    /// For a session with these limits, whose timestamps count from `start` when they are relative.
    pub(super) fn new(limits: &Limits, timecode_type: TimecodeType, start: Timestamp) -> Self {
        let bound = reader::Limits {
            block: limits.max_fragment_bytes as u64,
            other: MAX_HEAD_BYTES as u64,
        };
        Self {
            reader: Reader::new(bound),
            limits: IngestLimits {
                fragment_bytes: limits.max_fragment_bytes,
                fragment_duration: limits.max_fragment_duration,
                tracks: limits.max_tracks,
            },
            timecode_type,
            start,
            first_head: BytesMut::new(),
            head: BytesMut::new(),
            info_seen: false,
            segment_seen: false,
            scale: TimestampScale::default(),
            tracks: Vec::new(),
            cluster: None,
            cluster_size: None,
            cluster_open: false,
            open: None,
            between: BytesMut::new(),
            metadata: 0,
            last_timecode: None,
            last_blocks: BTreeMap::new(),
            steps: Vec::new(),
            gathered: BytesMut::new(),
        }
    }

    /// Takes the next bytes. Gives what they lead to, also when a fault ends the session.
    pub(super) fn push(&mut self, chunk: Bytes) -> (Vec<Step>, Result<(), Fault>) {
        self.reader.push(chunk);
        let result = loop {
            match self.reader.pull() {
                Ok(None) => break Ok(()),
                Ok(Some(event)) => {
                    if let Err(fault) = self.event(event) {
                        break Err(fault);
                    }
                }
                Err(error) => break Err(self.unreadable(&error)),
            }
        };
        self.settle();
        (std::mem::take(&mut self.steps), result)
    }

    /// The body ended cleanly.
    pub(super) fn finish(&mut self) -> (Vec<Step>, Result<(), Fault>) {
        // A Segment that says it is longer is fine; an element that is cut is not.
        let cut = self.reader.pending_bytes() > 0
            || self.cluster.is_some()
            || (self.cluster_open && self.cluster_size.is_some());
        let result = if cut {
            Err(self.fault(4006, "the upload ends inside an element"))
        } else {
            self.complete()
        };
        self.settle();
        (std::mem::take(&mut self.steps), result)
    }

    fn event(&mut self, event: Event) -> Result<(), Fault> {
        let Event { raw, kind, .. } = event;
        match kind {
            EventKind::EbmlHeader(_) if self.segment_seen => {
                Err(self.fault(4006, "a second EBML header"))
            }
            EventKind::SegmentStart { .. } if self.segment_seen => {
                Err(self.fault(4006, "a second Segment"))
            }
            EventKind::SegmentStart { size } => {
                self.segment_seen = true;
                self.header(&if size.is_some() { unknown_segment() } else { raw }, false)
            }
            EventKind::Info(_) if self.info_seen => Err(self.fault(4006, "a second Info")),
            EventKind::Info(info) => {
                self.info_seen = true;
                self.scale = info.scale;
                self.element(raw)
            }
            EventKind::Tracks(_) if !self.tracks.is_empty() || self.last_timecode.is_some() => {
                Err(self.fault(4006, "a second Tracks"))
            }
            EventKind::Tracks(tracks) => {
                if tracks.len() > self.limits.tracks {
                    let reason = format!("{} tracks, {} may be", tracks.len(), self.limits.tracks);
                    return Err(self.fault(4012, &reason));
                }
                self.tracks = tracks.iter().map(|track| track.number).collect();
                self.element(raw)
            }
            EventKind::Tags(tags) => self.tags(raw, &tags),
            EventKind::ClusterStart { size } => self.cluster_start(&raw, size),
            EventKind::ClusterTimestamp(ticks) => self.timestamp(&raw, ticks),
            EventKind::Block(block) => self.block(raw, &block),
            EventKind::ClusterEnd => {
                self.cluster_open = false;
                if self.cluster.is_some() {
                    return Err(self.fault(4006, "a Cluster without a timestamp"));
                }
                Ok(())
            }
            EventKind::SegmentEnd => Ok(()),
            EventKind::EbmlHeader(_) | EventKind::Other(_) => self.element(raw),
        }
    }

    /// An element without meaning here goes where it stands.
    fn element(&mut self, raw: Bytes) -> Result<(), Fault> {
        if let Some(cluster) = &mut self.cluster {
            cluster.extend_from_slice(&raw);
            return self.check_head();
        }
        if self.open.is_some() {
            return self.data(raw);
        }
        if self.last_timecode.is_none() {
            return self.header(&raw, false);
        }
        self.between.extend_from_slice(&raw);
        self.check_head()
    }

    fn header(&mut self, raw: &Bytes, first_only: bool) -> Result<(), Fault> {
        self.first_head.extend_from_slice(raw);
        if !first_only {
            self.head.extend_from_slice(raw);
        }
        self.check_head()
    }

    fn check_head(&self) -> Result<(), Fault> {
        let cluster = self.cluster.as_ref().map_or(0, BytesMut::len);
        let largest = self.first_head.len().max(self.between.len()).max(cluster);
        if largest > MAX_HEAD_BYTES {
            return Err(self.fault(4006, "more than 4 MiB without a block"));
        }
        Ok(())
    }

    fn tags(&mut self, raw: Bytes, tags: &[SimpleTag]) -> Result<(), Fault> {
        let control = |tag: &&SimpleTag| tag.name == END_OF_FRAGMENT;
        let controls = tags.iter().filter(control).count();
        if controls < tags.len() || tags.is_empty() {
            self.count_metadata(&raw)?;
            let before_info =
                self.last_timecode.is_none() && self.cluster.is_none() && !self.info_seen;
            if before_info {
                self.header(&raw, true)?;
            } else {
                self.element(raw)?;
            }
        }
        if controls > 0 { self.complete() } else { Ok(()) }
    }

    /// Metadata are SimpleTags of Tags without a target, as AWS's producers write them. What
    /// muxers say about a file or a track has one, and does not count.
    fn count_metadata(&mut self, raw: &Bytes) -> Result<(), Fault> {
        let (count, fits) = metadata(raw).map_err(|error| self.fault(4006, &error.to_string()))?;
        self.metadata += count;
        if self.metadata > MAX_METADATA || !fits {
            return Err(self.fault(4009, "too many, or too long, metadata items"));
        }
        Ok(())
    }

    fn cluster_start(&mut self, raw: &Bytes, size: Option<u64>) -> Result<(), Fault> {
        self.complete()?;
        if self.tracks.is_empty() {
            return Err(self.fault(4006, "a Cluster before Tracks"));
        }
        if size.is_some_and(|size| size > self.limits.fragment_bytes as u64) {
            return Err(self.fault(4001, "the Cluster is too large"));
        }
        (self.cluster_size, self.cluster_open, self.metadata) = (size, true, 0);
        self.cluster = Some(BytesMut::from(&raw[..]));
        Ok(())
    }

    fn timestamp(&mut self, raw: &Bytes, ticks: u64) -> Result<(), Fault> {
        let Some(mut cluster) = self.cluster.take() else {
            return Err(self.fault(4006, "a second Timestamp in a Cluster"));
        };
        cluster.extend_from_slice(raw);
        let fault = |id, reason: &str| Fault { timecode: Some(ticks), ..self.fault(id, reason) };
        if let Some(last) = self.last_timecode.filter(|&last| ticks <= last) {
            return Err(fault(4004, &format!("timecode {ticks} after {last}")));
        }
        let producer = match self.timecode_type {
            TimecodeType::Absolute => self.scale.to_timestamp(ticks),
            TimecodeType::Relative => {
                self.scale.to_duration(ticks).and_then(|after| self.start.checked_add(after))
            }
        };
        let Some(producer) = producer else {
            return Err(fault(4007, "the producer timestamp is past the year 2554"));
        };
        let mut head = match self.last_timecode {
            None => std::mem::take(&mut self.first_head),
            Some(_) => self.head.clone(),
        };
        head.extend_from_slice(&self.between.split());
        self.last_timecode = Some(ticks);
        self.open = Some(Open { timecode: ticks, bytes: 0, spans: BTreeMap::new() });
        let head = head.freeze();
        self.steps.push(Step::Begin { timecode: ticks, producer, head });
        self.data(cluster.freeze())
    }

    fn block(&mut self, raw: Bytes, block: &Block) -> Result<(), Fault> {
        let Some(open) = self.open.as_mut().filter(|_| self.cluster.is_none()) else {
            return Err(self.fault(4006, "a block before its Cluster's Timestamp"));
        };
        let ticks = i128::from(open.timecode) + i128::from(block.offset_ticks);
        let span = open.spans.entry(block.track).or_insert((ticks, ticks));
        *span = (span.0.min(ticks), span.1.max(ticks));
        let length = open.length(self.scale);
        if !self.tracks.contains(&block.track) {
            let reason = format!("a block of track {}, which Tracks lacks", block.track);
            return Err(self.fault(4010, &reason));
        }
        if let Some(last) = self.last_blocks.get(&block.track).filter(|&&last| ticks < last) {
            let reason = format!("track {}: a block at {ticks} after {last}", block.track);
            return Err(self.fault(4004, &reason));
        }
        if length > self.limits.fragment_duration {
            return Err(self.fault(4002, &format!("the fragment lasts {length:?}")));
        }
        self.data(raw)
    }

    /// More bytes of the fragment in progress.
    fn data(&mut self, raw: Bytes) -> Result<(), Fault> {
        if let Some(open) = &mut self.open {
            open.bytes += raw.len();
            if open.bytes > self.limits.fragment_bytes {
                return Err(self.fault(4001, "the fragment is too large"));
            }
        }
        if raw.len() < SMALL_PIECE {
            self.gathered.extend_from_slice(&raw);
        } else {
            self.settle();
            self.steps.push(Step::Data(raw));
        }
        Ok(())
    }

    /// Ends the fragment in progress, if there is one.
    fn complete(&mut self) -> Result<(), Fault> {
        let Some(open) = &self.open else { return Ok(()) };
        let missing = self.tracks.iter().find(|track| !open.spans.contains_key(track));
        if let Some(missing) = missing {
            return Err(self.fault(4011, &format!("track {missing} has no frame")));
        }
        let length_ms = u32::try_from(open.length(self.scale).as_millis()).unwrap_or(u32::MAX);
        for (track, (_, last)) in &open.spans {
            self.last_blocks.insert(*track, *last);
        }
        self.open = None;
        self.settle();
        self.steps.push(Step::Complete { length_ms });
        Ok(())
    }

    /// Gives out what was gathered.
    fn settle(&mut self) {
        if !self.gathered.is_empty() {
            self.steps.push(Step::Data(self.gathered.split().freeze()));
        }
    }

    fn unreadable(&self, error: &Error) -> Fault {
        let id = match error.kind {
            ErrorKind::TooLarge { id: ids::SIMPLE_BLOCK | ids::BLOCK_GROUP, .. } => 4001,
            _ => 4006,
        };
        self.fault(id, &error.to_string())
    }

    fn fault(&self, id: u32, reason: &str) -> Fault {
        let timecode = self.open.as_ref().map(|open| open.timecode);
        Fault { id, timecode, reason: reason.to_owned() }
    }
}

impl Open {
    /// First to last frame.
    fn length(&self, scale: TimestampScale) -> Duration {
        let first = self.spans.values().map(|span| span.0).min().unwrap_or(0);
        let last = self.spans.values().map(|span| span.1).max().unwrap_or(0);
        let ticks = u64::try_from(last - first).unwrap_or(u64::MAX);
        scale.to_duration(ticks).unwrap_or(Duration::MAX)
    }
}

/// The start of a Segment of unknown size, as the service writes it.
fn unknown_segment() -> Bytes {
    let mut writer = Writer::default();
    writer.unknown_size(ids::SEGMENT);
    writer.finish()
}

/// How many metadata items a Tags element holds, and whether each is short enough.
fn metadata(raw: &Bytes) -> Result<(usize, bool), ValueError> {
    let (mut count, mut fits) = (0, true);
    for tags in Children::new(raw.clone()) {
        for tag in tags?.children() {
            let tag = tag?;
            if tag.id != ids::TAG {
                // A CRC-32 or Void, which holds no elements.
                continue;
            }
            let children = tag.children().collect::<Result<Vec<_>, _>>()?;
            if children.iter().any(|child| child.id == TARGETS) {
                continue;
            }
            for simple in children.iter().filter(|child| child.id == ids::SIMPLE_TAG) {
                count += 1;
                for part in simple.children() {
                    let part = part?;
                    fits &= match part.id {
                        ids::TAG_NAME => part.data.len() <= MAX_METADATA_NAME,
                        ids::TAG_STRING => part.data.len() <= MAX_METADATA_VALUE,
                        _ => true,
                    };
                }
            }
        }
    }
    Ok((count, fits))
}

#[cfg(test)]
mod tests;
