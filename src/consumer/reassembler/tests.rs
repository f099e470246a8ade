// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::{
    super::{Counts, testing::*},
    *,
};
use crate::{mkv::writer, wire::get_media::StartSelector};

/// A reassembler with the cursor that a consumer would keep.
struct Rig {
    reassembler: Reassembler,
    cursor: Cursor,
}

impl Rig {
    fn new() -> Self {
        Self { reassembler: Reassembler::default(), cursor: Cursor::new(StartSelector::Earliest) }
    }

    fn drain(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some(piece) = self.reassembler.pull(&self.cursor) {
            match &piece {
                Piece::Start(start) => self.cursor.fragment_started(&start.head),
                Piece::End(end) => self.cursor.fragment_ended(end),
                _ => {}
            }
            pieces.push(piece);
        }
        pieces
    }

    fn session(&mut self, body: &[u8]) -> Vec<Piece> {
        self.session_in_parts(body, body.len().max(1))
    }

    fn session_in_parts(&mut self, body: &[u8], part: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in body.chunks(part) {
            self.reassembler.push(Bytes::copy_from_slice(part));
            pieces.extend(self.drain());
        }
        self.reassembler.end_session();
        pieces.extend(self.drain());
        pieces
    }
}

fn body(fragments: &[Made]) -> Vec<u8> {
    fragments.iter().map(Made::bytes).collect::<Vec<_>>().concat()
}

fn expected(fragments: &[Made]) -> Vec<(u64, u64, Vec<u8>)> {
    fragments.iter().flat_map(Made::expected).collect()
}

fn starts(pieces: &[Piece]) -> Vec<&FragmentStart> {
    pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Start(start) => Some(start),
            _ => None,
        })
        .collect()
}

fn announced(pieces: &[Piece]) -> Vec<u64> {
    let track = |piece: &Piece| match piece {
        Piece::Track(track) => Some(track.number.0),
        _ => None,
    };
    pieces.iter().filter_map(track).collect()
}

#[test]
fn equal_descriptions_merge_into_one_track() {
    let fragments = [Made::nth(0), Made::nth(1), Made::nth(2)];
    let pieces = Rig::new().session(&body(&fragments));
    assert_eq!(announced(&pieces), [1]);
    assert!(matches!(pieces.first(), Some(Piece::Track(_))), "tracks come before the fragment");
    assert_eq!(frames(&pieces), expected(&fragments));
    assert_eq!(completeness(&pieces), [Completeness::Whole; 3]);
    let discont: Vec<_> = starts(&pieces).iter().map(|start| start.discont).collect();
    assert_eq!(discont, [true, false, false]);
    let end = ends(&pieces)[0];
    assert_eq!(end.token.as_ref().unwrap().as_str(), "token-1000");
    assert_eq!(end.behind_now, Some(Duration::from_millis(5)));
    assert_eq!(end.counts, Counts { frames: 10, ..Counts::default() });
}

#[test]
fn a_changed_or_added_description_is_announced() {
    let mut changed = Made::nth(1);
    changed.tracks[0].codec_private = Some(Bytes::from_static(&[1, 100, 0, 31]));
    let mut added = Made::nth(2);
    added.tracks = vec![changed.tracks[0].clone(), audio(2)];
    let pieces = Rig::new().session(&body(&[Made::nth(0), changed, added, Made::nth(3)]));
    assert_eq!(announced(&pieces), [1, 1, 2, 1]);
}

#[test]
fn absolute_time_is_the_clusters_and_relative_time_the_tags() {
    let relative = |n: u64, drift_ms: u64| Made {
        cluster_ms: n * 1000,
        start_ms: Made::nth(n).start_ms + drift_ms,
        ..Made::nth(n)
    };
    let fragments = [Made::nth(0), relative(1, 0), relative(2, 0), relative(3, 250)];
    assert_eq!(frames(&Rig::new().session(&body(&fragments))), expected(&fragments));
}

#[test]
fn the_rounding_of_tags_makes_no_jitter() {
    // A scale of 0.1 ms: the tag says 1000.4 ms as 1000.
    let scale = TimestampScale::from_nanos(100_000).unwrap();
    let document = |ticks: u64, tag_ms: u64| {
        let header = writer::DocumentHeader {
            scale,
            tracks: &[video(1)],
            application: "test",
            segment_uuid: [1; 16],
        };
        let head = ChunkTags::Head {
            number: (500 + ticks).to_string().parse().unwrap(),
            server_time: Timestamp::from_millis(tag_ms).unwrap(),
            producer_time: Timestamp::from_millis(tag_ms).unwrap(),
        };
        let mut out = bytes::BytesMut::from(&writer::document_header(&header)[..]);
        out.extend_from_slice(&tags(&head.to_simple_tags()));
        out.extend_from_slice(&writer::cluster_start(ticks));
        writer::simple_block_header(&mut out, TrackNumber(1), 3, true, 1);
        out.extend_from_slice(b"x");
        out.freeze()
    };
    let times = |body: &[u8]| -> Vec<u64> {
        let pieces = Rig::new().session(body);
        let time = |piece: &Piece| match piece {
            Piece::Frame(frame) => Some(frame.pts.as_nanos() / 100_000),
            _ => None,
        };
        pieces.iter().filter_map(time).collect()
    };
    let absolute = [document(10_004, 1000), document(20_009, 2000)].concat();
    assert_eq!(times(&absolute), [10_007, 20_012]);
    let relative = [document(4, 50_000), document(10_009, 51_000), document(20_001, 52_000)];
    assert_eq!(times(&relative.concat()), [500_003, 510_008, 520_000]);
}

#[test]
fn a_known_fragment_is_skipped_whole() {
    let mut rig = Rig::new();
    let first = [Made::nth(0), Made::nth(1)];
    rig.session(&body(&first));
    let again = rig.session(&body(&[Made::nth(1), Made::nth(2)]));
    assert_eq!(frames(&again), Made::nth(2).expected());
    assert_eq!(ends(&again).len(), 1);
}

#[test]
fn a_producers_repetition_is_dropped_and_counted() {
    let mut rig = Rig::new();
    let fragments = [Made::nth(0), Made::nth(1), Made::nth(2)];
    rig.session(&body(&fragments));
    let mut longer = Made::nth(2).sent_again(1011);
    longer.frames.push((1, 950, b"new".to_vec()));
    let again = rig.session(&body(&[Made::nth(1).sent_again(1010), longer]));
    assert_eq!(frames(&again), [(1, EPOCH_MS + 2950, b"new".to_vec())]);
    let counts: Vec<_> = ends(&again).iter().map(|e| (e.counts.frames, e.counts.repeats)).collect();
    assert_eq!(counts, [(0, 10), (1, 10)]);
}

#[test]
fn head_tail_and_producer_tags_are_told_apart() {
    let simple = |name: &str| SimpleTag { name: name.into(), value: "v".into() };
    let mut document = Made { tail: false, ..Made::nth(0) }.bytes().to_vec();
    document.extend_from_slice(&tags(&[simple("after"), simple("cluster")]));
    let many: Vec<_> = (0..MAX_TAGS).map(|i| simple(&i.to_string())).collect();
    document.extend_from_slice(&tags(&many));
    document.extend_from_slice(&body(&[Made::nth(1)]));
    let pieces = Rig::new().session(&document);
    let first = ends(&pieces)[0];
    assert_eq!(first.completeness, Completeness::Whole, "the next document began");
    assert_eq!(first.tags[..2], [simple("after"), simple("cluster")]);
    assert_eq!((first.tags.len(), first.counts.tags), (MAX_TAGS, 2));
    assert!(ends(&pieces)[1].tags.is_empty());
}

#[test]
fn a_document_without_media_ends_without_frames() {
    let made = Made { frames: Vec::new(), ..Made::nth(0) };
    let whole = made.bytes();
    let cluster = whole.windows(4).position(|w| w == [0x1F, 0x43, 0xB6, 0x75]).unwrap();
    let tail = whole.windows(4).rposition(|w| w == [0x12, 0x54, 0xC3, 0x67]).unwrap();
    let mut without = whole[..cluster].to_vec();
    let head_alone = Rig::new().session(&without);
    assert_eq!(head_alone, [], "cut before anything came");
    without.extend_from_slice(&whole[tail..]);
    let mut rig = Rig::new();
    let pieces = rig.session(&without);
    assert_eq!(completeness(&pieces), [Completeness::Whole]);
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    assert_eq!(rig.session(&without), [], "and it is known from then on");
}

#[test]
fn a_corrupt_fragment_is_reported_and_the_next_one_read() {
    let mut broken = Made::nth(1).bytes().to_vec();
    let at = broken.windows(7).position(|w| w == b"frame 4").unwrap() - 30;
    broken[at..at + 20].fill(0);
    let all = [body(&[Made::nth(0)]), broken, body(&[Made::nth(2)])].concat();
    let mut rig = Rig::new();
    let pieces = rig.session(&all);
    let corrupt: Vec<_> = pieces.iter().filter(|p| matches!(p, Piece::Corrupt(_))).collect();
    assert_eq!(corrupt.len(), 1);
    assert!(matches!(
        corrupt[0],
        Piece::Corrupt(Corrupt { number: Some(n), cause: CorruptCause::Matroska(_) })
            if n.as_str() == "1001"
    ));
    use Completeness::{Corrupt as Broken, Whole};
    assert_eq!(completeness(&pieces), [Whole, Broken, Whole]);
    let discont: Vec<_> = starts(&pieces).iter().map(|start| start.discont).collect();
    assert_eq!(discont, [true, false, true]);
    let out = frames(&pieces);
    assert_eq!(out[..10], Made::nth(0).expected());
    assert_eq!(out[out.len() - 10..], Made::nth(2).expected());
}

#[test]
fn frames_that_cannot_be_placed_are_dropped_counted_and_reported_once() {
    let mut made = Made::nth(0);
    made.frames.extend([(9, 10, b"x".to_vec()), (8, 20, b"y".to_vec())]);
    let pieces = Rig::new().session(&body(&[made]));
    let causes: Vec<_> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Corrupt(corrupt) => Some(corrupt.cause.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(causes, [CorruptCause::UndeclaredTrack(TrackNumber(9))]);
    assert_eq!(ends(&pieces)[0].counts, Counts { frames: 10, unplaced: 2, ..Counts::default() });
}

#[test]
fn error_tags_are_passed_on_and_end_nothing() {
    let failed = ChunkTags::Failed {
        number: Some("5".parse().unwrap()),
        id: 4000,
        message: "FRAGMENT_NOT_FOUND".into(),
    };
    let header = Made { frames: Vec::new(), ..Made::nth(0) }.bytes();
    let head = header.windows(4).position(|w| w == [0x12, 0x54, 0xC3, 0x67]).unwrap();
    let document = [&header[..head], &tags(&failed.to_simple_tags())[..]].concat();
    let pieces = Rig::new().session(&document);
    assert_eq!(pieces, [Piece::Failed { id: 4000, message: "FRAGMENT_NOT_FOUND".into() }]);
}

#[test]
fn remembered_descriptions_are_bounded() {
    let mut rig = Rig::new();
    for n in 0..(3 * MAX_TRACKS as u64) {
        let made = Made { tracks: vec![video(n + 1)], frames: Vec::new(), ..Made::nth(n) };
        rig.session(&body(&[made]));
        assert!(rig.reassembler.known.len() <= MAX_TRACKS);
    }
}

/// Five fragments of video and audio, with equal frames inside and two sent again.
fn busy_stream() -> Vec<Made> {
    let mut fragments: Vec<_> = (0..5).map(Made::nth).collect();
    for (n, made) in fragments.iter_mut().enumerate() {
        made.tracks.push(audio(2));
        made.frames.push((2, 20, format!("sound {n}").into()));
        made.frames.push((2, 20, format!("sound {n}").into()));
        made.frames.push((2, -5, b"early".to_vec()));
    }
    fragments[3].tail = false;
    fragments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunking_gives_the_same_pieces(part in 1usize..700) {
        let body = body(&busy_stream());
        let whole = Rig::new().session(&body);
        prop_assert_eq!(Rig::new().session_in_parts(&body, part), whole);
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        at in any::<prop::sample::Index>(),
    ) {
        let mut mixed = body(&busy_stream());
        let at = at.index(mixed.len());
        mixed.splice(at..at, bytes);
        let mut rig = Rig::new();
        rig.session_in_parts(&mixed, 97);
        let late = Made { number: 5000, ..Made::nth(50) };
        let after = rig.session(&body(std::slice::from_ref(&late)));
        prop_assert_eq!(frames(&after), late.expected(), "the next session is not affected");
    }
}

#[test]
fn cut_at_any_byte_and_resumed_nothing_is_lost_or_doubled() {
    let fragments = busy_stream();
    let body = body(&fragments);
    let expected = expected(&fragments);
    for cut in 0..=body.len() {
        let mut rig = Rig::new();
        let mut pieces = rig.session_in_parts(&body[..cut], 611);
        // What a service sends from the cursor's place on.
        let rest: Vec<_> = match rig.cursor.selector() {
            StartSelector::ContinuationToken(token) => {
                let at = fragments.iter().position(|f| f.token() == token.as_str()).unwrap();
                fragments[at + 1..].to_vec()
            }
            StartSelector::FragmentNumber(number) => {
                let is_last = |f: &Made| f.number.to_string() == number.as_str();
                fragments[fragments.iter().position(is_last).unwrap() + 1..].to_vec()
            }
            StartSelector::Earliest => fragments.clone(),
            other => panic!("{other:?}"),
        };
        pieces.extend(rig.session(&self::body(&rest)));
        assert_eq!(frames(&pieces), expected, "cut at byte {cut}");
    }
}

#[test]
fn cut_at_any_byte_and_sent_again_by_the_producer_nothing_is_lost_or_doubled() {
    let fragments: Vec<_> = (0..3).map(Made::nth).collect();
    let whole = body(&fragments);
    for cut in (0..=whole.len()).step_by(3) {
        let mut rig = Rig::new();
        let mut pieces = rig.session(&whole[..cut]);
        // The service drops the fragment that was cut; the producer rolls back by one more.
        let done = completeness(&pieces).iter().filter(|c| **c == Completeness::Whole).count();
        let from = done.saturating_sub(1);
        let again: Vec<_> = (from..3).map(|n| fragments[n].sent_again(2000 + n as u64)).collect();
        pieces.extend(rig.session(&body(&again)));
        assert_eq!(frames(&pieces), expected(&fragments), "cut at byte {cut}");
    }
}
