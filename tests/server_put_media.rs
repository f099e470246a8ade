// SPDX-License-Identifier: MIT OR Apache-2.0
//! Outsiders on both sides of the server: what ffmpeg and mkvmerge wrote, posted by curl, comes
//! back through GetMedia with the payloads that ffprobe finds in the file.
//!
//! Tests that need a tool that is not there say `SKIPPED`.
#![cfg(feature = "server")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bytes::Bytes;
use gstkvs::{
    mkv::{EventKind, Reader},
    server::{Config, Running, Server},
    wire::{
        ack::{AckEvent, AckParser},
        get_media::ChunkTags,
    },
};
use tempfile::TempDir;

/// A server, and a place for files.
struct Fixture {
    server: Running,
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("data"));
        config.limits.consumer_idle = std::time::Duration::from_millis(300);
        let fixture = Self { server: Server::start(config).unwrap(), dir };
        fixture.json("createStream", r#"{"StreamName":"cam","DataRetentionInHours":1}"#);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn json(&self, operation: &str, members: &str) -> Vec<u8> {
        let url = format!("{}/{operation}", self.server.url());
        run("curl", &["-sS", "--fail-with-body", "-m", "60", "-d", members, &url]).stdout
    }

    /// Posts a file as a producer would and gives the acks.
    fn put_media(&self, file: &Path) -> Vec<AckEvent> {
        let url = format!("{}/putMedia", self.server.url());
        let file = file.to_str().unwrap();
        let acks = run(
            "curl",
            &[
                "-sS",
                "--fail-with-body",
                "-m",
                "60",
                "-X",
                "POST",
                "-T",
                file,
                "-H",
                "Transfer-Encoding: chunked",
                "-H",
                "x-amzn-stream-name: cam",
                "-H",
                "x-amzn-fragment-timecode-type: RELATIVE",
                "-H",
                "x-amzn-producer-start-timestamp: 1767225600.500",
                &url,
            ],
        );
        let mut parser = AckParser::default();
        parser.push(&acks.stdout);
        std::iter::from_fn(|| parser.pull().unwrap()).collect()
    }

    /// Everything that GetMedia gives from the start, one file per fragment.
    fn get_media(&self) -> Vec<PathBuf> {
        let selector = r#"{"StreamName":"cam","StartSelector":{"StartSelectorType":"EARLIEST"}}"#;
        let all = Bytes::from(self.json("getMedia", selector));
        let mut reader = Reader::default();
        let (mut starts, mut tails) = (Vec::new(), 0);
        reader.push(all.clone());
        while let Some(event) = reader.pull().unwrap() {
            match event.kind {
                EventKind::EbmlHeader(_) => starts.push(event.offset as usize),
                EventKind::Tags(tags) => {
                    let tags = ChunkTags::parse(&tags).unwrap();
                    tails += usize::from(matches!(tags, Some(ChunkTags::Tail { .. })));
                }
                _ => {}
            }
        }
        assert_eq!(starts.len(), tails, "a fragment without its tail tags");
        starts.push(all.len());
        let documents = starts.windows(2).enumerate().map(|(at, range)| {
            let path = self.path(&format!("fragment-{at}.mkv"));
            fs::write(&path, &all[range[0]..range[1]]).unwrap();
            path
        });
        documents.collect()
    }
}

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output().unwrap();
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    assert!(
        output.status.success(),
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    );
    output
}

/// Whether the tools are there; says so when they are not.
fn tools_are_there(tools: &[&str]) -> bool {
    let missing = |tool: &&&str| Command::new(tool).arg("-version").output().is_err();
    match tools.iter().find(missing) {
        Some(tool) => {
            println!("SKIPPED: {tool} is not installed");
            false
        }
        None => true,
    }
}

/// Payload hashes by track, in the order of the file.
fn hashes(files: &[PathBuf]) -> Vec<Vec<String>> {
    let mut tracks = vec![Vec::new(); 2];
    for file in files {
        let output = run(
            "ffprobe",
            &[
                "-v",
                "error",
                "-show_packets",
                "-show_data_hash",
                "sha256",
                "-show_entries",
                "packet=stream_index,data_hash",
                "-of",
                "csv=p=0",
                file.to_str().unwrap(),
            ],
        );
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (track, hash) = line.trim_end_matches(',').split_once(',').expect(line);
            tracks[track.parse::<usize>().unwrap()].push(hash.to_owned());
        }
    }
    tracks
}

/// Six seconds of picture and sound, a key frame every two seconds.
fn source(path: &Path, muxer: &[&str]) {
    let mut args = vec![
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x240:rate=25:duration=6",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:duration=5.9",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        "2",
        "-g",
        "50",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
    ];
    args.extend_from_slice(muxer);
    args.push(path.to_str().unwrap());
    run("ffmpeg", &args);
}

/// Posts a file and compares what comes back.
fn comes_back(fixture: &Fixture, file: &Path) {
    let acks = fixture.put_media(file);
    let of = |wanted: fn(&AckEvent) -> bool| acks.iter().filter(|ack| wanted(ack)).count();
    assert_eq!(of(|ack| matches!(ack, AckEvent::Error { .. })), 0, "{acks:?}");
    let persisted = of(|ack| matches!(ack, AckEvent::Persisted { .. }));
    assert!(persisted >= 3, "{acks:?}");
    let fragments = fixture.get_media();
    assert_eq!(fragments.len(), persisted);
    let (sent, came) = (hashes(&[file.to_owned()]), hashes(&fragments));
    assert!(sent[0].len() == 150 && sent[1].len() > 200, "{} {}", sent[0].len(), sent[1].len());
    assert_eq!(came, sent);
}

#[test]
fn what_ffmpeg_wrote_comes_back() {
    if !tools_are_there(&["ffmpeg", "ffprobe", "curl"]) {
        return;
    }
    let fixture = Fixture::new();
    let file = fixture.path("ffmpeg.mkv");
    source(&file, &["-f", "matroska", "-cluster_time_limit", "2000"]);
    comes_back(&fixture, &file);
}

#[test]
fn what_ffmpeg_streamed_comes_back() {
    if !tools_are_there(&["ffmpeg", "ffprobe", "curl"]) {
        return;
    }
    let fixture = Fixture::new();
    let file = fixture.path("live.mkv");
    // Streaming, ffmpeg cuts Clusters anywhere: a frame that is shown before the cut must not come
    // after it, so there are no B-frames.
    source(&file, &["-bf", "0", "-f", "matroska", "-live", "1"]);
    comes_back(&fixture, &file);
}

#[test]
fn what_mkvmerge_wrote_comes_back() {
    if !tools_are_there(&["ffmpeg", "ffprobe", "curl", "mkvmerge"]) {
        return;
    }
    let fixture = Fixture::new();
    let (raw, file) = (fixture.path("raw.mp4"), fixture.path("mkvmerge.mkv"));
    source(&raw, &["-f", "mp4"]);
    let (from, to) = (raw.to_str().unwrap(), file.to_str().unwrap());
    // Header compression is no plain Matroska; KVS plays nothing that is encoded inside.
    let plain = ["--compression", "0:none", "--compression", "1:none"];
    run(
        "mkvmerge",
        &[&["-q", "-o", to, "--cluster-length", "3000ms"], &plain[..], &[from]].concat(),
    );
    comes_back(&fixture, &file);
}

#[test]
fn one_flipped_byte_is_noticed() {
    if !tools_are_there(&["ffmpeg", "ffprobe", "curl"]) {
        return;
    }
    let fixture = Fixture::new();
    let file = fixture.path("ffmpeg.mkv");
    source(&file, &["-f", "matroska", "-cluster_time_limit", "2000"]);
    let sent = hashes(std::slice::from_ref(&file));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_ne!(hashes(&[file]), sent);
}
