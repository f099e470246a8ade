// SPDX-License-Identifier: MIT OR Apache-2.0
//! GetMedia bodies for the tests of this folder.

use bytes::{Bytes, BytesMut};

use super::{Completeness, FragmentEnd, Piece};
use crate::{
    ebml::SizeWidth,
    frame::Frame,
    ids::TrackNumber,
    mkv::{SimpleTag, writer},
    time::{Timestamp, TimestampScale},
    track::{AudioFormat, Track, TrackKind, VideoFormat},
    wire::get_media::ChunkTags,
};

/// 2024-03-22, in milliseconds.
pub(super) const EPOCH_MS: u64 = 1_711_124_585_823;

pub(super) fn video(number: u64) -> Track {
    Track {
        number: TrackNumber(number),
        kind: TrackKind::Video(VideoFormat { width: 640, height: 360 }),
        codec_id: "V_MPEG4/ISO/AVC".into(),
        codec_private: Some(Bytes::from_static(&[1, 77, 0, 30])),
        name: None,
        default_duration_ns: None,
    }
}

pub(super) fn audio(number: u64) -> Track {
    Track {
        number: TrackNumber(number),
        kind: TrackKind::Audio(AudioFormat { sampling_hz: 48_000.0, channels: 2, bit_depth: None }),
        codec_id: "A_AAC".into(),
        codec_private: None,
        name: None,
        default_duration_ns: Some(20_000_000),
    }
}

/// A fragment as a producer made it and the service returns it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) number: u64,
    pub(super) server_ms: u64,
    /// Producer time of its first frame.
    pub(super) start_ms: u64,
    /// What its cluster says; equal to `start_ms` in an absolute session.
    pub(super) cluster_ms: u64,
    pub(super) tracks: Vec<Track>,
    /// Track, milliseconds from the cluster, payload.
    pub(super) frames: Vec<(u64, i16, Vec<u8>)>,
    pub(super) tail: bool,
}

impl Made {
    /// A second of 10 fps video, absolute, that follows number `n - 1`.
    pub(super) fn nth(n: u64) -> Self {
        let start_ms = EPOCH_MS + n * 1000;
        Self {
            number: 1000 + n,
            server_ms: start_ms + 7,
            start_ms,
            cluster_ms: start_ms,
            tracks: vec![video(1)],
            frames: (0..10)
                .map(|i| (1, i * 100, format!("fragment {n} frame {i}").into()))
                .collect(),
            tail: true,
        }
    }

    /// The same media under a later number, as a producer sends it again.
    pub(super) fn sent_again(&self, number: u64) -> Self {
        Self { number, server_ms: self.server_ms + 5000, ..self.clone() }
    }

    pub(super) fn token(&self) -> String {
        format!("token-{}", self.number)
    }

    pub(super) fn bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.extend_from_slice(&writer::document_header(&writer::DocumentHeader {
            scale: TimestampScale::MILLISECOND,
            tracks: &self.tracks,
            application: "test",
            segment_uuid: [7; 16],
        }));
        let head = ChunkTags::Head {
            number: self.number.to_string().parse().unwrap(),
            server_time: Timestamp::from_millis(self.server_ms).unwrap(),
            producer_time: Timestamp::from_millis(self.start_ms).unwrap(),
        };
        out.extend_from_slice(&tags(&head.to_simple_tags()));
        out.extend_from_slice(&writer::cluster_start(self.cluster_ms));
        for (index, (track, offset, payload)) in self.frames.iter().enumerate() {
            let number = TrackNumber(*track);
            writer::simple_block_header(&mut out, number, *offset, index == 0, payload.len());
            out.extend_from_slice(payload);
        }
        if self.tail {
            let token = Some(self.token().parse().unwrap());
            let tail = ChunkTags::Tail { continuation_token: token, behind_now_ms: Some(5) };
            out.extend_from_slice(&tags(&tail.to_simple_tags()));
        }
        out.freeze()
    }

    /// What should come out of it.
    pub(super) fn expected(&self) -> Vec<(u64, u64, Vec<u8>)> {
        let time = |offset: i16| self.start_ms.checked_add_signed(i64::from(offset)).unwrap();
        self.frames.iter().map(|(t, offset, data)| (*t, time(*offset), data.clone())).collect()
    }
}

pub(super) fn tags(tags: &[SimpleTag]) -> Bytes {
    writer::tags(tags, SizeWidth::Four)
}

/// Track, milliseconds, payload.
pub(super) fn plain(frame: &Frame) -> (u64, u64, Vec<u8>) {
    (frame.track.0, frame.pts.as_millis(), frame.data.to_vec())
}

pub(super) fn frames(pieces: &[Piece]) -> Vec<(u64, u64, Vec<u8>)> {
    let frame = |piece: &Piece| match piece {
        Piece::Frame(frame) => Some(plain(frame)),
        _ => None,
    };
    pieces.iter().filter_map(frame).collect()
}

pub(super) fn ends(pieces: &[Piece]) -> Vec<&FragmentEnd> {
    pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::End(end) => Some(end),
            _ => None,
        })
        .collect()
}

pub(super) fn completeness(pieces: &[Piece]) -> Vec<Completeness> {
    ends(pieces).iter().map(|end| end.completeness).collect()
}
