// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the writer writes, the reader reads, however it is cut.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::{
    mkv::{Event, EventKind, Reader},
    track::{AudioFormat, VideoFormat},
};

fn any_track(number: u64) -> impl Strategy<Value = Track> {
    let kind = prop_oneof![
        (0..9000u32, 0..9000u32)
            .prop_map(|(width, height)| TrackKind::Video(VideoFormat { width, height })),
        (1u32..200_000, 1u32..9, prop::option::of(1u32..64)).prop_map(
            |(hz, channels, bit_depth)| {
                TrackKind::Audio(AudioFormat { sampling_hz: f64::from(hz), channels, bit_depth })
            }
        ),
        (17u8..40).prop_map(TrackKind::Data),
    ];
    let private = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    let name = prop::option::of("[a-z]{1,12}");
    (kind, "[A-Z]_[A-Z/0-9]{1,20}", private, name, prop::option::of(1u64..1 << 40)).prop_map(
        move |(kind, codec_id, private, name, default_duration_ns)| Track {
            number: TrackNumber(number),
            kind,
            codec_id,
            codec_private: private.map(Bytes::from),
            name,
            default_duration_ns,
        },
    )
}

#[derive(Clone, Debug)]
struct TestBlock {
    track: u64,
    offset: i16,
    key: bool,
    payload: Vec<u8>,
}

fn any_block() -> impl Strategy<Value = TestBlock> {
    (1u64..300, any::<i16>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..3000))
        .prop_map(|(track, offset, key, payload)| TestBlock { track, offset, key, payload })
}

fn document(scale: u64, tracks: &[Track], clusters: &[(u64, Vec<TestBlock>)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.extend_from_slice(&document_header(&DocumentHeader {
        scale: TimestampScale::from_nanos(scale).unwrap(),
        tracks,
        application: "test",
        segment_uuid: [7; 16],
    }));
    for (ticks, blocks) in clusters {
        out.extend_from_slice(&cluster_start(*ticks));
        for block in blocks {
            let track = TrackNumber(block.track);
            simple_block_header(&mut out, track, block.offset, block.key, block.payload.len());
            out.extend_from_slice(&block.payload);
        }
        let tag = SimpleTag { name: "n".into(), value: "v".into() };
        out.extend_from_slice(&tags([&tag], SizeWidth::Four));
    }
    out.extend_from_slice(&end_of_fragment());
    out.to_vec()
}

fn read(input: &[u8], chunk: usize) -> Vec<Event> {
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    for chunk in input.chunks(chunk) {
        reader.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = reader.pull().unwrap() {
            events.push(event);
        }
    }
    events.extend(reader.finish().unwrap());
    events
}

proptest! {
    #[test]
    fn reads_back_what_was_written(
        scale in 1u64..1 << 40,
        tracks in (any_track(1), any_track(2)).prop_map(|(a, b)| vec![a, b]),
        clusters in prop::collection::vec((any::<u64>(), prop::collection::vec(any_block(), 0..5)), 0..4),
        chunk in 1usize..5000,
    ) {
        let input = document(scale, &tracks, &clusters);
        let events = read(&input, chunk);
        prop_assert_eq!(&events, &read(&input, input.len()));
        let raw: Vec<u8> = events.iter().flat_map(|event| event.raw.to_vec()).collect();
        prop_assert_eq!(&raw, &input);

        let kinds: Vec<_> = events.into_iter().map(|event| event.kind).collect();
        prop_assert!(kinds.contains(&EventKind::Tracks(tracks)));
        let got_scale = kinds.iter().find_map(|kind| match kind {
            EventKind::Info(info) => Some(info.scale.as_nanos()),
            _ => None,
        });
        prop_assert_eq!(got_scale, Some(scale));
        let times: Vec<_> = kinds.iter().filter_map(|kind| match kind {
            EventKind::ClusterTimestamp(ticks) => Some(*ticks),
            _ => None,
        }).collect();
        prop_assert_eq!(&times, &clusters.iter().map(|c| c.0).collect::<Vec<_>>());
        let expected: Vec<_> = clusters.into_iter().flat_map(|c| c.1).collect();
        let blocks: Vec<_> = kinds.iter().filter_map(|kind| match kind {
            EventKind::Block(block) => Some(block),
            _ => None,
        }).collect();
        prop_assert_eq!(blocks.len(), expected.len());
        for (block, expected) in blocks.iter().zip(&expected) {
            prop_assert_eq!(block.track.0, expected.track);
            prop_assert_eq!(block.offset_ticks, expected.offset);
            prop_assert_eq!(block.key, expected.key);
            prop_assert_eq!(&block.frames[0][..], &expected.payload[..]);
        }
        let tags = kinds.iter().filter(|kind| matches!(kind, EventKind::Tags(_))).count();
        prop_assert_eq!(tags, times.len() + 1);
    }

    #[test]
    fn tags_read_back_as_they_were_written(
        pairs in prop::collection::vec(("[^\\x00]{1,40}", "[^\\x00]{0,300}"), 0..12),
        four in any::<bool>(),
    ) {
        let written: Vec<_> =
            pairs.into_iter().map(|(name, value)| SimpleTag { name, value }).collect();
        let width = if four { SizeWidth::Four } else { SizeWidth::Minimal };
        let input = [&document(1, &[], &[])[..], &tags(&written, width)].concat();
        let read = read(&input, 100).into_iter().rev().find_map(|event| match event.kind {
            EventKind::Tags(tags) => Some(tags),
            _ => None,
        });
        prop_assert_eq!(read, Some(written));
    }

    #[test]
    fn survives_any_damage(
        at in any::<prop::sample::Index>(),
        damage in prop::collection::vec(any::<u8>(), 1..20),
        chunk in 1usize..900,
    ) {
        let block = TestBlock { track: 1, offset: 0, key: true, payload: vec![5; 700] };
        let mut input = document(1_000_000, &[], &[(1, vec![block.clone()]), (2, vec![block])]);
        let start = at.index(input.len());
        for (byte, bad) in input[start..].iter_mut().zip(&damage) {
            *byte = *bad;
        }
        let whole = [input, document(1_000_000, &[], &[(3, vec![])])].concat();
        let (mut reader, mut documents) = (Reader::default(), 0);
        for chunk in whole.chunks(chunk) {
            reader.push(Bytes::copy_from_slice(chunk));
            loop {
                match reader.pull() {
                    Ok(Some(event)) => documents += usize::from(matches!(event.kind, EventKind::EbmlHeader(_))),
                    Ok(None) => break,
                    Err(_) => reader.resync(),
                }
            }
        }
        prop_assert!(documents <= 3);
        prop_assert!(reader.pending_bytes() <= whole.len());
    }
}
