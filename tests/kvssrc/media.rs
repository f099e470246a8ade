// SPDX-License-Identifier: MIT OR Apache-2.0
//! GetMedia bodies made for the tests, and the captures of the real service.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{path::PathBuf, process::Command};

use bytes::{Bytes, BytesMut};
use gstkvs::{
    ebml::SizeWidth,
    ids::TrackNumber,
    mkv::{SimpleTag, writer},
    time::{Timestamp, TimestampScale},
    track::{AudioFormat, Track, TrackKind, VideoFormat},
    wire::get_media::ChunkTags,
};

/// Producer time of fragment 0: 2024-03-22, in milliseconds.
pub const EPOCH_MS: u64 = 1_711_124_585_823;

/// H.264 640x360, AVC record of Main 3.0.
pub fn video() -> Track {
    Track {
        number: TrackNumber(1),
        kind: TrackKind::Video(VideoFormat { width: 640, height: 360 }),
        codec_id: "V_MPEG4/ISO/AVC".into(),
        codec_private: Some(Bytes::from_static(&[1, 77, 0, 30, 0xFF])),
        name: None,
        default_duration_ns: Some(100_000_000),
    }
}

/// AAC-LC 48 kHz stereo.
pub fn audio() -> Track {
    Track {
        number: TrackNumber(2),
        kind: TrackKind::Audio(AudioFormat { sampling_hz: 48_000.0, channels: 2, bit_depth: None }),
        codec_id: "A_AAC".into(),
        codec_private: Some(Bytes::from_static(&[0x11, 0x90])),
        name: None,
        default_duration_ns: None,
    }
}

/// A track for which there are no caps.
pub fn data() -> Track {
    Track {
        number: TrackNumber(3),
        kind: TrackKind::Data(33),
        codec_id: "S_EXAMPLE".into(),
        codec_private: None,
        name: None,
        default_duration_ns: None,
    }
}

/// One second: ten pictures, five sounds, one datum, as far as `tracks` has them.
pub fn fragment(n: u64, tracks: &[Track]) -> Vec<u8> {
    fragment_numbered(1000 + n, n, tracks)
}

/// As `fragment`, with a number of choice.
pub fn fragment_numbered(number: u64, n: u64, tracks: &[Track]) -> Vec<u8> {
    let start_ms = EPOCH_MS + n * 1000;
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    let mut out = BytesMut::from(&header(tracks)[..]);
    let head = ChunkTags::Head {
        number: number.to_string().parse().unwrap(),
        server_time: time(start_ms + 30),
        producer_time: time(start_ms),
    };
    let tags = |tags: &[SimpleTag]| writer::tags(tags, SizeWidth::Four);
    out.extend_from_slice(&tags(&head.to_simple_tags()));
    out.extend_from_slice(&cluster(n, tracks));
    let own = SimpleTag { name: "scene".into(), value: format!("number {n}") };
    out.extend_from_slice(&tags(&[own]));
    let tail = ChunkTags::Tail {
        continuation_token: Some(number.to_string().parse().unwrap()),
        behind_now_ms: Some(40),
    };
    out.extend_from_slice(&tags(&tail.to_simple_tags()));
    out.to_vec()
}

/// What a producer sends first.
pub fn header(tracks: &[Track]) -> Bytes {
    writer::document_header(&writer::DocumentHeader {
        scale: TimestampScale::MILLISECOND,
        tracks,
        application: "test",
        segment_uuid: [7; 16],
    })
}

/// What a producer sends for fragment `n`.
pub fn cluster(n: u64, tracks: &[Track]) -> Vec<u8> {
    let mut out = BytesMut::from(&writer::cluster_start(EPOCH_MS + n * 1000)[..]);
    for (track, offset, payload) in frames(n, tracks) {
        let key = track != 1 || offset == 0;
        writer::simple_block_header(&mut out, TrackNumber(track), offset, key, payload.len());
        out.extend_from_slice(&payload);
    }
    out.to_vec()
}

/// Track, milliseconds from the start, payload.
pub fn frames(n: u64, tracks: &[Track]) -> Vec<(u64, i16, Vec<u8>)> {
    let has = |number| tracks.iter().any(|track| track.number.0 == number);
    let mut frames = Vec::new();
    for i in 0..10u8 {
        let mut payload = format!("fragment {n} picture {i} ").into_bytes();
        payload.resize(2000 + 37 * usize::from(i), i);
        frames.push((1, i16::from(i) * 100, payload));
        if i % 2 == 0 {
            frames.push((
                2,
                i16::from(i) * 100 + 3,
                format!("fragment {n} sound {i}").into_bytes(),
            ));
        }
    }
    frames.push((3, 500, format!("fragment {n} datum").into_bytes()));
    frames.retain(|(track, ..)| has(*track));
    frames
}

/// What comes out of fragment `n`: pad name without number, PTS in ms, payload.
pub fn expected(n: u64, tracks: &[Track]) -> Vec<(u64, u64, Vec<u8>)> {
    let time = |offset: i16| EPOCH_MS + n * 1000 + u64::try_from(offset).unwrap();
    frames(n, tracks).into_iter().map(|(t, offset, data)| (t, time(offset), data)).collect()
}

/// A capture; `None`, and said so, when the captures are not here.
pub fn capture(name: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media");
    let folder = std::env::var("KVS_TEST_MEDIA").unwrap_or_else(|_| default.to_owned());
    let path = PathBuf::from(folder).join(name);
    if path.is_file() {
        return Some(path);
    }
    println!("SKIPPED: {} is not here; set KVS_TEST_MEDIA", path.display());
    None
}

/// SHA-256 of each packet's payload, as ffprobe reads the file.
pub fn ffprobe_hashes(path: &std::path::Path) -> Vec<String> {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-show_data_hash", "sha256", "-of", "csv=p=0"])
        .args(["-show_entries", "packet=data_hash"])
        .arg(path)
        .output()
        .expect("ffprobe is installed");
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.trim_end_matches(',').strip_prefix("SHA256:").map(str::to_owned))
        .collect()
}
