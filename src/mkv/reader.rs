// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matroska bytes in, in chunks of any size; events out.
//!
//! **The law: after every [`Reader::push`], call [`Reader::pull`] until it gives `Ok(None)`.** At
//! the end of the input call [`Reader::finish`]. After an error nothing more comes out, unless
//! [`Reader::resync`] tells the reader to go on at the next EBML header.
//!
//! The events are the same however the input was cut. [`Event::raw`] holds the bytes the event was
//! read from, so that all of them in a row are the input again, byte for byte. A payload that lies
//! within one chunk is a slice of that chunk.
//!
//! Several documents may follow each other, as GetMedia returns them. Segment and Cluster may have
//! unknown sizes; every other element must have a known one. Known elements must stand where RFC
//! 9559 puts them; unknown ones are passed on as [`EventKind::Other`].
//!
//! Memory is bounded by [`Limits`]: one element at a time is held, and only as much of it as came.

use bytes::Bytes;

use super::{
    block::{Block, BlockError},
    header::{self, EbmlHeader, HeaderError, Info, SimpleTag},
    ids,
};
use crate::{
    ebml::{
        Element, Id, Rope,
        children::ValueError,
        vint::{self, MAX_HEADER_LEN, Size},
    },
    track::Track,
};

/// How large an element may be, in bytes, before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A SimpleBlock or BlockGroup.
    pub block: u64,
    /// Anything else but Segment and Cluster.
    pub other: u64,
}

impl Default for Limits {
    /// A fragment is at most 50 MB (KVS quota), so a block is too; codec private data is at most
    /// 1 MiB in AWS's SDK, so 4 MiB hold any Tracks.
    fn default() -> Self {
        Self { block: 50_000_000, other: 4 << 20 }
    }
}

/// One step through the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Where `raw` starts in the input, in bytes.
    pub offset: u64,
    /// The bytes: a header for the start of a master, nothing for its end, all of any other.
    pub raw: Bytes,
    /// What they say.
    pub kind: EventKind,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// A SimpleBlock or BlockGroup.
    Block(Block),
    /// A Cluster is over.
    ClusterEnd,
    /// A Cluster begins.
    ClusterStart {
        /// Bytes of data, when the producer knew.
        size: Option<u64>,
    },
    /// The timestamp of the running Cluster, in ticks.
    ClusterTimestamp(u64),
    /// A document begins.
    EbmlHeader(EbmlHeader),
    /// The Segment's Info.
    Info(Info),
    /// An element without meaning here: Void, Cues, SeekHead, unknown ones.
    Other(Id),
    /// A Segment is over.
    SegmentEnd,
    /// A Segment begins.
    SegmentStart {
        /// Bytes of data, when the producer knew.
        size: Option<u64>,
    },
    /// Tags, flattened.
    Tags(Vec<SimpleTag>),
    /// The Tracks.
    Tracks(Vec<Track>),
}

/// What is wrong with the input, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Matroska, byte {offset}: {kind}")]
pub struct Error {
    /// Where the offending element starts in the input, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub kind: ErrorKind,
}

/// What is wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// A broken block.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A broken header element.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Larger than [`Limits`] or than the document's EBMLMaxSizeLength allows.
    #[error("element 0x{id:X} of {size} bytes is over the limit")]
    TooLarge {
        /// The element.
        id: Id,
        /// Its announced size.
        size: u64,
    },
    /// The input ended inside an element.
    #[error("input ends inside an element")]
    Truncated,
    /// The element may not stand here, or runs past its parent's end.
    #[error("element 0x{0:X} may not stand here")]
    Unexpected(Id),
    /// Only Segment and Cluster may have an unknown size.
    #[error("element 0x{0:X} has an unknown size")]
    UnknownSize(Id),
    /// A broken value.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// No element starts here.
    #[error(transparent)]
    Vint(#[from] vint::InvalidVint),
}

/// A master element that has begun.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where it ends in the input, when known.
    end: Option<u64>,
}

/// The reader. See the module for its law.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    input: Rope,
    /// Bytes taken out of `input` so far.
    offset: u64,
    /// A document has begun and its Segment has not ended.
    document: bool,
    max_size_length: u64,
    segment: Option<Open>,
    cluster: Option<Open>,
    failed: bool,
    /// What was refused still stands at the front of `input`, and would be refused again.
    refused_ahead: bool,
    /// Looking for the next EBML header.
    searching: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Reader {
    /// A reader at the start of a document.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            input: Rope::default(),
            offset: 0,
            document: false,
            max_size_length: 8,
            segment: None,
            cluster: None,
            failed: false,
            refused_ahead: false,
            searching: false,
        }
    }

    /// Hands over the next chunk.
    pub fn push(&mut self, chunk: Bytes) {
        self.input.push(chunk);
    }

    /// Bytes handed over and not yet part of an event.
    pub fn pending_bytes(&self) -> usize {
        self.input.len()
    }

    /// The next event; `None` when more input is needed.
    ///
    /// # Errors
    /// [`Error`] once; after it `None`, until [`Self::resync`].
    pub fn pull(&mut self) -> Result<Option<Event>, Error> {
        if self.failed || (self.searching && !self.search()) {
            return Ok(None);
        }
        let offset = self.offset;
        let event = self.next_event();
        if let Err(kind) = &event {
            self.failed = true;
            // A document that begins inside another one, which was cut, is where to go on.
            self.refused_ahead = offset == self.offset && *kind != ErrorKind::Unexpected(ids::EBML);
        }
        event.map_err(|kind| Error { offset, kind })
    }

    /// Says that no more input comes. Gives the ends of what is still open, then checks that the
    /// input did not end inside an element.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] when it did.
    pub fn finish(&mut self) -> Result<Vec<Event>, Error> {
        let open = [self.cluster, self.segment];
        let cut = open.iter().flatten().any(|open| open.end.is_some_and(|end| end > self.offset));
        if !self.failed && !self.searching && (cut || !self.input.is_empty()) {
            self.failed = true;
            return Err(Error { offset: self.offset, kind: ErrorKind::Truncated });
        }
        let cluster = self.cluster.take().map(|_| self.event(Bytes::new(), EventKind::ClusterEnd));
        let segment = self.segment.take().map(|_| self.event(Bytes::new(), EventKind::SegmentEnd));
        self.document = false;
        Ok(cluster.into_iter().chain(segment).collect())
    }

    /// Drops the rest of the running document: the next event is the next EBML header.
    pub fn resync(&mut self) {
        if std::mem::take(&mut self.refused_ahead) {
            self.offset += self.input.skip(1) as u64;
        }
        (self.segment, self.cluster, self.document) = (None, None, false);
        (self.failed, self.searching) = (false, true);
    }

    /// Skips to the next EBML header ID; false when there is none yet.
    fn search(&mut self) -> bool {
        let magic = ids::EBML.to_be_bytes();
        while self.input.len() >= magic.len() {
            let mut head = [0; 4096];
            let seen = self.input.peek(&mut head);
            let head = head.get(..seen).unwrap_or_default();
            match head.windows(magic.len()).position(|window| window == magic) {
                Some(at) => {
                    self.offset += self.input.skip(at) as u64;
                    self.searching = false;
                    return true;
                }
                None => self.offset += self.input.skip(seen + 1 - magic.len()) as u64,
            }
        }
        false
    }

    fn next_event(&mut self) -> Result<Option<Event>, ErrorKind> {
        let ends_here = |open: Open| open.end == Some(self.offset);
        let segment_ends = self.segment.is_some_and(ends_here);
        if self.cluster.is_some_and(|open| segment_ends || ends_here(open)) {
            return Ok(Some(self.end_cluster()));
        }
        if segment_ends {
            return Ok(Some(self.end_segment()));
        }
        let mut head = [0; MAX_HEADER_LEN];
        let seen = self.input.peek(&mut head);
        let head = head.get(..seen).unwrap_or_default();
        let Some((id, id_len)) = vint::decode_id(head)? else { return Ok(None) };
        let rest = head.get(id_len..).unwrap_or_default();
        let Some((size, size_len)) = vint::decode_size(rest)? else { return Ok(None) };

        if let Some(end) = self.implied_end(id) {
            return Ok(Some(end));
        }
        self.check_place(id)?;
        let size = match size {
            Size::Known(size) => Some(size),
            Size::Unknown if matches!(id, ids::SEGMENT | ids::CLUSTER) => None,
            Size::Unknown => return Err(ErrorKind::UnknownSize(id)),
        };
        let header_len = id_len + size_len;
        let end =
            size.map(|size| self.offset.saturating_add(header_len as u64).saturating_add(size));
        let needed = end.unwrap_or_else(|| self.offset.saturating_add(header_len as u64));
        let parents = [self.cluster, self.segment].into_iter().flatten();
        if parents.filter_map(|parent| parent.end).any(|parent_end| needed > parent_end) {
            return Err(ErrorKind::Unexpected(id));
        }
        // What a document announces holds inside it, not for the next one's header.
        if id != ids::EBML && size_len as u64 > self.max_size_length {
            return Err(ErrorKind::TooLarge { id, size: size.unwrap_or(u64::MAX) });
        }
        match id {
            ids::SEGMENT => {
                Ok(self.begin(header_len, Open { end }, EventKind::SegmentStart { size }))
            }
            ids::CLUSTER => {
                Ok(self.begin(header_len, Open { end }, EventKind::ClusterStart { size }))
            }
            _ => self.whole(id, header_len, size.unwrap_or(0)),
        }
    }

    /// The end of an unknown-size master that the arrival of `id` implies (RFC 8794 6.2).
    fn implied_end(&mut self, id: Id) -> Option<Event> {
        let top = id == ids::EBML || id == ids::SEGMENT;
        if self.cluster.is_some_and(|open| open.end.is_none()) && (top || is_segment_child(id)) {
            return Some(self.end_cluster());
        }
        let unknown = self.cluster.is_none() && self.segment.is_some_and(|open| open.end.is_none());
        (unknown && id == ids::EBML).then(|| self.end_segment())
    }

    fn check_place(&self, id: Id) -> Result<(), ErrorKind> {
        let fits = match id {
            ids::VOID | ids::CRC_32 => true,
            ids::EBML => self.segment.is_none(),
            ids::SEGMENT => self.segment.is_none() && self.document,
            _ if is_segment_child(id) => self.segment.is_some() && self.cluster.is_none(),
            _ if is_cluster_child(id) => self.cluster.is_some(),
            _ => self.segment.is_some(),
        };
        if fits { Ok(()) } else { Err(ErrorKind::Unexpected(id)) }
    }

    fn begin(&mut self, header_len: usize, open: Open, kind: EventKind) -> Option<Event> {
        let raw = self.input.take(header_len)?;
        match kind {
            EventKind::SegmentStart { .. } => self.segment = Some(open),
            _ => self.cluster = Some(open),
        }
        Some(self.event(raw, kind))
    }

    fn whole(&mut self, id: Id, header_len: usize, size: u64) -> Result<Option<Event>, ErrorKind> {
        let block = matches!(id, ids::SIMPLE_BLOCK | ids::BLOCK_GROUP);
        let limit = if block { self.limits.block } else { self.limits.other };
        let len = usize::try_from(size).ok().and_then(|size| size.checked_add(header_len));
        let Some(len) = len.filter(|_| size <= limit) else {
            return Err(ErrorKind::TooLarge { id, size });
        };
        let Some(raw) = self.input.take(len) else { return Ok(None) };
        let element = Element { id, data: raw.slice(header_len..) };
        match self.parse(element) {
            Ok(kind) => Ok(Some(self.event(raw, kind))),
            Err(error) => {
                self.offset += raw.len() as u64;
                Err(error)
            }
        }
    }

    fn parse(&mut self, element: Element) -> Result<EventKind, ErrorKind> {
        Ok(match element.id {
            ids::EBML => {
                let header = EbmlHeader::parse(&element)?;
                self.document = true;
                self.max_size_length = header.max_size_length;
                EventKind::EbmlHeader(header)
            }
            ids::INFO => EventKind::Info(Info::parse(&element)?),
            ids::TRACKS => EventKind::Tracks(header::parse_tracks(&element)?),
            ids::TAGS => EventKind::Tags(header::parse_tags(&element)?),
            ids::TIMESTAMP => EventKind::ClusterTimestamp(element.uint()?),
            ids::SIMPLE_BLOCK => EventKind::Block(Block::parse_simple(element.data)?),
            ids::BLOCK_GROUP => EventKind::Block(Block::parse_group(&element)?),
            id => EventKind::Other(id),
        })
    }

    fn end_cluster(&mut self) -> Event {
        self.cluster = None;
        self.event(Bytes::new(), EventKind::ClusterEnd)
    }

    fn end_segment(&mut self) -> Event {
        (self.segment, self.document) = (None, false);
        self.event(Bytes::new(), EventKind::SegmentEnd)
    }

    fn event(&mut self, raw: Bytes, kind: EventKind) -> Event {
        let offset = self.offset;
        self.offset += raw.len() as u64;
        Event { offset, raw, kind }
    }
}

fn is_segment_child(id: Id) -> bool {
    matches!(
        id,
        ids::SEEK_HEAD
            | ids::INFO
            | ids::TRACKS
            | ids::CLUSTER
            | ids::CUES
            | ids::ATTACHMENTS
            | ids::CHAPTERS
            | ids::TAGS
    )
}

fn is_cluster_child(id: Id) -> bool {
    matches!(
        id,
        ids::TIMESTAMP
            | ids::SILENT_TRACKS
            | ids::POSITION
            | ids::PREV_SIZE
            | ids::SIMPLE_BLOCK
            | ids::BLOCK_GROUP
    )
}

#[cfg(test)]
mod tests;
