// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bytes around payloads: a session's header, cluster starts, block headers, tags.
//!
//! A payload itself is never touched: the caller sends a block header, then the payload.

use bytes::{Bytes, BytesMut};

use super::{header::SimpleTag, ids};
use crate::{
    ebml::{SizeWidth, Writer},
    ids::TrackNumber,
    time::TimestampScale,
    track::{Track, TrackKind},
};

/// TagName that tells the service a fragment is complete now. Source: PIC `Stream.h`.
pub const END_OF_FRAGMENT: &str = "AWS_KINESISVIDEO_END_OF_FRAGMENT";

/// Bytes of the Segment size that stands for "unknown", as the service itself writes it.
pub const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// What a session's header says.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentHeader<'a> {
    /// Nanoseconds per tick.
    pub scale: TimestampScale,
    /// The tracks of the session.
    pub tracks: &'a [Track],
    /// MuxingApp and WritingApp.
    pub application: &'a str,
    /// SegmentUUID, 16 random bytes.
    pub segment_uuid: [u8; 16],
}

/// EBML header, the start of a Segment of unknown size, Info and Tracks.
pub fn document_header(header: &DocumentHeader<'_>) -> Bytes {
    let mut w = Writer::default();
    w.master(ids::EBML, SizeWidth::Minimal, |w| {
        w.uint(ids::EBML_VERSION, 1);
        w.uint(ids::EBML_READ_VERSION, 1);
        w.uint(ids::EBML_MAX_ID_LENGTH, 4);
        w.uint(ids::EBML_MAX_SIZE_LENGTH, 8);
        w.text(ids::DOC_TYPE, "matroska");
        w.uint(ids::DOC_TYPE_VERSION, 4);
        w.uint(ids::DOC_TYPE_READ_VERSION, 2);
    });
    w.unknown_size(ids::SEGMENT);
    w.master(ids::INFO, SizeWidth::Minimal, |w| {
        w.binary(ids::SEGMENT_UUID, &header.segment_uuid);
        w.uint(ids::TIMESTAMP_SCALE, header.scale.as_nanos());
        w.text(ids::MUXING_APP, header.application);
        w.text(ids::WRITING_APP, header.application);
    });
    w.master(ids::TRACKS, SizeWidth::Minimal, |w| {
        for track in header.tracks {
            w.master(ids::TRACK_ENTRY, SizeWidth::Minimal, |w| write_track(w, track));
        }
    });
    w.finish()
}

fn write_track(w: &mut Writer, track: &Track) {
    w.uint(ids::TRACK_NUMBER, track.number.0);
    w.uint(ids::TRACK_UID, track.number.0);
    let track_type = match track.kind {
        TrackKind::Audio(_) => 2,
        TrackKind::Data(other) => u64::from(other),
        TrackKind::Video(_) => 1,
    };
    w.uint(ids::TRACK_TYPE, track_type);
    w.uint(ids::FLAG_LACING, 0);
    if let Some(ns) = track.default_duration_ns {
        w.uint(ids::DEFAULT_DURATION, ns);
    }
    if let Some(name) = &track.name {
        w.text(ids::TRACK_NAME, name);
    }
    w.text(ids::CODEC_ID, &track.codec_id);
    if let Some(codec_private) = &track.codec_private {
        w.binary(ids::CODEC_PRIVATE, codec_private);
    }
    match &track.kind {
        TrackKind::Audio(audio) => w.master(ids::AUDIO, SizeWidth::Minimal, |w| {
            w.float(ids::SAMPLING_FREQUENCY, audio.sampling_hz);
            w.uint(ids::CHANNELS, u64::from(audio.channels));
            if let Some(bits) = audio.bit_depth {
                w.uint(ids::BIT_DEPTH, u64::from(bits));
            }
        }),
        TrackKind::Data(_) => {}
        TrackKind::Video(video) => w.master(ids::VIDEO, SizeWidth::Minimal, |w| {
            w.uint(ids::PIXEL_WIDTH, u64::from(video.width));
            w.uint(ids::PIXEL_HEIGHT, u64::from(video.height));
        }),
    }
}

/// The start of a Cluster of unknown size, with its timestamp in ticks.
pub fn cluster_start(timestamp_ticks: u64) -> Bytes {
    let mut w = Writer::default();
    w.unknown_size(ids::CLUSTER);
    w.uint(ids::TIMESTAMP, timestamp_ticks);
    w.finish()
}

/// Appends what precedes `payload_len` bytes of payload in a SimpleBlock.
///
/// Track numbers past 2^28 - 2, which no session has, would not fit and saturate.
pub fn simple_block_header(
    out: &mut BytesMut,
    track: TrackNumber,
    offset_ticks: i16,
    key: bool,
    payload_len: usize,
) {
    let mut w = Writer::default();
    std::mem::swap(w.buffer(), out);
    let width = crate::ebml::vint::size_width(track.0).min(4);
    w.header(ids::SIMPLE_BLOCK, (width + 3 + payload_len) as u64, SizeWidth::Minimal);
    let number = crate::ebml::vint::encode_size(track.0, width).unwrap_or([0xFF; 8]);
    let buffer = w.buffer();
    buffer.extend_from_slice(number.get(..width).unwrap_or(&number));
    buffer.extend_from_slice(&offset_ticks.to_be_bytes());
    buffer.extend_from_slice(&[if key { 0x80 } else { 0 }]);
    std::mem::swap(w.buffer(), out);
}

/// A Tags element with one Tag that holds all of `tags`. `width` is that of every size in it.
pub fn tags<'a>(tags: impl IntoIterator<Item = &'a SimpleTag>, width: SizeWidth) -> Bytes {
    let mut w = Writer::default();
    w.master(ids::TAGS, width, |w| {
        w.master(ids::TAG, width, |w| {
            for tag in tags {
                w.master(ids::SIMPLE_TAG, width, |w| {
                    for (id, text) in [(ids::TAG_NAME, &tag.name), (ids::TAG_STRING, &tag.value)] {
                        w.header(id, text.len() as u64, width);
                        w.buffer().extend_from_slice(text.as_bytes());
                    }
                });
            }
        });
    });
    w.finish()
}

/// The Tags element that completes a fragment at once.
pub fn end_of_fragment() -> Bytes {
    let tag = SimpleTag { name: END_OF_FRAGMENT.to_owned(), value: String::new() };
    tags([&tag], SizeWidth::Minimal)
}

#[cfg(test)]
mod tests;
