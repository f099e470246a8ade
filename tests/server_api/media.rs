// SPDX-License-Identifier: MIT OR Apache-2.0
//! Media for the server: small documents with one video track.

use bytes::BytesMut;
use gstkvs::{
    ids::TrackNumber,
    mkv::writer::{
        DocumentHeader, cluster_start, document_header, end_of_fragment, simple_block_header,
    },
    time::TimestampScale,
    track::{Track, TrackKind, VideoFormat},
};

/// When the media of these tests begins, in ms since the epoch.
pub(crate) const START_MS: u64 = 1_795_352_474_008;

/// EBML header to Tracks.
pub(crate) fn header() -> Vec<u8> {
    let track = Track {
        number: TrackNumber(1),
        codec_id: "V_MPEG4/ISO/AVC".to_owned(),
        codec_private: None,
        name: None,
        default_duration_ns: None,
        kind: TrackKind::Video(VideoFormat { width: 64, height: 48 }),
    };
    document_header(&DocumentHeader {
        scale: TimestampScale::MILLISECOND,
        tracks: &[track],
        application: "server_api",
        segment_uuid: [7; 16],
    })
    .to_vec()
}

/// A whole fragment that starts at `ticks` ms and lasts a second, with two frames of `filler`.
pub(crate) fn fragment(ticks: u64, filler: u8) -> Vec<u8> {
    let mut out = BytesMut::from(&cluster_start(ticks)[..]);
    for (offset, key) in [(0, true), (1000, false)] {
        simple_block_header(&mut out, TrackNumber(1), offset, key, 100);
        out.extend_from_slice(&[filler; 100]);
    }
    out.to_vec()
}

/// Says that the fragment is complete.
pub(crate) fn end() -> Vec<u8> {
    end_of_fragment().to_vec()
}
