// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real Matroska: what the service returned, and what ffmpeg and mkvmerge write, read by
//! `mkv::Reader` and compared with ffprobe's reading of the same bytes, payload by payload.
//!
//! The captures lie in `../shared/media` or where `KVS_TEST_MEDIA` says; tests that need them, or
//! a tool that is not there, say `SKIPPED`.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;
use gstkvs::{
    ids::TrackNumber,
    mkv::{Error, ErrorKind, EventKind, Reader, SimpleTag},
    time::TimestampScale,
    wire::get_media::ChunkTags,
};
use sha2::{Digest, Sha256};

/// A frame: its time in nanoseconds where the container states it, and the hash of its payload.
type Packet = (Option<i128>, String);

/// What a file holds.
#[derive(Debug, Default)]
struct Content {
    /// Frames by the position of their track in Tracks.
    packets: BTreeMap<usize, Vec<Packet>>,
    documents: usize,
    clusters: usize,
    laced: usize,
    groups: usize,
    tags: Vec<Vec<SimpleTag>>,
    error: Option<Error>,
}

impl Content {
    fn frames(&self) -> usize {
        self.packets.values().map(Vec::len).sum()
    }

    fn chunk_tags(&self) -> Vec<ChunkTags> {
        self.tags.iter().filter_map(|tags| ChunkTags::parse(tags).unwrap()).collect()
    }
}

fn read(input: &[u8], chunk: usize) -> Content {
    let (mut reader, mut content, mut state) =
        (Reader::default(), Content::default(), State::default());
    for piece in input.chunks(chunk) {
        reader.push(Bytes::copy_from_slice(piece));
        loop {
            match reader.pull() {
                Ok(Some(event)) => state.handle(event.kind, &event.raw, &mut content),
                Ok(None) => break,
                Err(error) => {
                    content.error = Some(error);
                    return content;
                }
            }
        }
    }
    content.error = reader.finish().err();
    content
}

#[derive(Default)]
struct State {
    scale: TimestampScale,
    cluster_ticks: u64,
    tracks: Vec<TrackNumber>,
}

impl State {
    fn handle(&mut self, kind: EventKind, raw: &[u8], content: &mut Content) {
        match kind {
            EventKind::EbmlHeader(_) => {
                content.documents += 1;
                *self = Self::default();
            }
            EventKind::Info(info) => self.scale = info.scale,
            EventKind::Tracks(tracks) => self.tracks = tracks.iter().map(|t| t.number).collect(),
            EventKind::Tags(tags) => content.tags.push(tags),
            EventKind::ClusterStart { .. } => content.clusters += 1,
            EventKind::ClusterTimestamp(ticks) => self.cluster_ticks = ticks,
            EventKind::Block(block) => {
                let track = self.tracks.iter().position(|number| *number == block.track).unwrap();
                let ticks = i128::from(self.cluster_ticks) + i128::from(block.offset_ticks);
                let mut time = Some(ticks * i128::from(self.scale.as_nanos()));
                content.laced += usize::from(block.frames.len() > 1);
                content.groups += usize::from(raw[0] == 0xA0);
                for frame in block.frames {
                    let packet = (time.take(), hex(&Sha256::digest(&frame)));
                    content.packets.entry(track).or_default().push(packet);
                }
            }
            EventKind::ClusterEnd
            | EventKind::Other(_)
            | EventKind::SegmentEnd
            | EventKind::SegmentStart { .. } => {}
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// ffprobe's reading: track position, time in ms, payload hash.
fn ffprobe(path: &Path) -> BTreeMap<usize, Vec<Packet>> {
    let output = Command::new("ffprobe")
        .args(["-v", "quiet", "-show_packets", "-show_data_hash", "sha256"])
        .args(["-show_entries", "packet=stream_index,pts_time,data_hash"])
        .args(["-of", "compact=p=0:nk=0"])
        .arg(path)
        .output()
        .unwrap();
    let mut packets = BTreeMap::<usize, Vec<Packet>>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let fields: BTreeMap<_, _> = line.split('|').filter_map(|f| f.split_once('=')).collect();
        let time = fields.get("pts_time").and_then(|time| time.parse::<f64>().ok());
        let time = time.map(|secs| (secs * 1e9).round() as i128);
        let hash = fields["data_hash"].trim_start_matches("SHA256:").to_owned();
        packets.entry(fields["stream_index"].parse().unwrap()).or_default().push((time, hash));
    }
    packets
}

/// The same payloads in the same order; the same times, where both state one.
fn assert_agree(name: &str, ours: &Content, theirs: &BTreeMap<usize, Vec<Packet>>) {
    let counts = |packets: &BTreeMap<usize, Vec<Packet>>| -> Vec<_> {
        packets.iter().map(|(track, packets)| (*track, packets.len())).collect()
    };
    assert_eq!(counts(&ours.packets), counts(theirs), "{name}: frames per track");
    for (track, packets) in &ours.packets {
        for (index, (ours, theirs)) in packets.iter().zip(&theirs[track]).enumerate() {
            assert_eq!(ours.1, theirs.1, "{name}: track {track}, frame {index}: payload");
            if let (Some(ours), Some(theirs)) = (ours.0, theirs.0) {
                let apart = ours.abs_diff(theirs);
                assert!(apart <= 1000, "{name}: track {track}, frame {index}: {apart} ns apart");
            }
        }
    }
}

fn has(tool: &str) -> bool {
    let found = Command::new(tool)
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        println!("SKIPPED: {tool} is not installed");
    }
    found
}

/// A capture; `None`, and a line that says so, when it is not there.
fn capture(name: &str) -> Option<PathBuf> {
    let folder = env::var_os("KVS_TEST_MEDIA").map_or_else(
        || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media")).to_owned(),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: there is no {}; KVS_TEST_MEDIA names its folder", path.display());
    None
}

/// Reads a capture in pieces of several sizes, which must agree.
fn read_capture(name: &str) -> Option<(PathBuf, Content)> {
    let path = capture(name)?;
    let input = fs::read(&path).unwrap();
    let content = read(&input, input.len());
    for chunk in [1000, 65_536] {
        let again = read(&input, chunk);
        assert_eq!(format!("{again:?}"), format!("{content:?}"), "in pieces of {chunk}");
    }
    Some((path, content))
}

#[test]
fn reads_the_services_documents_as_ffprobe_does() {
    for (name, documents, frames) in
        [("output_get_media.mkv", 5, 300), ("test_mixed_tags.mkv", 10, 100)]
    {
        let Some((path, content)) = read_capture(name) else { return };
        assert_eq!(content.error, None, "{name}");
        assert_eq!((content.documents, content.frames()), (documents, frames), "{name}");
        if has("ffprobe") {
            assert_agree(name, &content, &ffprobe(&path));
        }
    }
}

#[test]
fn reads_a_capture_up_to_where_it_was_cut() {
    let Some((path, content)) = read_capture("output-get-media-non-increasing-timecode.mkv") else {
        return;
    };
    assert_eq!(content.error.as_ref().map(|error| &error.kind), Some(&ErrorKind::Truncated));
    assert_eq!(content.frames(), 358);
    if has("ffprobe") {
        assert_agree("non-increasing", &content, &ffprobe(&path));
    }
}

#[test]
fn captures_without_media_give_no_frame_and_no_error() {
    for name in ["empty-mkv-with-tags.mkv", "test_tags_empty_cluster.mkv"] {
        let Some((_, content)) = read_capture(name) else { return };
        assert_eq!(content.error, None, "{name}");
        assert_eq!((content.frames(), content.clusters), (0, 0), "{name}");
        assert!(!content.tags.is_empty(), "{name}");
    }
}

#[test]
fn the_services_tags_are_understood() {
    let Some((_, content)) = read_capture("output_get_media.mkv") else { return };
    let tags = content.chunk_tags();
    assert_eq!(tags.len(), 2 * content.documents, "{tags:?}");
    for pair in tags.chunks(2) {
        let [
            ChunkTags::Head { number, server_time, .. },
            ChunkTags::Tail { continuation_token: Some(token), behind_now_ms: Some(_) },
        ] = pair
        else {
            panic!("{pair:?}");
        };
        // The token is the number; its middle holds the server time.
        assert_eq!(token.as_str(), number.as_str());
        assert_eq!(number.as_str().len(), 47);
        assert!(server_time.to_string().starts_with("201"), "{server_time}");
    }

    let Some((_, content)) = read_capture("test_mixed_tags.mkv") else { return };
    let heads = content.chunk_tags().iter().filter(|t| matches!(t, ChunkTags::Head { .. })).count();
    assert_eq!(heads, content.documents);
    assert!(
        content.tags.len() > content.chunk_tags().len(),
        "the producer's own tags are there too"
    );
}

fn make(tool: &str, args: &[&str], out: &Path) {
    let output = Command::new(tool).args(args).arg(out).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {log}");
}

#[test]
fn reads_what_ffmpeg_and_mkvmerge_write_as_ffprobe_does() {
    if !["ffmpeg", "ffprobe", "mkvmerge"].into_iter().all(has) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let source = path("source.mkv");
    let video = "testsrc=size=160x120:rate=25:duration=3";
    let audio = "sine=frequency=440:sample_rate=44100:duration=3";
    let inputs = ["-v", "error", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", audio];
    let coded = ["-c:v", "libx264", "-g", "25", "-bf", "2", "-preset", "ultrafast", "-c:a", "mp2"];
    make("ffmpeg", &[inputs.as_slice(), &coded].concat(), &source);
    let source_text = source.to_str().unwrap();
    let copy = ["-v", "error", "-i", source_text, "-c", "copy", "-f", "matroska"];
    // What each variant is there for: blocks in groups, laced blocks, more clusters than one.
    let mut seen = (0, 0, 0);
    let variants: [(&str, &str, &[&str]); 7] = [
        ("ffmpeg", "plain.mkv", &[]),
        ("ffmpeg", "live.mkv", &["-live", "1", "-cluster_time_limit", "500"]),
        ("ffmpeg", "small-clusters.mkv", &["-cluster_size_limit", "4000", "-write_crc32", "0"]),
        ("ffmpeg", "cues-first.mkv", &["-cues_to_front", "1", "-reserve_index_space", "2000"]),
        ("mkvmerge", "merged.mkv", &[]),
        ("mkvmerge", "groups.mkv", &["--engage", "no_simpleblocks", "--engage", "lacing_xiph"]),
        ("mkvmerge", "ebml.mkv", &["--engage", "lacing_ebml", "--timestamp-scale", "100000"]),
    ];
    for (tool, name, options) in variants {
        let out = path(name);
        if tool == "ffmpeg" {
            make(tool, &[&copy, options].concat(), &out);
        } else {
            let to = out.to_str().unwrap();
            make(tool, &[&["-q", "-o", to], options].concat(), &source);
        }
        let input = fs::read(&out).unwrap();
        let content = read(&input, 4000);
        assert_eq!(content.error, None, "{name}");
        assert_agree(name, &content, &ffprobe(&out));
        assert!(content.frames() > 150, "{name}: {}", content.frames());
        seen.0 += content.groups;
        seen.1 += content.laced;
        seen.2 = seen.2.max(content.clusters);
    }
    assert!(seen.0 > 0 && seen.1 > 0 && seen.2 > 3, "{seen:?}");
}
