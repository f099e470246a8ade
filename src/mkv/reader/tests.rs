// SPDX-License-Identifier: MIT OR Apache-2.0
//! Documents that real muxers write, and documents that nobody should.

use super::*;
use crate::{
    ebml::{SizeWidth, Writer},
    ids::TrackNumber,
};

const MINIMAL: SizeWidth = SizeWidth::Minimal;

/// Bytes that `fill` writes.
fn bytes(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    fill(&mut w);
    w.finish().to_vec()
}

fn ebml(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    bytes(|w| w.master(ids::EBML, MINIMAL, fill))
}

fn segment(children: &[Vec<u8>]) -> Vec<u8> {
    master(ids::SEGMENT, children)
}

fn master(id: Id, children: &[Vec<u8>]) -> Vec<u8> {
    bytes(|w| w.binary(id, &children.concat()))
}

fn unknown(id: Id, children: &[Vec<u8>]) -> Vec<u8> {
    [bytes(|w| w.unknown_size(id)), children.concat()].concat()
}

fn timestamp(ticks: u64) -> Vec<u8> {
    bytes(|w| w.uint(ids::TIMESTAMP, ticks))
}

fn element(id: Id, data: &[u8]) -> Vec<u8> {
    bytes(|w| w.binary(id, data))
}

fn block(flags: u8, payload: &[u8]) -> Vec<u8> {
    element(ids::SIMPLE_BLOCK, &[&[0x81, 0, 5, flags], payload].concat())
}

/// Reads the input in pieces of several sizes; the results must agree. Goes on after errors.
fn read(input: &[u8]) -> (Vec<Event>, Vec<Error>) {
    let with = |chunk: usize| {
        let (mut reader, mut events, mut errors) = (Reader::default(), Vec::new(), Vec::new());
        for piece in input.chunks(chunk) {
            reader.push(Bytes::copy_from_slice(piece));
            loop {
                match reader.pull() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => {
                        errors.push(error);
                        reader.resync();
                    }
                }
            }
        }
        match reader.finish() {
            Ok(ends) => events.extend(ends),
            Err(error) => errors.push(error),
        }
        (events, errors)
    };
    let whole = with(input.len().max(1));
    for chunk in [1, 2, 3, 7, 600] {
        assert_eq!(with(chunk), whole, "in pieces of {chunk}");
    }
    whole
}

/// The events in short: `E` header, `S` `s` segment, `C` `c` cluster, `T` timestamp, `B` block.
fn story(events: &[Event]) -> String {
    let letter = |event: &Event| match event.kind {
        EventKind::Block(_) => 'B',
        EventKind::ClusterEnd => 'c',
        EventKind::ClusterStart { .. } => 'C',
        EventKind::ClusterTimestamp(_) => 'T',
        EventKind::EbmlHeader(_) => 'E',
        EventKind::Info(_) => 'I',
        EventKind::Other(_) => 'o',
        EventKind::SegmentEnd => 's',
        EventKind::SegmentStart { .. } => 'S',
        EventKind::Tags(_) => 't',
        EventKind::Tracks(_) => 'R',
    };
    events.iter().map(letter).collect()
}

fn told(input: &[u8]) -> String {
    let (events, errors) = read(input);
    assert_eq!(errors, []);
    story(&events)
}

/// What is wrong with the input; there must be exactly one thing.
fn fault(input: &[u8]) -> ErrorKind {
    let (_, mut errors) = read(input);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0).kind
}

#[test]
fn masters_end_where_their_sizes_or_their_successors_say() {
    let cluster = |unknown_size: bool, ticks| {
        let children = [timestamp(ticks), block(0x80, b"x")];
        if unknown_size {
            unknown(ids::CLUSTER, &children)
        } else {
            master(ids::CLUSTER, &children)
        }
    };
    let header = || ebml(|_| {});
    for clusters in [[true, true], [true, false], [false, true], [false, false]] {
        let clusters = clusters.map(|unknown_size| cluster(unknown_size, 1));
        let known = [header(), segment(&clusters)].concat();
        assert_eq!(told(&known), "ESCTBcCTBcs");
        let open = [header(), unknown(ids::SEGMENT, &clusters)].concat();
        assert_eq!(told(&open), "ESCTBcCTBcs");
        assert_eq!(told(&[open, known].concat()), "ESCTBcCTBcsESCTBcCTBcs");
    }
    let ffmpeg_pipe = [header(), vec![0x18, 0x53, 0x80, 0x67, 0xFF], cluster(true, 1)].concat();
    assert_eq!(told(&ffmpeg_pipe), "ESCTBcs", "a size of one byte can be unknown too");
    assert_eq!(told(&[header(), segment(&[])].concat()), "ESs");
    assert_eq!(told(&[header(), segment(&[master(ids::CLUSTER, &[])])].concat()), "ESCcs");
}

#[test]
fn what_is_not_needed_is_passed_on() {
    let void = element(ids::VOID, &[0; 700]);
    let crc = element(ids::CRC_32, &[1, 2, 3, 4]);
    let info = bytes(|w| {
        w.master(ids::INFO, MINIMAL, |w| {
            w.binary(ids::CRC_32, &[1, 2, 3, 4]);
            w.binary(ids::VOID, &[0; 9]);
            w.uint(ids::TIMESTAMP_SCALE, 10_000);
            w.binary(0x4461, &[0; 8]);
        });
    });
    let children = [
        element(ids::SEEK_HEAD, &[0xEC, 0x80]),
        void.clone(),
        info,
        crc.clone(),
        unknown(
            ids::CLUSTER,
            &[
                timestamp(0),
                void.clone(),
                element(ids::PREV_SIZE, &[1]),
                block(0, b"x"),
                element(0x4FFF, b"unknown"),
                element(ids::POSITION, &[0]),
            ],
        ),
        element(ids::CUES, &[0xEC, 0x80]),
        element(ids::CHAPTERS, &[]),
    ];
    let input = [void, ebml(|_| {}), unknown(ids::SEGMENT, &children), ebml(|_| {})].concat();
    let (events, errors) = read(&input);
    assert_eq!(errors, []);
    assert_eq!(story(&events), "oESooIoCTooBoocoosE");
    let scale = events.iter().find_map(|event| match &event.kind {
        EventKind::Info(info) => Some(info.scale.as_nanos()),
        _ => None,
    });
    assert_eq!(scale, Some(10_000));
}

#[test]
fn every_kind_of_block_is_read() {
    let in_cluster = |children: &[Vec<u8>]| {
        let cluster = unknown(ids::CLUSTER, &[vec![timestamp(9)], children.to_vec()].concat());
        let (events, errors) = read(&[ebml(|_| {}), unknown(ids::SEGMENT, &[cluster])].concat());
        assert_eq!(errors, []);
        events
            .into_iter()
            .filter_map(|event| match event.kind {
                EventKind::Block(block) => Some(block),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let lace = |flags, sizes: &[u8], payload: &[u8]| block(flags, &[sizes, payload].concat());
    let long = vec![7; 600];
    let blocks = in_cluster(&[
        block(0x80, b"plain"),
        lace(0x02, &[1, 255, 255, 90], &[long.clone(), b"rest".to_vec()].concat()),
        lace(0x84, &[2], b"aabbcc"),
        // 600 = 0x4258, then 1 less in one byte (bias 63), then the rest
        lace(0x06, &[2, 0x42, 0x58, 0xBE], &vec![8; 600 + 599 + 4]),
        lace(0x02, &[1, 0], b"rest"),
    ]);
    let sizes: Vec<Vec<_>> =
        blocks.iter().map(|block| block.frames.iter().map(Bytes::len).collect()).collect();
    assert_eq!(sizes, [vec![5], vec![600, 4], vec![2, 2, 2], vec![600, 599, 4], vec![0, 4]]);
    assert_eq!(blocks.iter().map(|b| b.key).collect::<Vec<_>>(), [true, false, true, false, false]);
    assert!(blocks.iter().all(|b| b.track == TrackNumber(1) && b.offset_ticks == 5));

    let inner = element(ids::BLOCK, &[0x82, 0xFF, 0xFF, 0x00, b'g']);
    let group = |children: &[Vec<u8>]| {
        master(ids::BLOCK_GROUP, &[vec![inner.clone()], children.to_vec()].concat())
    };
    let duration = element(ids::BLOCK_DURATION, &[1, 0]);
    let reference = element(ids::REFERENCE_BLOCK, &[0xFF]);
    let blocks =
        in_cluster(&[group(std::slice::from_ref(&duration)), group(&[reference, duration])]);
    assert_eq!(blocks.iter().map(|b| b.key).collect::<Vec<_>>(), [true, false]);
    for block in blocks {
        assert_eq!((block.track, block.offset_ticks), (TrackNumber(2), -1));
        assert_eq!(block.duration_ticks, Some(256));
        assert_eq!(block.frames, [Bytes::from_static(b"g")]);
    }
}

#[test]
fn announced_lengths_are_checked() {
    let longer = bytes(|w| w.header(ids::VOID, 0, SizeWidth::Four));
    let announce = |size_length: u64| ebml(|w| w.uint(ids::EBML_MAX_SIZE_LENGTH, size_length));
    // Segment sizes of unknown() take eight bytes, those of segment() one.
    let with_void = |header: Vec<u8>| [header, segment(std::slice::from_ref(&longer))].concat();
    assert_eq!(told(&with_void(announce(4))), "ESos");
    let refused = ErrorKind::TooLarge { id: ids::VOID, size: 0 };
    assert_eq!(fault(&with_void(announce(3))), refused);
    let open = [announce(7), unknown(ids::SEGMENT, &[])].concat();
    assert!(matches!(fault(&open), ErrorKind::TooLarge { id: ids::SEGMENT, .. }));
    let two = [announce(1), segment(&[]), bytes(|w| w.header(ids::EBML, 0, SizeWidth::Four))];
    assert_eq!(told(&two.concat()), "ESsE", "the next document's header is bound by nothing");
    for size_length in [0, 9] {
        let lengths = HeaderError::Lengths { max_id_length: 4, max_size_length: size_length };
        assert_eq!(fault(&announce(size_length)), ErrorKind::Header(lengths));
    }
    for id_length in [3, 5] {
        let lengths = HeaderError::Lengths { max_id_length: id_length, max_size_length: 8 };
        let header = ebml(|w| w.uint(ids::EBML_MAX_ID_LENGTH, id_length));
        assert_eq!(fault(&header), ErrorKind::Header(lengths));
    }
}

#[test]
fn documents_that_are_no_matroska_are_refused() {
    let padded = ebml(|w| w.text(ids::DOC_TYPE, "matroska\0"));
    assert_eq!(told(&padded), "E");
    assert_eq!(told(&ebml(|w| w.text(ids::DOC_TYPE, "webm"))), "E");
    for (header, expect) in [
        (ebml(|w| w.text(ids::DOC_TYPE, "text")), "document type \"text\""),
        (ebml(|w| w.uint(ids::DOC_TYPE_READ_VERSION, 5)), "read version 5"),
        (ebml(|w| w.uint(ids::EBML_READ_VERSION, 2)), "EBMLReadVersion is 2"),
        (ebml(|w| w.binary(ids::DOC_TYPE_VERSION, &[1; 9])), "9 bytes"),
    ] {
        let text = fault(&header).to_string();
        assert!(text.contains(expect), "{text}");
    }
    assert_eq!(fault(&[7; 20]).to_string(), fault(&[7]).to_string());
}

#[test]
fn tracks_that_cannot_be_are_refused() {
    let tracks = |fill: &dyn Fn(&mut Writer)| {
        let tracks = bytes(|w| w.master(ids::TRACKS, MINIMAL, fill));
        fault(&[ebml(|_| {}), unknown(ids::SEGMENT, &[tracks])].concat()).to_string()
    };
    let entry = |w: &mut Writer, fill: &dyn Fn(&mut Writer)| {
        w.master(ids::TRACK_ENTRY, MINIMAL, |w| fill(w));
    };
    let twice = tracks(&|w| {
        entry(w, &|w| w.uint(ids::TRACK_NUMBER, 1));
        entry(w, &|w| w.uint(ids::TRACK_NUMBER, 1));
    });
    assert!(twice.contains("track 1 is declared twice"), "{twice}");
    let none = tracks(&|w| entry(w, &|w| w.uint(ids::TRACK_TYPE, 1)));
    assert!(none.contains("0xD7 is missing"), "{none}");
    let encoded = tracks(&|w| {
        entry(w, &|w| {
            w.uint(ids::TRACK_NUMBER, 1);
            w.binary(ids::CONTENT_ENCODINGS, &[]);
        });
    });
    assert!(encoded.contains("ContentEncodings"), "{encoded}");
    let many = tracks(&|w| {
        (1..=65).for_each(|number| entry(w, &|w| w.uint(ids::TRACK_NUMBER, number)));
    });
    assert!(many.contains("more than 64"), "{many}");
    let overrun = tracks(&|w| w.buffer().extend_from_slice(&[0xAE, 0x85, 0xD7]));
    assert!(overrun.contains("do not fit"), "{overrun}");
}

#[test]
fn a_scale_that_is_none_is_refused() {
    for (scale, valid) in [(0, false), (1, true), (3_600_000_000_000, true), (u64::MAX, false)] {
        let info = bytes(|w| w.master(ids::INFO, MINIMAL, |w| w.uint(ids::TIMESTAMP_SCALE, scale)));
        let input = [ebml(|_| {}), unknown(ids::SEGMENT, &[info])].concat();
        if valid {
            assert_eq!(told(&input), "ESIs");
        } else {
            assert!(fault(&input).to_string().contains("0x2AD7B1"), "{scale}");
        }
    }
}

#[test]
fn a_frequency_that_is_none_counts_as_not_given() {
    for hz in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let tracks = bytes(|w| {
            w.master(ids::TRACKS, MINIMAL, |w| {
                w.master(ids::TRACK_ENTRY, MINIMAL, |w| {
                    w.uint(ids::TRACK_NUMBER, 1);
                    w.uint(ids::TRACK_TYPE, 2);
                    w.master(ids::AUDIO, MINIMAL, |w| w.float(ids::SAMPLING_FREQUENCY, hz));
                });
            });
        });
        let (events, _) = read(&[ebml(|_| {}), unknown(ids::SEGMENT, &[tracks])].concat());
        let EventKind::Tracks(tracks) = &events[2].kind else { panic!("{events:?}") };
        let crate::track::TrackKind::Audio(audio) = &tracks[0].kind else { panic!("{tracks:?}") };
        assert_eq!(audio.sampling_hz, 8000.0);
    }
}

#[test]
fn elements_must_fit_their_parents_and_their_places() {
    let header = || ebml(|_| {});
    let cut_master =
        |id: Id, size: u64, rest: Vec<u8>| [bytes(|w| w.header(id, size, MINIMAL)), rest].concat();
    let overrun = cut_master(ids::CLUSTER, 6, [timestamp(1), block(0, b"longer")].concat());
    let in_open_segment = [header(), unknown(ids::SEGMENT, &[overrun])].concat();
    assert_eq!(fault(&in_open_segment), ErrorKind::Unexpected(ids::SIMPLE_BLOCK));

    // The Cluster's size is unknown, so its block runs past the end of the Segment.
    let children = unknown(ids::CLUSTER, &[timestamp(1), block(0, b"longer")]);
    let overrun = cut_master(ids::SEGMENT, children.len() as u64 - 2, children);
    assert_eq!(fault(&[header(), overrun].concat()), ErrorKind::Unexpected(ids::SIMPLE_BLOCK));
    let headless = cut_master(ids::SEGMENT, 5, unknown(ids::CLUSTER, &[]));
    assert_eq!(fault(&[header(), headless].concat()), ErrorKind::Unexpected(ids::CLUSTER));

    for (input, id) in [
        (segment(&[]), ids::SEGMENT),
        ([header(), timestamp(1)].concat(), ids::TIMESTAMP),
        ([header(), segment(&[timestamp(1)])].concat(), ids::TIMESTAMP),
        ([header(), segment(&[block(0, b"x")])].concat(), ids::SIMPLE_BLOCK),
        ([header(), unknown(ids::SEGMENT, &[segment(&[])])].concat(), ids::SEGMENT),
        (
            [header(), segment(&[master(ids::CLUSTER, &[master(ids::TRACKS, &[])])])].concat(),
            ids::TRACKS,
        ),
    ] {
        assert_eq!(fault(&input), ErrorKind::Unexpected(id));
    }
    let endless = [header(), unknown(ids::SEGMENT, &[unknown(ids::TAGS, &[])])].concat();
    assert_eq!(fault(&endless), ErrorKind::UnknownSize(ids::TAGS));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_there() {
    let (block_limit, other_limit) = (Limits::default().block, Limits::default().other);
    for (id, size, allowed) in [
        (ids::SIMPLE_BLOCK, block_limit, true),
        (ids::SIMPLE_BLOCK, block_limit + 1, false),
        (ids::BLOCK_GROUP, u64::MAX >> 9, false),
        (ids::TAGS, other_limit, true),
        (ids::TAGS, other_limit + 1, false),
    ] {
        let start = bytes(|w| w.header(id, size, MINIMAL));
        let cluster = [timestamp(1), start.clone()];
        let children = if id == ids::TAGS { start } else { unknown(ids::CLUSTER, &cluster) };
        let input = [ebml(|_| {}), unknown(ids::SEGMENT, &[children])].concat();
        let expect = if allowed { ErrorKind::Truncated } else { ErrorKind::TooLarge { id, size } };
        assert_eq!(fault(&input), expect);
    }
}

#[test]
fn goes_on_at_the_next_document() {
    let good = || {
        let cluster = unknown(ids::CLUSTER, &[timestamp(1), block(0x80, b"x")]);
        [ebml(|_| {}), unknown(ids::SEGMENT, &[cluster])].concat()
    };
    let broken_block = element(ids::SIMPLE_BLOCK, &[0x81, 0]);
    let cut = |len: usize| {
        let cluster = master(ids::CLUSTER, &[timestamp(1), block(0x80, &[5; 900])]);
        let document = [ebml(|_| {}), segment(&[cluster])].concat();
        document[..document.len() - len].to_vec()
    };
    for (name, bad) in [
        ("broken block at the very end", [good(), broken_block].concat()),
        ("element without an id", [good(), vec![0; 3]].concat()),
        ("header that is no matroska", ebml(|w| w.text(ids::DOC_TYPE, "text"))),
        ("header of unknown size", bytes(|w| w.unknown_size(ids::EBML))),
        ("header that is too large", bytes(|w| w.header(ids::EBML, 1 << 40, MINIMAL))),
        ("cut between two elements", cut(900 + 7)),
    ] {
        let input = [good(), bad.clone(), good()].concat();
        let (events, errors) = read(&input);
        assert!(!errors.is_empty(), "{name}");
        let start = (input.len() - good().len()) as u64;
        let last: Vec<_> = events.into_iter().filter(|event| event.offset >= start).collect();
        assert!(story(&last).ends_with("ESCTBcs"), "{name}: {}", story(&last));
        let header = last.iter().find(|event| matches!(event.kind, EventKind::EbmlHeader(_)));
        assert_eq!(header.map(|event| event.offset), Some(start), "{name}");
    }
}

#[test]
fn resync_without_an_error_keeps_a_document_that_begins_here() {
    let document = [ebml(|_| {}), unknown(ids::SEGMENT, &[])].concat();
    let mut reader = Reader::default();
    reader.push([document.clone(), document].concat().into());
    for _ in 0..2 {
        reader.pull().unwrap().unwrap();
    }
    reader.resync();
    let next = reader.pull().unwrap().unwrap();
    assert!(matches!(next.kind, EventKind::EbmlHeader(_)), "{next:?}");
}

#[test]
fn the_end_of_the_input_inside_an_element_is_reported() {
    let cluster = master(ids::CLUSTER, &[timestamp(1), block(0x80, b"payload")]);
    let whole = [ebml(|_| {}), unknown(ids::SEGMENT, &[cluster])].concat();
    assert_eq!(told(&whole), "ESCTBcs");
    for cut in 1..whole.len() {
        let input = &whole[..whole.len() - cut];
        let (events, errors) = read(input);
        let story = story(&events);
        // Whole documents end after the EBML header and after the start of the Segment.
        if errors.is_empty() {
            assert!(["E", "ESs"].contains(&story.as_str()), "{cut}: {story}");
        } else {
            assert_eq!(errors[0].kind, ErrorKind::Truncated, "{cut}");
        }
    }
}
