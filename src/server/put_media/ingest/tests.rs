// SPDX-License-Identifier: MIT OR Apache-2.0
//! Uploads in, fragments out: the same however the bytes are cut, and every refusal has its id.

use proptest::prelude::*;

use super::*;
use crate::{
    mkv::writer::cluster_start,
    server::testing::{block, cluster, end_tag, header, metadata},
};

fn ingest() -> Ingest {
    Ingest::new(&Limits::default(), TimecodeType::Absolute, Timestamp::default())
}

/// A fragment as it would be stored: timecode, head, body, length; `None` while incomplete.
type Fragment = (u64, Vec<u8>, Vec<u8>, Option<u32>);

fn run(chunks: impl IntoIterator<Item = Bytes>) -> (Vec<Fragment>, Result<(), Fault>) {
    let mut ingest = ingest();
    let mut found = Vec::new();
    for chunk in chunks {
        let (steps, result) = ingest.push(chunk);
        collect(&mut found, steps);
        if result.is_err() {
            return (found, result);
        }
    }
    let (steps, result) = ingest.finish();
    collect(&mut found, steps);
    (found, result)
}

fn collect(found: &mut Vec<Fragment>, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Begin { timecode, producer, head } => {
                assert_eq!(producer.as_millis(), timecode);
                assert!(found.last().is_none_or(|last| last.3.is_some()), "two in progress");
                found.push((timecode, head.to_vec(), Vec::new(), None));
            }
            Step::Data(piece) => {
                let last = found.last_mut().unwrap();
                assert_eq!(last.3, None, "bytes after the end");
                last.2.extend_from_slice(&piece);
            }
            Step::Complete { length_ms } => found.last_mut().unwrap().3 = Some(length_ms),
        }
    }
}

fn whole(pieces: &[Bytes]) -> (Vec<Fragment>, Result<(), Fault>) {
    run([Bytes::from(pieces.concat())])
}

fn refused(pieces: &[Bytes]) -> u32 {
    whole(pieces).1.expect_err("it should be refused").id
}

/// Gives a cluster of unknown size its size.
fn sized(cluster: &Bytes) -> Bytes {
    let mut writer = Writer::default();
    writer.binary(ids::CLUSTER, &cluster[12..]);
    writer.finish()
}

#[test]
fn fragments_are_complete_at_the_next_cluster_the_tag_and_the_end() {
    let (a, b, c) = (cluster(1000, &[0, 400]), cluster(2000, &[0, 960]), cluster(3000, &[0]));
    let (found, result) = whole(&[header(1), a.clone(), b.clone(), end_tag(), c.clone()]);
    assert_eq!(result, Ok(()));
    let head = header(1).to_vec();
    assert_eq!(
        found,
        [
            (1000, head.clone(), a.to_vec(), Some(400)),
            (2000, head.clone(), b.to_vec(), Some(960)),
            (3000, head, c.to_vec(), Some(0)),
        ]
    );
}

#[test]
fn the_end_tag_completes_without_another_byte() {
    let mut ingest = ingest();
    let (steps, _) = ingest.push([header(1), cluster(5, &[0])].concat().into());
    assert!(matches!(steps[..], [Step::Begin { .. }, Step::Data(_)]), "{steps:?}");
    let (steps, result) = ingest.push(end_tag());
    assert_eq!((steps, result), (vec![Step::Complete { length_ms: 0 }], Ok(())));
}

#[test]
fn a_fragment_begins_at_its_timestamp_and_grows_by_whole_blocks() {
    let mut ingest = ingest();
    let first = cluster(5, &[0]);
    let bytes = Bytes::from([header(1), first.clone()].concat());
    let begin = header(1).len() + cluster_start(5).len();
    let mut seen = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        let (steps, _) = ingest.push(Bytes::copy_from_slice(&[*byte]));
        seen.extend(steps.into_iter().map(|step| (at + 1, step)));
    }
    let ends: Vec<_> = seen.iter().map(|(at, _)| *at).collect();
    assert_eq!(ends, [begin, begin, bytes.len()]);
}

#[test]
fn a_known_segment_size_becomes_unknown_and_an_unknown_one_stays() {
    let open = [0x18, 0x53, 0x80, 0x67, 0xFF];
    let unknown = header(1);
    let at = unknown.windows(4).position(|w| w == ids::SEGMENT.to_be_bytes()).unwrap();
    let (before, rest) = (&unknown[..at], &unknown[at + 12..]);
    let media = cluster(0, &[0]);
    let with = |segment: &[u8]| {
        let bytes = [before, segment, rest, &media[..]].concat();
        whole(&[bytes.into()]).0.remove(0).1
    };
    assert_eq!(with(&open), [before, &open, rest].concat());
    let size = (rest.len() + media.len()) as u16;
    let known = [&open[..4], &(0x4000 | size).to_be_bytes()].concat();
    assert_eq!(with(&known), unknown);
    // A Segment that announces more than comes is taken too.
    let longer = [&open[..4], &(0x4000 | (size + 9)).to_be_bytes()].concat();
    assert_eq!(with(&longer), unknown);
}

#[test]
fn tags_go_where_they_stand() {
    let plain = header(1);
    let info = plain.windows(4).position(|w| w == ids::INFO.to_be_bytes()).unwrap();
    let early = metadata(&[("early", "1")]);
    let late = metadata(&[("late", "2")]);
    let next = metadata(&[("next", "3")]);
    let parts = [
        plain.slice(..info),
        early.clone(),
        plain.slice(info..),
        late.clone(),
        cluster(1000, &[0]),
        next.clone(),
        cluster(2000, &[0]),
        end_tag(),
        next.clone(),
        cluster(3000, &[0]),
    ];
    let (found, result) = whole(&parts);
    assert_eq!(result, Ok(()));
    let common = [plain.clone(), late.clone()].concat();
    assert_eq!(found[0].1, [&plain[..info], &early, &plain[info..], &late].concat());
    assert_eq!(found[0].2, [cluster(1000, &[0]), next.clone()].concat());
    assert_eq!((&found[1].1, &found[1].2[..]), (&common, &cluster(2000, &[0])[..]));
    assert_eq!(found[2].1, [common.into(), next].concat());
}

#[test]
fn clusters_of_known_size_take_what_follows_them() {
    let (a, b) = (sized(&cluster(1000, &[0])), sized(&cluster(2000, &[0])));
    let late = metadata(&[("late", "2")]);
    let (found, result) = whole(&[header(1), a.clone(), late.clone(), b.clone()]);
    assert_eq!(result, Ok(()));
    assert_eq!(found[0].2, [a, late].concat());
    assert_eq!(found[1].2, b);
}

#[test]
fn every_refusal_has_its_id() {
    let one = cluster(1000, &[0]);
    for (id, what, pieces) in [
        (4001, "50 MB", vec![header(1), cluster_start(0), block(1, 0, 50_000_001)]),
        (4002, "21 s", vec![header(1), cluster(0, &[0, 10_000, 20_001])]),
        (4004, "the same timecode", vec![header(1), one.clone(), one.clone()]),
        (4004, "an earlier timecode", vec![header(1), one.clone(), cluster(999, &[0])]),
        (4004, "a frame too early", vec![header(1), cluster(1000, &[500]), cluster(1100, &[0])]),
        (4006, "no Matroska", vec![Bytes::from_static(b"\0\0\0\x01\x67 an H.264 stream")]),
        (4006, "a second header", vec![header(1), one.clone(), header(1)]),
        (4006, "no Tracks", vec![header(0), one.clone()]),
        (4006, "a cut block", vec![header(1), one.slice(..one.len() - 1)]),
        (4007, "the year 2600", vec![header(1), cluster(20_000_000_000_000, &[0])]),
        (4009, "11 items", vec![header(1), metadata(&[("a", "b"); 11]), one.clone()]),
        (4009, "a long name", vec![header(1), metadata(&[(&"n".repeat(129), "b")])]),
        (4009, "a long value", vec![header(1), metadata(&[("a", &"v".repeat(257))])]),
        (4010, "another track", vec![header(1), one.clone(), block(2, 0, 9)]),
        (4011, "a silent track", vec![header(2), one.clone(), cluster(2000, &[0])]),
        (4011, "a silent track at the end", vec![header(2), one.clone()]),
        (4011, "no frame", vec![header(1), cluster(0, &[]), end_tag()]),
        (4012, "4 tracks", vec![header(4)]),
    ] {
        assert_eq!(refused(&pieces), id, "{what}");
    }
}

#[test]
fn what_is_allowed_is_not_refused() {
    let late_block = [cluster(1000, &[0, 900]), block(2, 1200, 9)].concat();
    let early_block = [cluster(2000, &[0]), block(2, 300, 9)].concat();
    for (what, pieces) in [
        ("tracks that overlap", vec![header(2), late_block.into(), early_block.into()]),
        ("20 s", vec![header(1), cluster(0, &[0, 20_000])]),
        (
            "10 items each",
            vec![
                header(1),
                metadata(&[("a", "b"); 10]),
                cluster(0, &[0]),
                metadata(&[("a", "b"); 10]),
                cluster(1, &[0]),
            ],
        ),
        ("nothing at all", vec![]),
        ("no fragment", vec![header(1)]),
        ("an end without a beginning", vec![header(1), end_tag(), end_tag()]),
    ] {
        assert_eq!(whole(&pieces).1, Ok(()), "{what}");
    }
}

#[test]
fn a_fault_names_the_fragment_and_leaves_those_before() {
    let (found, result) = whole(&[header(1), cluster(1, &[0]), cluster(2, &[0]), block(9, 0, 1)]);
    let fault = result.unwrap_err();
    assert_eq!((fault.id, fault.timecode), (4010, Some(2)));
    let complete: Vec<_> = found.iter().map(|f| (f.0, f.3.is_some())).collect();
    assert_eq!(complete, [(1, true), (2, false)]);
}

#[test]
fn relative_timestamps_count_from_the_start() {
    let start = Timestamp::from_millis(1_000_000).unwrap();
    let mut ingest = Ingest::new(&Limits::default(), TimecodeType::Relative, start);
    let (steps, _) = ingest.push([header(1), cluster(250, &[0])].concat().into());
    let Step::Begin { timecode, producer, .. } = &steps[0] else { panic!("{steps:?}") };
    assert_eq!((*timecode, producer.as_millis()), (250, 1_000_250));
}

#[test]
fn what_muxers_say_about_tracks_is_no_metadata() {
    let mut writer = Writer::default();
    writer.master(ids::TAGS, crate::ebml::SizeWidth::Minimal, |w| {
        w.master(ids::TAG, crate::ebml::SizeWidth::Minimal, |w| {
            w.binary(TARGETS, &[]);
            for _ in 0..30 {
                w.master(ids::SIMPLE_TAG, crate::ebml::SizeWidth::Minimal, |w| {
                    w.text(ids::TAG_NAME, "BPS");
                    w.text(ids::TAG_STRING, "1000");
                });
            }
        });
    });
    assert_eq!(whole(&[header(1), cluster(0, &[0]), writer.finish()]).1, Ok(()));
}

fn any_upload() -> impl Strategy<Value = Vec<Bytes>> {
    let piece = (0u8..6, prop::collection::vec(0usize..4000, 1..4), any::<bool>());
    prop::collection::vec(piece, 1..8).prop_map(|pieces| {
        let (mut out, mut ticks) = (vec![header(1)], 0);
        for (kind, lens, known) in pieces {
            ticks += 1000;
            match kind {
                0 => out.push(end_tag()),
                1 => out.push(metadata(&[("name", "value")])),
                _ => {
                    let blocks = lens.iter().zip(0..).map(|(&len, at)| block(1, at * 100, len));
                    let all: Vec<_> = [cluster_start(ticks)].into_iter().chain(blocks).collect();
                    let cluster = Bytes::from(all.concat());
                    out.push(if known { sized(&cluster) } else { cluster });
                }
            }
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunking_changes_nothing(
        upload in any_upload(), cuts in prop::collection::vec(1usize..900, 0..60), flip in any::<Option<(u16, u8)>>(),
    ) {
        let mut bytes = upload.concat();
        if let Some((at, bit)) = flip {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
        }
        let expect = run([Bytes::from(bytes.clone())]);
        let mut rest = Bytes::from(bytes);
        let mut chunks = Vec::new();
        for cut in cuts {
            chunks.push(rest.split_to(cut.min(rest.len())));
        }
        chunks.push(rest);
        let found = run(chunks);
        prop_assert_eq!(&found.1, &expect.1);
        prop_assert_eq!(found.0, expect.0);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), with_head: bool) {
        let head = if with_head { header(1) } else { Bytes::new() };
        let (found, _) = run([head, bytes.into()]);
        prop_assert!(found.len() < 600);
    }
}
