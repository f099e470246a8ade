// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes whatsoever: the bodies of fuzz targets and of property tests.
//!
//! Each function takes bytes and panics when a law is broken. `fuzz/` calls them from libFuzzer,
//! `cargo test` from proptest. Compiled for tests and with the feature `fuzzing` only, so the
//! plugin carries none of it.
//!
//! To run one: `cargo fuzz run --sanitizer none mkv_reader` (any toolchain; with nightly, leave the
//! option out).

mod producer;

pub use producer::producer;

use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    consumer::cursor::Cursor,
    consumer::reassembler::{Piece, Reassembler},
    ebml::{Children, SizeWidth, Writer},
    mkv::{self, Event, EventKind, Limits, Reader, SimpleTag},
    time::Timestamp,
    wire::{
        ack::{self, AckError, AckEvent, AckParser, MAX_ACK_BYTES},
        control, get_media,
        get_media::{ChunkTags, StartSelector},
        put_media::{self, PutMediaHead},
    },
};

/// Small enough that random input reaches them.
const LIMITS: Limits = Limits { block: 4096, other: 1024 };

/// One step of reading Matroska.
type Step = Result<Event, mkv::Error>;

/// The Matroska reader: the same events and errors however the input is cut, each event's bytes
/// where it says they are, all bytes accounted for, no more held than one element.
///
/// The first byte chooses how the rest is cut.
pub fn mkv_reader(input: &[u8]) {
    let Some((&cut, input)) = input.split_first() else { return };
    let whole = read_mkv(input, input.len().max(1));
    assert_eq!(whole, read_mkv(input, usize::from(cut) * 8 + 1), "depends on how it is cut");
    let (mut at, mut gap) = (0, false);
    for step in &whole {
        match step {
            Ok(event) => {
                let start = usize::try_from(event.offset).expect("the input is in memory");
                assert!(start == at || (gap && start > at), "{event:?} does not follow {at}");
                at = start + event.raw.len();
                assert_eq!(event.raw, input.get(start..at).expect("within the input"));
                gap = false;
            }
            Err(error) => {
                assert!(error.offset >= at as u64, "{error:?} is before {at}");
                gap = true;
            }
        }
    }
    assert!(gap || at == input.len(), "only an error may leave bytes unread");
    check_nesting(&whole);
}

fn read_mkv(input: &[u8], chunk: usize) -> Vec<Step> {
    let mut reader = Reader::new(LIMITS);
    let mut steps = Vec::new();
    for piece in input.chunks(chunk) {
        reader.push(Bytes::copy_from_slice(piece));
        loop {
            match reader.pull() {
                Ok(Some(event)) => steps.push(Ok(event)),
                Ok(None) => break,
                Err(error) => {
                    steps.push(Err(error));
                    reader.resync();
                }
            }
        }
        let bound = usize::try_from(LIMITS.block.max(LIMITS.other)).expect("small") + 12;
        assert!(reader.pending_bytes() < bound, "{} bytes are held", reader.pending_bytes());
    }
    match reader.finish() {
        Ok(events) => steps.extend(events.into_iter().map(Ok)),
        Err(error) => steps.push(Err(error)),
    }
    steps
}

/// Segments and Clusters begin and end in pairs, Clusters within Segments, blocks within Clusters.
fn check_nesting(steps: &[Step]) {
    let (mut segment, mut cluster) = (false, false);
    for step in steps {
        let Ok(event) = step else {
            (segment, cluster) = (false, false);
            continue;
        };
        match event.kind {
            EventKind::EbmlHeader(_) => assert!(!segment && !cluster, "{event:?}"),
            EventKind::SegmentStart { .. } => {
                assert!(!segment && !cluster, "{event:?}");
                segment = true;
            }
            EventKind::SegmentEnd => {
                assert!(segment && !cluster, "{event:?}");
                segment = false;
            }
            EventKind::ClusterStart { .. } => {
                assert!(segment && !cluster, "{event:?}");
                cluster = true;
            }
            EventKind::ClusterEnd => {
                assert!(cluster, "{event:?}");
                cluster = false;
            }
            EventKind::Block(_) | EventKind::ClusterTimestamp(_) => assert!(cluster, "{event:?}"),
            EventKind::Info(_) | EventKind::Tags(_) | EventKind::Tracks(_) => {
                assert!(segment && !cluster, "{event:?}");
            }
            EventKind::Other(_) => {}
        }
    }
}

/// The reassembler: the same pieces however the response is cut, frames within fragments only, each
/// fragment with one start and one end. The first byte chooses how the rest is cut.
pub fn reassembler(input: &[u8]) {
    let Some((&cut, input)) = input.split_first() else { return };
    let whole = reassemble(input, input.len().max(1));
    let again = reassemble(input, usize::from(cut) * 8 + 1);
    assert_eq!(whole, again, "depends on how it is cut");
    let mut inside = false;
    for piece in &whole {
        match piece {
            Piece::Corrupt(_) | Piece::Failed { .. } | Piece::Track(_) => {}
            Piece::End(_) => inside = false,
            Piece::Frame(_) => assert!(inside, "{piece:?} is outside a fragment"),
            Piece::Start(_) => {
                assert!(!inside, "{piece:?} is inside another fragment");
                inside = true;
            }
        }
    }
    assert!(!inside, "the last fragment has no end");
}

fn reassemble(input: &[u8], chunk: usize) -> Vec<Piece> {
    let cursor = Cursor::new(StartSelector::Earliest);
    let (mut reassembler, mut pieces) = (Reassembler::new(LIMITS), Vec::new());
    for piece in input.chunks(chunk) {
        reassembler.push(Bytes::copy_from_slice(piece));
        pieces.extend(std::iter::from_fn(|| reassembler.pull(&cursor)));
    }
    reassembler.end_session();
    pieces.extend(std::iter::from_fn(|| reassembler.pull(&cursor)));
    pieces
}

/// Elements in a buffer: nothing panics, and what is written again reads the same.
pub fn ebml_children(input: &[u8]) {
    for element in Children::new(Bytes::copy_from_slice(input)) {
        let Ok(element) = element else { return };
        let (uint, text) = (element.uint().ok(), element.text());
        let float = element.float().ok();
        let mut w = Writer::default();
        w.header(element.id, element.data.len() as u64, SizeWidth::Four);
        w.buffer().extend_from_slice(&element.data);
        let again = Children::new(w.finish()).next().expect("one element").expect("is whole");
        assert_eq!((again.uint().ok(), again.text()), (uint, text));
        assert_eq!(again.float().ok().map(f64::to_bits), float.map(f64::to_bits));
        assert_eq!(again, element);
    }
}

/// The ack parser: the same acks however the input is cut, no more held than one ack, and what is
/// written again reads the same. The first byte chooses how the rest is cut.
pub fn ack_parser(input: &[u8]) {
    let Some((&cut, input)) = input.split_first() else { return };
    let whole = read_acks(input, input.len().max(1));
    assert_eq!(whole, read_acks(input, usize::from(cut) + 1), "depends on how it is cut");
    let lines: Vec<_> = whole.0.iter().map(ack::encode).collect();
    // What was escaped may be longer when it is written again.
    if lines.iter().all(|line| line.len() <= MAX_ACK_BYTES) {
        assert_eq!(read_acks(&lines.concat(), 7), (whole.0, None));
    }
}

fn read_acks(input: &[u8], chunk: usize) -> (Vec<AckEvent>, Option<AckError>) {
    let (mut parser, mut events) = (AckParser::default(), Vec::new());
    for piece in input.chunks(chunk) {
        parser.push(piece);
        loop {
            match parser.pull() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

/// Every JSON body: what was read and written once reads and writes the same from then on.
pub fn control_json(input: &[u8]) {
    json::<control::CreateStreamInput>(input);
    json::<control::CreateStreamOutput>(input);
    json::<control::DeleteStreamInput>(input);
    json::<control::DescribeStreamInput>(input);
    json::<control::DescribeStreamOutput>(input);
    json::<control::ErrorBody>(input);
    json::<control::GetDataEndpointInput>(input);
    json::<control::GetDataEndpointOutput>(input);
    json::<control::GetMediaForFragmentListInput>(input);
    json::<control::GetMediaInput>(input);
    json::<control::ListFragmentsInput>(input);
    json::<control::ListFragmentsOutput>(input);
    json::<control::ListStreamsInput>(input);
    json::<control::ListStreamsOutput>(input);
    json::<control::ListTagsForStreamInput>(input);
    json::<control::ListTagsForStreamOutput>(input);
    json::<control::TagStreamInput>(input);
    json::<control::UntagStreamInput>(input);
    json::<control::UpdateDataRetentionInput>(input);
    json::<control::UpdateStreamInput>(input);
    json::<StartSelector>(input);
}

/// The first writing may round: times carry milliseconds.
fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(input) else { return };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let read: T = serde_json::from_slice(&written).expect("what was written can be read");
    let again = serde_json::to_vec(&read).expect("what was read can be written");
    assert_eq!(written, again);
    assert_eq!(read, serde_json::from_slice::<T>(&again).expect("as before"));
}

/// PutMedia's headers, as lines of `name: value`: what was read and written once reads and writes
/// the same from then on.
pub fn put_media_headers(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n') {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (header_name(name), HeaderValue::from_bytes(value)) {
            headers.insert(name, value);
        }
    }
    let Ok(head) = PutMediaHead::parse(&headers) else { return };
    let head = PutMediaHead::parse(&head.to_headers()).expect("what was written can be read");
    assert_eq!(PutMediaHead::parse(&head.to_headers()), Ok(head));
}

/// A digit stands for one of PutMedia's headers, so that random input meets them.
fn header_name(name: &[u8]) -> Result<HeaderName, http::header::InvalidHeaderName> {
    Ok(match name {
        b"0" => put_media::STREAM_NAME,
        b"1" => put_media::STREAM_ARN,
        b"2" => put_media::TIMECODE_TYPE,
        b"3" => put_media::START_TIMESTAMP,
        b"4" => put_media::ACKS_REQUIRED,
        other => HeaderName::from_bytes(other)?,
    })
}

/// The service's tags, as lines of `name=value`: what was read and written once reads and writes
/// the same from then on.
pub fn chunk_tags(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let tag = |(name, value): (&str, &str)| SimpleTag {
        name: tag_name(name).to_owned(),
        value: value.to_owned(),
    };
    let tags: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).map(tag).collect();
    let Ok(Some(read)) = ChunkTags::parse(&tags) else { return };
    let read = ChunkTags::parse(&read.to_simple_tags()).expect("what was written can be read");
    let read = read.expect("what was written is the service's");
    assert_eq!(ChunkTags::parse(&read.to_simple_tags()), Ok(Some(read)));
}

/// A digit or letter stands for one of the service's tags, so that random input meets them.
fn tag_name(name: &str) -> &str {
    match name {
        "0" => get_media::FRAGMENT_NUMBER,
        "1" => get_media::SERVER_TIMESTAMP,
        "2" => get_media::PRODUCER_TIMESTAMP,
        "3" => get_media::SERVER_SIDE_TIMESTAMP,
        "4" => get_media::PRODUCER_SIDE_TIMESTAMP,
        "5" => get_media::MILLIS_BEHIND_NOW,
        "6" => get_media::CONTINUATION_TOKEN,
        "7" => get_media::ERROR_ID,
        "8" => get_media::ERROR_CODE,
        "9" => get_media::EXCEPTION_ERROR_CODE,
        "a" => get_media::EXCEPTION_MESSAGE,
        other => other,
    }
}

/// Times as users and the wire write them: what was printed reads the same, to the millisecond.
pub fn timestamp(input: &[u8]) {
    let Ok(time) = Timestamp::parse(&String::from_utf8_lossy(input)) else { return };
    let printed = Timestamp::parse(&time.to_decimal_seconds()).expect("what was printed is read");
    assert_eq!(printed.as_millis(), time.as_millis());
    assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
}

#[cfg(test)]
mod tests;
