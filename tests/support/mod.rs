// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests of the whole way share: a server on loopback, pipelines from launch lines, and
//! every frame that passes a pad.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod recorder;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, Once},
};

use gst::prelude::*;
use gstkvs::server::{Config, Running, Server};
use tempfile::TempDir;

/// Nothing in these tests takes longer.
pub(crate) const DEADLINE: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// Registers the elements once per test binary.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstkvs::plugin_register_static().unwrap();
    });
}

/// The folder of the service's captures and a real recording: KVS_TEST_MEDIA, else ../shared/media.
pub(crate) fn media_folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media");
    let folder = std::env::var_os("KVS_TEST_MEDIA").map_or_else(|| beside.into(), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// A server with its data folder; both end with it.
pub(crate) struct Service {
    pub(crate) running: Running,
    pub(crate) folder: TempDir,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        init();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("data"));
        change(&mut config);
        Self { running: Server::start(config).unwrap(), folder }
    }

    /// The properties that lead an element to this server.
    pub(crate) fn properties(&self, stream: &str) -> String {
        format!("endpoint={} stream-name={stream}", self.running.url())
    }
}

/// One buffer that passed a pad.
#[derive(Clone, PartialEq)]
pub(crate) struct Seen {
    /// Running time of presentation.
    pub(crate) time: gst::ClockTime,
    pub(crate) key: bool,
    pub(crate) data: Vec<u8>,
}

/// What passed the pads of one kind (`video` or `audio`) of an element.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(String, gst::Caps, Seen)>>>);

impl Log {
    /// The frames of the pads whose name starts with `kind`, in order.
    pub(crate) fn frames(&self, kind: &str) -> Vec<Seen> {
        let log = self.0.lock().unwrap();
        log.iter()
            .filter(|(pad, ..)| pad.starts_with(kind))
            .map(|(.., seen)| seen.clone())
            .collect()
    }

    /// The caps of those frames, without repeats.
    pub(crate) fn caps(&self, kind: &str) -> Vec<gst::Caps> {
        let log = self.0.lock().unwrap();
        let mut caps: Vec<_> = log
            .iter()
            .filter(|(pad, ..)| pad.starts_with(kind))
            .map(|(_, caps, _)| caps.clone())
            .collect();
        caps.dedup();
        caps
    }

    /// Notes every buffer on every pad of one direction that `element` has now or gets later.
    pub(crate) fn watch(&self, element: &gst::Element, direction: gst::PadDirection) {
        for pad in element.pads().iter().filter(|pad| pad.direction() == direction) {
            self.watch_pad(pad);
        }
        let log = self.clone();
        element.connect_pad_added(move |_, pad| {
            if pad.direction() == direction {
                log.watch_pad(pad);
            }
        });
    }

    fn watch_pad(&self, pad: &gst::Pad) {
        let log = Arc::clone(&self.0);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(buffer) = info.buffer() {
                let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
                let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap();
                let seen = Seen {
                    time: segment.to_running_time(buffer.pts()).unwrap(),
                    key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
                    data: buffer.map_readable().unwrap().to_vec(),
                };
                let caps = pad.current_caps().unwrap();
                log.lock().unwrap().push((pad.name().to_string(), caps, seen));
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// A pipeline that is taken to NULL however the test ends.
pub(crate) struct Pipeline(pub(crate) gst::Pipeline);

impl Pipeline {
    pub(crate) fn launch(line: &str) -> Self {
        init();
        let element = gst::parse::launch(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        Self(element.downcast().unwrap_or_else(|element| {
            let pipeline = gst::Pipeline::new();
            pipeline.add(&element).unwrap();
            pipeline
        }))
    }

    /// The element that the launch line calls `name`.
    pub(crate) fn element(&self, name: &str) -> gst::Element {
        self.0.by_name(name).unwrap()
    }

    /// Plays to EOS; an ERROR or no EOS in time fails the test.
    pub(crate) fn run(&self) {
        self.0.set_state(gst::State::Playing).unwrap();
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let bus = self.0.bus().unwrap();
        let message = bus
            .timed_pop_filtered(DEADLINE, &wanted)
            .unwrap_or_else(|| panic!("no EOS within {DEADLINE}"));
        if let gst::MessageView::Error(error) = message.view() {
            panic!("{} ({:?})", error.error(), error.debug());
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// Plays `media` into a sink called `kvs` that uploads to `stream`; gives what entered it.
pub(crate) fn upload(service: &Service, stream: &str, media: &str) -> Log {
    let pipeline = Pipeline::launch(&format!(
        "kvssink name=kvs streaming-type=offline {} {media}",
        service.properties(stream)
    ));
    let log = Log::default();
    log.watch(&pipeline.element("kvs"), gst::PadDirection::Sink);
    pipeline.run();
    log
}

/// Reads `stream` from its beginning until it is silent; gives what left kvssrc.
pub(crate) fn download(service: &Service, stream: &str) -> Log {
    let pipeline = Pipeline::launch(&format!(
        "kvssrc name=kvs start-selector=earliest on-silence=eos silence-timeout=500 {}",
        service.properties(stream)
    ));
    let source = pipeline.element("kvs");
    let log = Log::default();
    log.watch(&source, gst::PadDirection::Src);
    let weak = pipeline.0.downgrade();
    source.connect_pad_added(move |_, pad| {
        let pipeline = weak.upgrade().unwrap();
        let sink =
            gst::ElementFactory::make("fakesink").property("sync", false).property("async", false);
        let sink = sink.build().unwrap();
        pipeline.add(&sink).unwrap();
        sink.sync_state_with_parent().unwrap();
        pad.link(&sink.static_pad("sink").unwrap()).unwrap();
    });
    pipeline.run();
    log
}

/// Asserts that the same frames came out: number, payloads, key flags, and times within 1 ms after
/// one shift that all kinds share.
pub(crate) fn assert_same_frames(went_in: &Log, came_out: &Log, kinds: &[&str]) {
    let mut shifts = Vec::new();
    for kind in kinds {
        let (a, b) = (went_in.frames(kind), came_out.frames(kind));
        assert!(!a.is_empty(), "no {kind} frame went in");
        assert_eq!(a.len(), b.len(), "{kind} frames in and out");
        for (n, (a, b)) in a.iter().zip(&b).enumerate() {
            assert!(a.data == b.data, "{kind} frame {n} at {}: the payload differs", a.time);
            assert_eq!(a.key, b.key, "{kind} frame {n} at {}: key flag", a.time);
            shifts.push(b.time.nseconds() as i64 - a.time.nseconds() as i64);
        }
    }
    let (low, high) = (shifts.iter().min().unwrap(), shifts.iter().max().unwrap());
    assert!(high - low <= 2_000_000, "times are up to {} ns off", (high - low) / 2);
}

/// The output of a program that must succeed.
pub(crate) fn output(program: &str, args: &[&str]) -> String {
    let done = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program} (see tests/setup.sh): {e}"));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {text}{errors}");
    text
}

/// What ffprobe says of one kind (`v` or `a`) of tracks of a file: payload hashes in order.
pub(crate) fn ffprobe_hashes(file: &Path, kind: &str) -> Vec<String> {
    let file = file.to_str().unwrap();
    let show = ["-show_packets", "-show_data_hash", "sha256", "-show_entries", "packet=data_hash"];
    let quiet = ["-v", "error", "-select_streams", kind, "-of", "csv=print_section=0", file];
    let text = output("ffprobe", &[&show[..], &quiet[..]].concat());
    text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect()
}
