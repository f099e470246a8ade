// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzz bodies on generated input: valid pieces in any order, damaged in any way.

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    ids::TrackNumber,
    mkv::writer::{self, DocumentHeader},
    time::TimestampScale,
    track::{AudioFormat, Track, TrackKind, VideoFormat},
};

fn track(number: u64, kind: TrackKind) -> Track {
    Track {
        number: TrackNumber(number),
        kind,
        codec_id: "V_MPEG4/ISO/AVC".into(),
        codec_private: Some(Bytes::from_static(&[1, 2, 3])),
        name: None,
        default_duration_ns: Some(40_000_000),
    }
}

/// A whole element, or the start of one.
fn mkv_piece() -> impl Strategy<Value = Vec<u8>> {
    let header = writer::document_header(&DocumentHeader {
        scale: TimestampScale::MILLISECOND,
        tracks: &[
            track(1, TrackKind::Video(VideoFormat { width: 640, height: 480 })),
            track(
                2,
                TrackKind::Audio(AudioFormat { sampling_hz: 48e3, channels: 2, bit_depth: None }),
            ),
        ],
        application: "test",
        segment_uuid: [7; 16],
    });
    let tag = SimpleTag { name: "name".into(), value: "value".into() };
    let block = (any::<i16>(), 0usize..6000, 0u8..8).prop_map(|(offset, len, flags)| {
        let mut w = Writer::default();
        w.header(mkv::ids::SIMPLE_BLOCK, len as u64 + 4, SizeWidth::Minimal);
        w.buffer().extend_from_slice(&[0x81]);
        w.buffer().extend_from_slice(&offset.to_be_bytes());
        w.buffer().extend_from_slice(&[flags]);
        w.buffer().extend_from_slice(&vec![3; len]);
        w.finish().to_vec()
    });
    // A master of a known size that need not be the right one.
    let master = (
        prop::sample::select(vec![
            mkv::ids::EBML,
            mkv::ids::SEGMENT,
            mkv::ids::CLUSTER,
            mkv::ids::BLOCK_GROUP,
            mkv::ids::TAGS,
            mkv::ids::TRACKS,
            mkv::ids::INFO,
            mkv::ids::VOID,
            mkv::ids::CUES,
            mkv::ids::CRC_32,
            0x4FFF,
        ]),
        prop::option::of(0u64..3000),
    )
        .prop_map(|(id, size)| {
            let mut w = Writer::default();
            match size {
                Some(size) => w.header(id, size, SizeWidth::Minimal),
                None => w.unknown_size(id),
            }
            w.finish().to_vec()
        });
    // What the service puts around each fragment.
    let chunk_tags = (0u64..3, 0u64..10_000, any::<bool>()).prop_map(|(number, ms, head)| {
        let number = format!("9{number}");
        let tags = if head {
            ChunkTags::Head {
                number: number.parse().unwrap(),
                server_time: Timestamp::from_millis(ms).unwrap(),
                producer_time: Timestamp::from_millis(ms * 3).unwrap(),
            }
        } else {
            ChunkTags::Tail {
                continuation_token: Some(number.parse().unwrap()),
                behind_now_ms: Some(ms),
            }
        };
        writer::tags(&tags.to_simple_tags(), SizeWidth::Four).to_vec()
    });
    let info = any::<u64>().prop_map(|scale| {
        let mut w = Writer::default();
        w.master(mkv::ids::INFO, SizeWidth::Minimal, |w| w.uint(mkv::ids::TIMESTAMP_SCALE, scale));
        w.finish().to_vec()
    });
    prop_oneof![
        3 => Just(header.to_vec()),
        2 => chunk_tags,
        1 => info,
        3 => any::<u64>().prop_map(|ticks| writer::cluster_start(ticks).to_vec()),
        5 => block,
        2 => Just(writer::tags([&tag], SizeWidth::Four).to_vec()),
        1 => Just(writer::end_of_fragment().to_vec()),
        2 => master,
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

/// Pieces in a row, with some bytes overwritten, and cut short.
fn damaged(pieces: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    let pieces = prop::collection::vec(pieces, 1..12);
    (any::<u8>(), pieces, damage, prop::option::of(any::<Index>())).prop_map(
        |(cut, pieces, damage, end)| {
            let mut input = [vec![cut], pieces.concat()].concat();
            for (at, byte) in damage {
                let at = at.index(input.len());
                input[at] = byte;
            }
            if let Some(end) = end {
                input.truncate(end.index(input.len()));
            }
            input
        },
    )
}

/// One of the texts, or part of one, or anything.
fn text_piece(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::sample::select(texts).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

const ACK_PIECES: &[&str] = &[
    "{",
    "}",
    "\"",
    "\\",
    ":",
    ",",
    "null",
    "1",
    "-1",
    "1e3",
    "\"12\"",
    "\n",
    "{\"EventType\":\"IDLE\"}",
    "{\"EventType\":\"RECEIVED\",\"FragmentTimecode\":7,\"FragmentNumber\":\"91\"}\n",
    "{\"EventType\":\"ERROR\",\"ErrorId\":4000,\"ErrorCode\":\"\\u0041\"}",
    "\"EventType\":\"PERSISTED\"",
    "\"FragmentTimecode\":",
    "\"FragmentNumber\":",
];

const JSON_PIECES: &[&str] = &[
    "{\"StreamName\":\"cam\"",
    "}",
    ",",
    ":",
    "null",
    "1.705489836421E9",
    "17e300",
    "-1",
    "0",
    "\"StreamARN\":\"arn:aws:kinesisvideo:us-west-2:1:stream/cam/1\"",
    "\"Tags\":{\"a\":\"b\"}",
    "\"StartSelector\":{\"StartSelectorType\":\"NOW\"}",
    "\"APIName\":\"PUT_MEDIA\"",
    "\"StartSelector\":{\"StartSelectorType\":\"SERVER_TIMESTAMP\",\"StartTimestamp\":1.5}",
    "\"Fragments\":[\"1\",\"2\"]",
    "\"CurrentVersion\":\"v\"",
    "\"MaxResults\":7",
    "{\"StreamInfo\":{\"CreationTime\":1.5,\"Status\":\"ACTIVE\",\"Version\":null}}",
    "\"Operation\":\"INCREASE_DATA_RETENTION\",\"DataRetentionChangeInHours\":1",
    "\"TagKeyList\":[\"a\"]",
    "{\"Message\":\"x\"}",
    "\"FragmentSelector\":{\"FragmentSelectorType\":\"PRODUCER_TIMESTAMP\",\"TimestampRange\":\
     {\"StartTimestamp\":1,\"EndTimestamp\":2.0625}}",
];

const HEADER_PIECES: &[&str] = &[
    "0:cam\n",
    "1:arn:aws:kinesisvideo:us-west-2:1:stream/cam/1\n",
    "2:ABSOLUTE\n",
    "2:RELATIVE\n",
    "3:1795352474.8\n",
    "3:2026-01-01T00:00:00.123456789Z\n",
    "3:0\n",
    "4:0\n",
    "4:1\n",
    "user-agent:AWS-SDK-KVS-CPP-CLIENT/3\n",
    "\n",
    ":",
    " ",
];

const TAG_PIECES: &[&str] = &[
    "0=91343852333181432392682062607743920442264000000\n",
    "0=x\n",
    "1=1517789296.298\n",
    "2=0.000\n",
    "3=1.5\n",
    "4=99999999999\n",
    "5=12\n",
    "6=a-b_c.d\n",
    "7=4000\n",
    "8=CODE\n",
    "9=3002\n",
    "a=message\n",
    "MINE=1\n",
    "=",
    "\n",
];

const TIME_PIECES: &[&str] = &[
    "1795352474",
    ".",
    "008",
    "2026-01-01T00:00:00",
    "Z",
    "+01:00",
    "-",
    " ",
    "18446744073",
    ".709551615",
    "9",
];

proptest! {
    #[test]
    fn mkv_reader_holds_its_laws(input in damaged(mkv_piece())) {
        mkv_reader(&input);
    }

    #[test]
    fn reassembler_holds_its_laws(input in damaged(mkv_piece())) {
        reassembler(&input);
    }

    #[test]
    fn ebml_children_hold_their_laws(input in damaged(mkv_piece())) {
        ebml_children(&input[input.len().min(1)..]);
    }

    #[test]
    fn ack_parser_holds_its_laws(input in damaged(text_piece(ACK_PIECES))) {
        ack_parser(&input);
    }

    #[test]
    fn control_json_holds_its_laws(input in damaged(text_piece(JSON_PIECES))) {
        control_json(&input[input.len().min(1)..]);
    }

    #[test]
    fn put_media_headers_hold_their_laws(input in damaged(text_piece(HEADER_PIECES))) {
        put_media_headers(&input[input.len().min(1)..]);
    }

    #[test]
    fn chunk_tags_hold_their_laws(input in damaged(text_piece(TAG_PIECES))) {
        chunk_tags(&input[input.len().min(1)..]);
    }

    #[test]
    fn timestamps_hold_their_laws(input in damaged(text_piece(TIME_PIECES))) {
        timestamp(&input[input.len().min(1)..]);
    }

    #[test]
    fn producer_holds_its_laws(
        head in any::<[u8; 3]>(),
        calls in prop::collection::vec(producer_call(), 0..120),
    ) {
        producer(&[&head[..], &calls.concat()].concat());
    }
}

/// Mostly frames of pads that exist and have caps.
fn producer_call() -> impl Strategy<Value = [u8; 4]> {
    prop_oneof![
        1 => Just([0, 0, 0, 0]),
        2 => (any::<u8>(), 0u8..3, any::<u8>()).prop_map(|(pad, kind, caps)| [1, pad, kind, caps]),
        12 => (any::<[u8; 3]>(), 11u8..16, any::<u8>())
            .prop_map(|([pad, b, c], call, flags)| [(flags & 0xF0) | call, pad, b, c]),
        8 => any::<[u8; 4]>(),
    ]
}
