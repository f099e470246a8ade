// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one elementary stream is, as a Matroska TrackEntry says it (RFC 9559 5.1.4.1).

use bytes::Bytes;

use crate::ids::TrackNumber;

/// One elementary stream of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// What blocks of this track carry as their track number.
    pub number: TrackNumber,
    /// Video, audio or anything else, with what only that kind has.
    pub kind: TrackKind,
    /// Matroska codec id, such as `V_MPEG4/ISO/AVC`.
    pub codec_id: String,
    /// Codec private data: AVCDecoderConfigurationRecord, AudioSpecificConfig and the like.
    pub codec_private: Option<Bytes>,
    /// Human-readable name.
    pub name: Option<String>,
    /// Duration of each frame in nanoseconds, when it is constant and known.
    pub default_duration_ns: Option<u64>,
}

/// The kind of a track and what only that kind has.
#[derive(Clone, Debug, PartialEq)]
pub enum TrackKind {
    /// TrackType 2.
    Audio(AudioFormat),
    /// Any other TrackType (subtitles 17, metadata 33, ...): the number itself.
    Data(u8),
    /// TrackType 1.
    Video(VideoFormat),
}

/// Video settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoFormat {
    /// Width in pixels; 0 when the producer did not say.
    pub width: u32,
    /// Height in pixels; 0 when the producer did not say.
    pub height: u32,
}

/// Audio settings.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioFormat {
    /// Samples per second.
    pub sampling_hz: f64,
    /// Number of channels.
    pub channels: u32,
    /// Bits per sample, for formats that have it.
    pub bit_depth: Option<u32>,
}
