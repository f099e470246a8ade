// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests of kvssink share: a server in-process, a hand-fed pipeline, a recorder of what
//! goes into the element, and a reader of what the server stored.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests measure how long things take")]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use gst::prelude::*;
use gstkvs::{
    ids::{FragmentNumber, StreamRef, TrackNumber},
    io::{Service, ServiceConfig, runtime},
    mkv::{EventKind, Reader},
    server::{Config, Running, Server},
    time::Timestamp,
    track::{Track, TrackKind},
    wire::control::{
        ApiName, FragmentSelector, FragmentSelectorType, ListFragmentsInput, TimestampRange,
    },
};
use tempfile::TempDir;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn init() {
    gst::init().unwrap();
    gstkvs::plugin_register_static().unwrap();
}

/// A server that can be crashed and started again on the same port and folder.
pub(crate) struct Peer {
    running: Option<Running>,
    config: Config,
    url: String,
    _folder: TempDir,
}

impl Peer {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path());
        adjust(&mut config);
        let running = Server::start(config.clone()).unwrap();
        config.listen = running.local_addr();
        let url = running.url().to_owned();
        Self { running: Some(running), config, url, _folder: folder }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops where it stands.
    pub(crate) fn crash(&mut self) {
        self.running = None;
    }

    pub(crate) fn restart(&mut self) {
        // The port may linger for a moment after a crash.
        let running =
            eventually("the server to start again", || Server::start(self.config.clone()).ok());
        self.running = Some(running);
    }

    fn service(&self) -> Service {
        let endpoint = Some(self.url.clone());
        Service::new(ServiceConfig { endpoint, ..ServiceConfig::default() }).unwrap()
    }

    /// Everything stored of a stream, in the order of fragment numbers.
    pub(crate) fn stored(&self, stream: &str) -> Stored {
        runtime::handle().unwrap().block_on(read(&self.service(), stream))
    }

    /// How many fragments are stored.
    pub(crate) fn fragment_count(&self, stream: &str) -> usize {
        let stream = StreamRef::Name(stream.parse().unwrap());
        let list = async { fragments(&self.service(), &stream).await.map_or(0, |list| list.len()) };
        runtime::handle().unwrap().block_on(list)
    }

    pub(crate) fn delete(&self, stream: &str) {
        let url = format!("{}/deleteStream", self.url);
        let client = reqwest::Client::new();
        runtime::handle().unwrap().block_on(async {
            let describe = self.service();
            let name = StreamRef::Name(stream.parse().unwrap());
            let arn = describe.describe_stream(&name).await.unwrap().stream_arn.unwrap();
            let body = format!("{{\"StreamARN\":\"{arn}\"}}");
            let answer = client.post(url).body(body).send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
        });
    }
}

/// What the server has of a stream.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Of the last session.
    pub tracks: Vec<Track>,
    /// Of every fragment, the tracks declared for it.
    pub declared: Vec<Vec<Track>>,
    pub frames: Vec<Frame>,
}

/// One frame, as it went in or came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub video: bool,
    pub pts_ms: i64,
    pub key: bool,
    pub data: Bytes,
}

impl Stored {
    /// The frames of video tracks. Numbers of tracks are those of a session.
    pub(crate) fn video(&self) -> Vec<Frame> {
        self.frames.iter().filter(|frame| frame.video).cloned().collect()
    }

    fn is_video(&self, number: TrackNumber) -> bool {
        let track = self.tracks.iter().find(|track| track.number == number);
        matches!(track.expect("blocks have tracks").kind, TrackKind::Video(_))
    }

    /// The frames of audio tracks.
    pub(crate) fn audio(&self) -> Vec<Frame> {
        self.frames.iter().filter(|frame| !frame.video).cloned().collect()
    }

    /// Video frames without those that a replay brought twice.
    pub(crate) fn distinct(&self) -> Vec<Frame> {
        let mut frames = self.video();
        frames.sort_by_key(|frame| frame.pts_ms);
        frames.dedup();
        frames
    }
}

async fn fragments(
    service: &Service,
    stream: &StreamRef,
) -> Result<Vec<FragmentNumber>, gstkvs::wire::ServiceError> {
    let endpoint = service.data_endpoint(stream, ApiName::ListFragments).await?;
    let mut input = ListFragmentsInput {
        stream: stream.clone(),
        fragment_selector: Some(FragmentSelector {
            fragment_selector_type: FragmentSelectorType::ProducerTimestamp,
            timestamp_range: TimestampRange {
                start_timestamp: Timestamp::from_nanos(0),
                end_timestamp: Timestamp::from_millis(4_000_000_000_000).unwrap(),
            },
        }),
        max_results: Some(1000),
        next_token: None,
    };
    let mut numbers = Vec::new();
    loop {
        let page = service.list_fragments(&endpoint, &input).await?;
        numbers.extend(page.fragments.into_iter().map(|info| info.fragment_number));
        (input.fragment_selector, input.next_token) = (None, page.next_token);
        if input.next_token.is_none() {
            numbers.sort();
            return Ok(numbers);
        }
    }
}

async fn read(service: &Service, stream: &str) -> Stored {
    let stream = StreamRef::Name(stream.parse().unwrap());
    let numbers = fragments(service, &stream).await.unwrap();
    let name = ApiName::GetMediaForFragmentList;
    let endpoint = service.data_endpoint(&stream, name).await.unwrap();
    let mut stored = Stored::default();
    for numbers in numbers.chunks(500) {
        let list = numbers.to_vec();
        let mut response =
            service.get_media_for_fragment_list(&endpoint, &stream, list).await.unwrap();
        let (mut reader, mut cluster, mut scale) = (Reader::default(), 0, 1_000_000);
        while let Some(chunk) = response.chunk().await.unwrap() {
            reader.push(chunk);
            while let Some(event) = reader.pull().unwrap() {
                match event.kind {
                    EventKind::ClusterStart { .. } => stored.declared.push(stored.tracks.clone()),
                    EventKind::ClusterTimestamp(ticks) => cluster = ticks as i64,
                    EventKind::Info(info) => scale = info.scale.as_nanos() as i64,
                    EventKind::Tracks(tracks) => stored.tracks = tracks,
                    EventKind::Block(block) => {
                        assert_eq!(block.frames.len(), 1);
                        stored.frames.push(Frame {
                            video: stored.is_video(block.track),
                            pts_ms: (cluster + i64::from(block.offset_ticks)) * scale / 1_000_000,
                            key: block.key,
                            data: block.frames[0].clone(),
                        });
                    }
                    _ => {}
                }
            }
        }
        reader.finish().unwrap();
    }
    stored
}

/// Asks until there is an answer; panics after [`DEADLINE`].
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The next message that `pick` picks; panics after [`DEADLINE`], or at an ERROR that is not
/// picked.
pub(crate) fn wait_message<T>(
    pipeline: &gst::Pipeline,
    what: &str,
    mut pick: impl FnMut(&gst::Message) -> Option<T>,
) -> T {
    let bus = pipeline.bus().unwrap();
    let start = Instant::now();
    loop {
        let left = DEADLINE.saturating_sub(start.elapsed());
        let message = bus.timed_pop(gst::ClockTime::try_from(left).unwrap());
        let message = message.unwrap_or_else(|| panic!("waited {DEADLINE:?} for {what}"));
        if let Some(found) = pick(&message) {
            return found;
        }
        if let gst::MessageView::Error(error) = message.view() {
            panic!("waited for {what}, found {error:?}");
        }
    }
}

pub(crate) fn wait_eos(pipeline: &gst::Pipeline) {
    wait_message(pipeline, "EOS", |message| {
        matches!(message.view(), gst::MessageView::Eos(_)).then_some(())
    });
}

/// Text of the next ERROR.
pub(crate) fn wait_error(pipeline: &gst::Pipeline) -> String {
    wait_message(pipeline, "an ERROR", |message| match message.view() {
        gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
        _ => None,
    })
}

/// Text of the next WARNING that contains `needle`.
pub(crate) fn wait_warning(pipeline: &gst::Pipeline, needle: &str) -> String {
    wait_message(pipeline, needle, |message| match message.view() {
        gst::MessageView::Warning(warning) => {
            Some(warning.error().message().to_owned()).filter(|text| text.contains(needle))
        }
        _ => None,
    })
}

/// The next element message of this name.
pub(crate) fn wait_structure(pipeline: &gst::Pipeline, name: &str) -> gst::Structure {
    wait_message(pipeline, name, |message| {
        message.structure().filter(|found| found.name() == name).map(|found| found.to_owned())
    })
}

/// A pipeline from text, stopped when dropped.
pub(crate) struct Pipeline(pub gst::Pipeline);

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl std::ops::Deref for Pipeline {
    type Target = gst::Pipeline;

    fn deref(&self) -> &gst::Pipeline {
        &self.0
    }
}

pub(crate) fn launch(description: &str) -> Pipeline {
    init();
    Pipeline(gst::parse::launch(description).unwrap().downcast().unwrap())
}

impl Pipeline {
    pub(crate) fn sink(&self) -> gst::Element {
        self.0.by_name("sink").unwrap()
    }

    pub(crate) fn play(&self) {
        assert_eq!(self.0.set_state(gst::State::Playing), Ok(gst::StateChangeSuccess::Success));
    }

    /// Plays to the end.
    pub(crate) fn run(&self) {
        self.0.set_state(gst::State::Playing).unwrap();
        wait_eos(&self.0);
    }

    pub(crate) fn stop(&self) {
        self.0.set_state(gst::State::Null).unwrap();
    }
}

/// A number of the `stats` property.
pub(crate) fn stat(sink: &gst::Element, name: &str) -> u64 {
    sink.property::<gst::Structure>("stats").get(name).unwrap()
}

/// Records every buffer that goes into a pad, with its running time.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<HashMap<String, Vec<Frame>>>>);

impl Recorder {
    /// Records all pads the element has, and those it will have.
    pub(crate) fn of(sink: &gst::Element) -> Self {
        let recorder = Self::default();
        for pad in sink.sink_pads() {
            recorder.watch(&pad);
        }
        let late = recorder.clone();
        sink.connect_pad_added(move |_, pad| late.watch(pad));
        recorder
    }

    fn watch(&self, pad: &gst::Pad) {
        let frames = Arc::clone(&self.0);
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(kinds, move |pad, info| {
            let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
            let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap().clone();
            let mut frames = frames.lock().unwrap();
            let frames = frames.entry(pad.name().to_string()).or_default();
            let mut record = |buffer: &gst::BufferRef| {
                let running = segment.to_running_time_full(buffer.pts()).unwrap();
                let ns = running.abs().nseconds() as i64 * i64::from(running.signum());
                frames.push(Frame {
                    video: pad.name().starts_with("video"),
                    pts_ms: ns.div_euclid(1_000_000),
                    key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
                    data: Bytes::copy_from_slice(&buffer.map_readable().unwrap()),
                });
            };
            if let Some(buffer) = info.buffer() {
                record(buffer);
            } else if let Some(list) = info.buffer_list() {
                list.iter().for_each(&mut record);
            }
            gst::PadProbeReturn::Ok
        });
    }

    pub(crate) fn frames(&self, pad: &str) -> Vec<Frame> {
        self.0.lock().unwrap().get(pad).cloned().unwrap_or_default()
    }
}

/// Compares what went in with what came out: payloads, key flags, and times up to one constant.
#[track_caller]
pub(crate) fn assert_same(sent: &[Frame], stored: &[Frame]) {
    assert!(!sent.is_empty());
    assert_eq!(sent.len(), stored.len(), "number of frames");
    let shift = stored[0].pts_ms - sent[0].pts_ms;
    for (at, (sent, stored)) in sent.iter().zip(stored).enumerate() {
        assert!(sent.data == stored.data, "payload of frame {at}");
        assert_eq!(sent.key, stored.key, "key flag of frame {at}");
        let off = stored.pts_ms - sent.pts_ms - shift;
        assert!(off.abs() <= 1, "frame {at} is {off} ms off");
    }
}

/// A kvssink whose pads are fed by hand.
pub(crate) struct Fed {
    pub pipeline: Pipeline,
    pub sink: gst::Element,
}

pub(crate) const H264: &str = "video/x-h264, stream-format=avc, alignment=au, width=64, height=48, \
                        framerate=30/1, codec_data=(buffer)0142c00dffe1000467";
pub(crate) const AAC: &str = "audio/mpeg, mpegversion=4, stream-format=raw, rate=48000, channels=2, \
                       codec_data=(buffer)1190";

impl Fed {
    /// With properties as in gst-launch.
    pub(crate) fn new(properties: &str) -> Self {
        init();
        let sink = gst::parse::launch(&format!("kvssink name=sink {properties}")).unwrap();
        let pipeline = Pipeline(gst::Pipeline::new());
        pipeline.add(&sink).unwrap();
        Self { pipeline, sink }
    }

    /// A source linked to a new pad; it has sent stream-start, caps and segment.
    pub(crate) fn source(&self, template: &str, caps: &str) -> Source {
        let sink_pad = self.sink.request_pad_simple(template).unwrap();
        let key_requests = Arc::new(AtomicUsize::new(0));
        let requests = Arc::clone(&key_requests);
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name("src")
            .event_function(move |pad, parent, event| {
                if event.structure().is_some_and(|found| found.name() == "GstForceKeyUnit") {
                    requests.fetch_add(1, SeqCst);
                }
                gst::Pad::event_default(pad, parent, event)
            })
            .build();
        pad.set_active(true).unwrap();
        pad.link(&sink_pad).unwrap();
        // Before READY to PAUSED the events wait in the pad: they are sticky.
        pad.push_event(gst::event::StreamStart::new(template));
        let source = Source { pad, sink_pad, key_requests };
        source.caps(caps);
        source.segment();
        source
    }
}

/// A source pad fed by the test.
#[derive(Clone)]
pub(crate) struct Source {
    pub pad: gst::Pad,
    pub sink_pad: gst::Pad,
    /// How often kvssink asked for a key frame.
    pub key_requests: Arc<AtomicUsize>,
}

impl Source {
    pub(crate) fn caps(&self, caps: &str) -> bool {
        self.pad.push_event(gst::event::Caps::new(&caps.parse().unwrap()))
    }

    pub(crate) fn segment(&self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.pad.push_event(gst::event::Segment::new(&segment));
    }

    pub(crate) fn push(&self, buffer: gst::Buffer) -> Result<(), gst::FlowError> {
        self.pad.push(buffer).map(|_| ())
    }

    pub(crate) fn eos(&self) {
        self.pad.push_event(gst::event::Eos::new());
    }

    /// Frames `range` of a 30 fps stream with a key frame every 30; each says its number.
    pub(crate) fn push_frames(
        &self,
        range: std::ops::Range<u64>,
        len: usize,
    ) -> Result<(), gst::FlowError> {
        range.into_iter().try_for_each(|number| self.push(frame(number, len)))
    }
}

/// Frame `number` of a 30 fps stream with a key frame every 30.
pub(crate) fn frame(number: u64, len: usize) -> gst::Buffer {
    let mut data = vec![number as u8; len.max(8)];
    data[..8].copy_from_slice(&number.to_be_bytes());
    let mut buffer = gst::Buffer::from_mut_slice(data);
    let edit = buffer.get_mut().unwrap();
    edit.set_pts(gst::ClockTime::from_nseconds(number * 1_000_000_000 / 30));
    edit.set_duration(gst::ClockTime::from_mseconds(33));
    if !number.is_multiple_of(30) {
        edit.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    buffer
}

/// The numbers that [`frame`] wrote into frames.
pub(crate) fn numbers(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| u64::from_be_bytes(frame.data[..8].try_into().unwrap())).collect()
}
