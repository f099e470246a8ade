// SPDX-License-Identifier: MIT OR Apache-2.0
//! kvssrc against a service that answers by a script: pads, caps, time, messages, ends, bad input.
#![allow(clippy::disallowed_methods, reason = "tests measure how long things take")]
#![allow(unreachable_pub, reason = "the modules beside it are this test's own")]

#[path = "kvssrc/media.rs"]
mod media;
#[path = "kvssrc/reader.rs"]
mod reader;
#[path = "kvssrc/service.rs"]
mod service;

use std::{net::TcpListener, time::Instant};

use gst::prelude::*;
use media::*;
use reader::*;
use service::{Reply, Service};

const ALL: &[(&str, &str)] = &[("start-selector", "earliest")];

fn all_and<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [ALL, more].concat()
}

fn body(fragments: std::ops::Range<u64>, tracks: &[gstkvs::track::Track]) -> Vec<u8> {
    fragments.map(|n| fragment(n, tracks)).collect::<Vec<_>>().concat()
}

fn expected_of(
    fragments: std::ops::Range<u64>,
    tracks: &[gstkvs::track::Track],
) -> Vec<(u64, u64, Vec<u8>)> {
    fragments.flat_map(|n| expected(n, tracks)).collect()
}

#[test]
fn tracks_become_pads_with_caps_time_and_flags() {
    let tracks = [video(), audio(), data()];
    let service = Service::new([Reply::Hold(body(0..3, &tracks))]);
    let reader = Reader::new(&service.url(), &all_and(&[("num-fragments", "3")]));
    let no_more_pads = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&no_more_pads);
    reader.source.connect_no_more_pads(move |source| {
        let names = source.src_pads().iter().map(|pad| pad.name().to_string()).collect::<Vec<_>>();
        seen.lock().unwrap().push(names);
    });
    reader.pipeline.set_state(gst::State::Playing).unwrap();
    reader.wait_for_eos();
    assert_eq!(*no_more_pads.lock().unwrap(), [["video_0", "audio_0", "data_0"]]);
    assert_eq!(reader.frames(), expected_of(0..3, &tracks));

    let pad = |name: &str| reader.source.static_pad(name).unwrap();
    let caps = |name: &str| pad(name).current_caps().unwrap().to_string();
    let video_caps = caps("video_0");
    for part in
        ["avc", "codec_data=(buffer)014d001eff", "width=(int)640", "framerate=(fraction)10/1"]
    {
        assert!(video_caps.contains(part), "{video_caps}");
    }
    assert!(caps("audio_0").contains("rate=(int)48000"), "{}", caps("audio_0"));
    assert_eq!(caps("data_0"), "application/x-kvs-track, codec-id=(string)S_EXAMPLE");
    let stream_start = pad("video_0").sticky_event::<gst::event::StreamStart>(0).unwrap();
    assert_eq!(stream_start.stream_id(), "camera/video_0");
    let group = |name: &str| {
        pad(name).sticky_event::<gst::event::StreamStart>(0).unwrap().group_id().unwrap()
    };
    assert_eq!(group("video_0"), group("audio_0"));

    let segment = pad("audio_0").sticky_event::<gst::event::Segment>(0).unwrap();
    let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap().clone();
    assert_eq!(segment.start(), Some(gst::ClockTime::from_mseconds(EPOCH_MS)));
    assert_eq!(
        (segment.time(), segment.base()),
        (Some(gst::ClockTime::ZERO), Some(gst::ClockTime::ZERO))
    );

    let buffers = reader.buffers();
    let of = |pad: &str| buffers.iter().filter(|got| got.pad == pad).cloned().collect::<Vec<_>>();
    for (index, got) in of("video_0").iter().enumerate() {
        assert_eq!(got.flags.contains(gst::BufferFlags::DELTA_UNIT), index % 10 != 0, "{index}");
        assert_eq!(got.flags.contains(gst::BufferFlags::DISCONT), index == 0, "{index}");
        assert_eq!(got.duration, Some(100_000_000));
        assert_eq!(got.running, Some(index as u64 * 100_000_000));
    }
    for got in of("audio_0") {
        assert!(!got.flags.contains(gst::BufferFlags::DELTA_UNIT));
        assert_eq!(got.duration, Some(21_333_333), "1024 samples at 48 kHz");
    }
}

#[test]
fn a_fragments_end_is_told_and_gives_the_token_to_store() {
    let tracks = [video()];
    let service = Service::new([Reply::Hold(body(0..2, &tracks))]);
    let reader = Reader::play(&service.url(), &all_and(&[("num-fragments", "2")]));
    for n in 0..2u64 {
        let message = reader.element_message("kvs-fragment");
        let number = (1000 + n).to_string();
        assert_eq!(message.get::<String>("fragment-number").unwrap(), number);
        assert_eq!(message.get::<String>("continuation-token").unwrap(), number);
        let start_ns = (EPOCH_MS + n * 1000) * 1_000_000;
        assert_eq!(message.get::<u64>("producer-timestamp").unwrap(), start_ns);
        assert_eq!(message.get::<u64>("server-timestamp").unwrap(), start_ns + 30_000_000);
        assert_eq!(message.get::<u64>("millis-behind-now").unwrap(), 40);
        assert_eq!(message.get::<u64>("frames").unwrap(), 10);
        assert!(message.get::<bool>("complete").unwrap());
        let tags = message.get::<gst::Structure>("tags").unwrap();
        assert_eq!(tags.get::<String>("scene").unwrap(), format!("number {n}"));
    }
    reader.wait_for_eos();
    let token: Option<String> = reader.source.property("current-continuation-token");
    assert_eq!(token.as_deref(), Some("1001"));
}

#[test]
fn goes_on_over_ended_and_cut_sessions_without_a_lost_or_doubled_frame() {
    let tracks = [video(), audio()];
    let whole = body(0..6, &tracks);
    let half = whole.len() / 2;
    let service = Service::new([
        Reply::Body(body(0..2, &tracks)),
        Reply::Body(Vec::new()),
        Reply::Status(500, "InternalFailure"),
        Reply::Cut(body(2..4, &tracks)[..half / 2].to_vec()),
        Reply::Body(whole[..half].to_vec()),
        Reply::Status(400, "ClientLimitExceededException"),
        // The service repeats the fragment that the token names, then the producer its last one.
        Reply::Hold(
            [body(2..6, &tracks), fragment_numbered(2000, 5, &tracks), body(6..7, &tracks)]
                .concat(),
        ),
    ]);
    let reader = Reader::play(&service.url(), &all_and(&[("num-fragments", "7")]));
    reader.wait_for_eos();
    assert_eq!(reader.frames(), expected_of(0..7, &tracks));
    let discont = gst::BufferFlags::DISCONT;
    let disconts = reader.buffers().iter().filter(|got| got.flags.contains(discont)).count();
    assert_eq!(disconts, 2, "only the first buffer of each pad: nothing was lost");
    let asked = service.wait_for_media(7);
    assert!(asked[0].contains("EARLIEST"), "{asked:?}");
    assert!(asked[1].contains("\"ContinuationToken\":\"1001\""), "{asked:?}");
    assert_eq!(service.endpoint_requests(), 1, "the data endpoint is asked for once");
}

#[test]
fn every_start_selector_asks_for_what_it_says() {
    let time = ("start-timestamp", "2024-03-22T16:23:05.823Z");
    for (properties, expect) in [
        (vec![("start-selector", "now")], "{\"StartSelectorType\":\"NOW\"}"),
        (vec![("start-selector", "earliest")], "{\"StartSelectorType\":\"EARLIEST\"}"),
        (
            vec![("start-selector", "fragment-number"), ("fragment-number", "77")],
            "\"AfterFragmentNumber\":\"77\"",
        ),
        (
            vec![("start-selector", "server-timestamp"), time],
            "\"SERVER_TIMESTAMP\",\"StartTimestamp\":1711124585.823",
        ),
        (
            vec![("start-selector", "producer-timestamp"), ("start-timestamp", "1711124585.5")],
            "\"PRODUCER_TIMESTAMP\",\"StartTimestamp\":1711124585.5",
        ),
        (
            vec![("start-selector", "continuation-token"), ("continuation-token", "a.b-c")],
            "\"ContinuationToken\":\"a.b-c\"",
        ),
    ] {
        let service = Service::new([]);
        let reader = Reader::play(&service.url(), &properties);
        let asked = service.wait_for_media(1);
        assert!(asked[0].contains("\"StreamName\":\"camera\""), "{asked:?}");
        assert!(asked[0].contains(expect), "{asked:?}");
        reader.stop();
    }
}

#[test]
fn now_is_live_and_the_other_selectors_are_not() {
    let tracks = [video()];
    let latency = |reader: &Reader| {
        let mut query = gst::query::Latency::new();
        assert!(reader.source.static_pad("video_0").unwrap().query(&mut query));
        query.result()
    };
    let service = Service::new([Reply::Hold(body(0..1, &tracks))]);
    let live = Reader::new(&service.url(), &[("latency", "250")]);
    let change = live.pipeline.set_state(gst::State::Paused).unwrap();
    assert_eq!(change, gst::StateChangeSuccess::NoPreroll);
    live.pipeline.set_state(gst::State::Playing).unwrap();
    live.wait_for(10);
    let (is_live, least, most) = latency(&live);
    assert_eq!((is_live, least, most), (true, gst::ClockTime::from_mseconds(250), None));
    let segment =
        live.source.static_pad("video_0").unwrap().sticky_event::<gst::event::Segment>(0).unwrap();
    let base = segment.segment().downcast_ref::<gst::ClockTime>().unwrap().base().unwrap();
    assert!(base <= live.pipeline.current_running_time().unwrap());
    live.stop();

    let service = Service::new([Reply::Hold(body(0..1, &tracks))]);
    let stored = Reader::play(&service.url(), ALL);
    stored.wait_for(10);
    assert_eq!(latency(&stored), (false, gst::ClockTime::ZERO, None));
}

#[test]
fn a_changed_description_changes_the_caps_and_a_new_track_gets_a_pad() {
    let mut other = video();
    other.codec_private = Some(bytes::Bytes::from_static(&[1, 100, 0, 31, 0xFF]));
    let (before, after) = ([video()], [other, audio()]);
    let script = [fragment(0, &before), fragment(1, &after)].concat();
    let service = Service::new([Reply::Hold(script)]);
    let reader = Reader::play(&service.url(), &all_and(&[("num-fragments", "2")]));
    reader.wait_for_eos();
    let names: Vec<_> = reader.source.src_pads().iter().map(|pad| pad.name().to_string()).collect();
    assert_eq!(names, ["video_0", "audio_0"]);
    let caps = reader.source.static_pad("video_0").unwrap().current_caps().unwrap().to_string();
    assert!(caps.contains("profile=(string)high, level=(string)3.1"), "{caps}");
    assert_eq!(reader.frames(), [expected(0, &before), expected(1, &after)].concat());
}

#[test]
fn ends_at_the_end_timestamp() {
    let tracks = [video()];
    let service = Service::new([Reply::Hold(body(0..3, &tracks))]);
    let end = format!("{}.{:03}", (EPOCH_MS + 1500) / 1000, (EPOCH_MS + 1500) % 1000);
    let reader = Reader::play(&service.url(), &all_and(&[("end-timestamp", &end)]));
    reader.wait_for_eos();
    assert_eq!(reader.frames(), expected_of(0..2, &tracks)[..15]);
}

#[test]
fn a_range_by_producer_time_counts_stream_time_from_its_start() {
    let service = Service::new([Reply::Hold(body(2..3, &[video()]))]);
    let start = format!("{}.{:03}", EPOCH_MS / 1000, EPOCH_MS % 1000);
    let properties = [
        ("start-selector", "producer-timestamp"),
        ("start-timestamp", start.as_str()),
        ("num-fragments", "1"),
    ];
    let reader = Reader::play(&service.url(), &properties);
    reader.wait_for_eos();
    let pad = reader.source.static_pad("video_0").unwrap();
    let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
    let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap().clone();
    assert_eq!(segment.time(), Some(gst::ClockTime::from_seconds(2)));
    assert_eq!(segment.base(), Some(gst::ClockTime::ZERO));
}

#[test]
fn a_producer_that_goes_back_in_time_gets_a_segment_whose_running_time_goes_on() {
    let tracks = [video()];
    let script = [fragment_numbered(1, 50, &tracks), fragment_numbered(2, 3, &tracks)].concat();
    let service = Service::new([Reply::Hold(script)]);
    let reader = Reader::play(&service.url(), &all_and(&[("num-fragments", "2")]));
    reader.wait_for_eos();
    let running: Vec<_> = reader.buffers().iter().map(|got| got.running.unwrap()).collect();
    let expect: Vec<_> = (0..20).map(|i| i * 100_000_000).collect();
    assert_eq!(running, expect);
    assert!(reader.buffers()[10].flags.contains(gst::BufferFlags::DISCONT));
}

#[test]
fn silence_is_told_or_ends_as_configured() {
    let tracks = [video()];
    let timeout = ("silence-timeout", "300");
    let service = Service::new([Reply::Hold(body(0..1, &tracks))]);
    let reader = Reader::play(&service.url(), &all_and(&[timeout]));
    let silence = reader.element_message("kvs-silence");
    assert_eq!(silence.get::<u64>("timeout-ms").unwrap(), 300);
    assert_eq!(reader.frames(), expected(0, &tracks));
    reader.stop();

    let service = Service::new([Reply::Hold(body(0..1, &tracks))]);
    let reader = Reader::play(&service.url(), &all_and(&[timeout, ("on-silence", "eos")]));
    reader.wait_for_eos();
    assert_eq!(reader.frames(), expected(0, &tracks));

    let service = Service::new([Reply::Hold(body(0..1, &tracks))]);
    let reader = Reader::play(&service.url(), &all_and(&[timeout, ("on-silence", "error")]));
    let (text, details) = reader.trouble(gst::MessageType::Error);
    assert!(text.contains("on-silence") && details == "kvs-silence", "{text}");
}

#[test]
fn an_end_before_any_media_is_an_error_that_says_so() {
    let service = Service::new([]);
    let properties = all_and(&[("silence-timeout", "200"), ("on-silence", "eos")]);
    let reader = Reader::play(&service.url(), &properties);
    let (text, _) = reader.trouble(gst::MessageType::Error);
    assert!(text.contains("nothing to play") && text.contains("silence-timeout"), "{text}");
}

#[test]
fn an_eos_event_ends_after_what_was_read() {
    let tracks = [video()];
    let service = Service::new([Reply::Hold(body(0..1, &tracks))]);
    let reader = Reader::play(&service.url(), ALL);
    reader.wait_for(10);
    assert!(reader.pipeline.send_event(gst::event::Eos::new()));
    reader.wait_for_eos();
}

#[test]
fn a_missing_stream_is_waited_for_or_ends_as_configured() {
    let missing = || Reply::Status(404, "ResourceNotFoundException");
    let tracks = [video()];
    let service = Service::with_endpoint([missing()], [Reply::Hold(body(0..1, &tracks))]);
    let reader = Reader::play(&service.url(), &[]);
    let (text, details) = reader.trouble(gst::MessageType::Warning);
    assert!(text.contains("does not exist") && text.contains("stream-name"), "{text}");
    assert_eq!(details, "kvs-missing");
    reader.wait_for(10);
    let asked = service.wait_for_media(1);
    assert!(asked[0].contains("EARLIEST"), "all of a stream that did not exist is new: {asked:?}");
    assert_eq!(reader.frames(), expected(0, &tracks));
    reader.stop();

    for (policy, expect) in [("error", "ResourceNotFoundException"), ("eos", "does not exist")] {
        let service = Service::with_endpoint([missing()], []);
        let reader = Reader::play(&service.url(), &[("on-missing", policy)]);
        let (text, _) = reader.trouble(gst::MessageType::Error);
        assert!(text.contains(expect), "{policy}: {text}");
    }
}

#[test]
fn a_stream_deleted_while_in_use_is_told() {
    let tracks = [video()];
    let gone = || Reply::Status(404, "ResourceNotFoundException");
    let service = Service::with_endpoint([], [Reply::Body(body(5..6, &tracks)), gone()]);
    let reader = Reader::play(&service.url(), ALL);
    let (text, details) = reader.trouble(gst::MessageType::Warning);
    assert!(text.contains("was deleted") && details == "kvs-missing", "{text}");
    // Made anew: its numbers start over.
    service.then(Reply::Hold(fragment_numbered(1, 9, &tracks)));
    reader.wait_for(20);
    assert_eq!(reader.frames(), [expected(5, &tracks), expected(9, &tracks)].concat());
}

#[test]
fn wrong_credentials_are_told_and_better_ones_used_at_once() {
    let refused = || Reply::Status(403, "AccessDeniedException");
    let tracks = [video()];
    let service =
        Service::with_endpoint([refused()], [refused(), Reply::Hold(body(0..1, &tracks))]);
    let keys = [("access-key", "AKIAWRONG"), ("secret-key", "hunter2hunter2")];
    let reader = Reader::play(&service.url(), &all_and(&keys));
    let (text, details) = reader.trouble(gst::MessageType::Warning);
    assert!(text.contains("access-key") && text.contains("clock"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(details, "kvs-retry");
    set(&reader.source, &[("secret-key", "better")]);
    reader.wait_for(10);
    for (name, placeholder) in [
        ("access-key", "access_key"),
        ("secret-key", "secret_key"),
        ("session-token", "session_token"),
    ] {
        let read: Option<String> = reader.source.property(name);
        assert_eq!(read.as_deref(), Some(placeholder), "secrets cannot be read");
    }
}

#[test]
fn an_unreachable_endpoint_is_told_and_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let reader = Reader::play(&format!("http://127.0.0.1:{port}"), ALL);
    for _ in 0..3 {
        let (text, details) = reader.trouble(gst::MessageType::Warning);
        assert!(text.contains("endpoint") && text.contains("next try"), "{text}");
        assert_eq!(details, "kvs-retry");
    }
}

#[test]
fn a_corrupt_fragment_is_told_and_skipped() {
    let tracks = [video()];
    let mut broken = fragment(1, &tracks);
    let at = broken.windows(9).position(|w| w == b"picture 4").unwrap() - 25;
    broken[at..at + 12].fill(0);
    let service =
        Service::new([Reply::Hold([fragment(0, &tracks), broken, fragment(2, &tracks)].concat())]);
    let reader = Reader::play(&service.url(), &all_and(&[("num-fragments", "2")]));
    let (text, details) = reader.trouble(gst::MessageType::Warning);
    assert!(text.contains("fragment 1001") && text.contains("producer"), "{text}");
    assert_eq!(details, "kvs-corrupt");
    reader.wait_for_eos();
    let frames = reader.frames();
    assert_eq!(frames[..10], expected(0, &tracks));
    assert_eq!(frames[frames.len() - 10..], expected(2, &tracks));
    let discont = &reader.buffers()[frames.len() - 10];
    assert!(discont.flags.contains(gst::BufferFlags::DISCONT));
}

#[test]
fn a_cut_fragment_is_told() {
    let cut = fragment(0, &[video()]);
    let service = Service::new([Reply::Cut(cut[..cut.len() / 2].to_vec())]);
    let reader = Reader::play(&service.url(), ALL);
    let (text, details) = reader.trouble(gst::MessageType::Warning);
    assert!(text.contains("fragment 1000") && text.contains("network"), "{text}");
    assert_eq!(details, "kvs-cut");
}

#[test]
fn wrong_settings_are_refused_by_name() {
    for (properties, expect) in [
        (vec![("stream-name", "")], "stream-name"),
        (vec![("stream-name", "a b")], "stream-name"),
        (vec![("start-selector", "fragment-number")], "fragment-number"),
        (vec![("start-selector", "server-timestamp")], "start-timestamp"),
        (
            vec![("start-selector", "producer-timestamp"), ("start-timestamp", "noon")],
            "start-timestamp",
        ),
        (vec![("start-selector", "continuation-token")], "continuation-token"),
        (vec![("end-timestamp", "later")], "end-timestamp"),
        (vec![("endpoint", "ftp://x")], "endpoint"),
    ] {
        let reader = Reader::new("http://127.0.0.1:1", &properties);
        assert!(reader.pipeline.set_state(gst::State::Playing).is_err(), "{properties:?}");
        let (text, _) = reader.trouble(gst::MessageType::Error);
        assert!(text.contains(expect), "{properties:?}: {text}");
    }
}

#[test]
fn a_refused_selector_is_an_error() {
    let service = Service::new([Reply::Status(400, "InvalidArgumentException")]);
    let properties = [("start-selector", "fragment-number"), ("fragment-number", "9")];
    let reader = Reader::play(&service.url(), &properties);
    let (text, _) = reader.trouble(gst::MessageType::Error);
    assert!(text.contains("InvalidArgumentException") && text.contains("start-selector"), "{text}");
}

#[test]
fn nobody_downstream_is_an_error() {
    let service = Service::new([Reply::Hold(body(0..1, &[video()]))]);
    init();
    let source = gst::ElementFactory::make("kvssrc").build().unwrap();
    set(&source, &[("endpoint", &service.url()), ("stream-name", "camera")]);
    let pipeline = gst::Pipeline::new();
    pipeline.add(&source).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let deadline = gst::ClockTime::try_from(DEADLINE).unwrap();
    let bus = pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(deadline, &[gst::MessageType::Error]).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let gst::MessageView::Error(error) = message.view() else { panic!("{message:?}") };
    assert!(error.error().message().contains("linked"), "{error:?}");
}

#[test]
fn stops_from_any_state_at_any_moment() {
    let tracks = [video(), audio()];
    let script = body(0..3, &tracks);
    for round in 0..60u64 {
        let cut = (round as usize * 997) % script.len();
        let service = Service::new([Reply::Hold(script[..cut].to_vec())]);
        let selector = if round % 2 == 0 { "earliest" } else { "now" };
        let reader = Reader::new(&service.url(), &[("start-selector", selector)]);
        let states = [gst::State::Ready, gst::State::Paused, gst::State::Playing];
        reader.pipeline.set_state(states[(round % 3) as usize]).unwrap();
        if round % 3 == 2 && round % 4 != 0 {
            service.wait_for_media(1);
        }
        if round % 5 == 0 {
            reader.pipeline.set_state(gst::State::Paused).unwrap();
            reader.pipeline.set_state(gst::State::Playing).unwrap();
        }
        reader.stop();
        assert_eq!(reader.source.src_pads().len(), 0, "round {round}");
        let sound = all_played_again(&reader, &service, &tracks, round);
        assert!(sound, "round {round}");
    }
}

/// Now and then the same element is started once more, from the beginning.
fn all_played_again(
    reader: &Reader,
    service: &Service,
    tracks: &[gstkvs::track::Track],
    round: u64,
) -> bool {
    if !round.is_multiple_of(10) {
        return true;
    }
    let (again, before) = (Service::new([Reply::Hold(body(0..2, tracks))]), reader.frames().len());
    assert_ne!(service.url(), again.url());
    set(&reader.source, &[("endpoint", &again.url()), ("num-fragments", "2")]);
    reader.pipeline.set_state(gst::State::Playing).unwrap();
    reader.wait_for_eos();
    let sound = reader.frames()[before..] == expected_of(0..2, tracks);
    reader.stop();
    sound
}

/// A sink that takes one buffer and holds the next.
fn blocking_pipeline(url: &str) -> (gst::Pipeline, gst::Element, gst::Element) {
    init();
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("kvssrc").build().unwrap();
    set(&source, &[("endpoint", url), ("stream-name", "camera"), ("start-selector", "earliest")]);
    let sink = gst::ElementFactory::make("appsink")
        .property("max-buffers", 1u32)
        .property("sync", false)
        .build()
        .unwrap();
    pipeline.add_many([&source, &sink]).unwrap();
    let to = sink.static_pad("sink").unwrap();
    source.connect_pad_added(move |_, pad| {
        pad.link(&to).unwrap();
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    (pipeline, source, sink)
}

/// Waits until the sink holds a buffer: then the source is blocked or about to be.
fn wait_until_blocked(pipeline: &gst::Pipeline) {
    let deadline = gst::ClockTime::try_from(DEADLINE).unwrap();
    let (result, state, _) = pipeline.state(deadline);
    assert!(result.is_ok() && state == gst::State::Playing, "{result:?} {state:?}");
}

#[test]
fn stops_while_downstream_blocks() {
    let service = Service::new([Reply::Hold(body(0..3, &[video()]))]);
    let (pipeline, ..) = blocking_pipeline(&service.url());
    wait_until_blocked(&pipeline);
    let start = Instant::now();
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(start.elapsed() < DEADLINE / 4, "{:?}", start.elapsed());
}

#[test]
fn stops_alone_while_downstream_plays_on_and_blocks() {
    let service = Service::new([Reply::Hold(body(0..3, &[video()]))]);
    let (pipeline, source, _sink) = blocking_pipeline(&service.url());
    wait_until_blocked(&pipeline);
    let start = Instant::now();
    source.set_locked_state(true);
    source.set_state(gst::State::Null).unwrap();
    assert!(start.elapsed() < DEADLINE / 4, "{:?}", start.elapsed());
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_blocked_downstream_is_no_silence() {
    let tracks = [video()];
    let many = body(0..300, &tracks);
    assert!(many.len() > 5 << 20, "more than the queue holds: {}", many.len());
    let service = Service::new([Reply::Hold(many)]);
    init();
    let (pipeline, source, sink) = blocking_pipeline(&service.url());
    drop(source);
    wait_until_blocked(&pipeline);
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    let mut frames = 0;
    let deadline = gst::ClockTime::try_from(DEADLINE).unwrap();
    while frames < 3000 {
        assert!(sink.try_pull_sample(deadline).is_some(), "after {frames} frames");
        frames += 1;
    }
    let bus = pipeline.bus().unwrap();
    let told = bus.pop_filtered(&[gst::MessageType::Warning, gst::MessageType::Error]);
    assert!(told.is_none(), "{told:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn captures_of_the_real_service_come_out_with_ffprobes_hashes() {
    for (name, frames, cut) in [
        ("output_get_media.mkv", 300, false),
        ("output-get-media-non-increasing-timecode.mkv", 358, true),
        ("test_mixed_tags.mkv", 100, false),
    ] {
        let Some(path) = capture(name) else { continue };
        let hashes = ffprobe_hashes(&path);
        assert_eq!(hashes.len(), frames, "{name}: ffprobe");
        let service = Service::new([Reply::Body(std::fs::read(&path).unwrap())]);
        let reader = Reader::play(&service.url(), ALL);
        reader.wait_for(frames);
        if cut {
            let (text, details) = reader.trouble(gst::MessageType::Warning);
            assert_eq!(details, "kvs-cut", "{text}");
        }
        service.wait_for_media(2);
        let came: Vec<_> = reader.buffers().iter().map(|got| sha256(&got.data)).collect();
        assert_eq!(came, hashes, "{name}");
        reader.stop();
    }
}

#[test]
fn captures_without_media_give_no_frame_and_no_error() {
    for name in ["empty-mkv-with-tags.mkv", "test_tags_empty_cluster.mkv"] {
        let Some(path) = capture(name) else { continue };
        let service = Service::new([Reply::Body(std::fs::read(&path).unwrap())]);
        let reader = Reader::play(&service.url(), ALL);
        service.wait_for_media(2);
        assert_eq!(reader.buffers(), [], "{name}");
        let told = reader.bus().pop_filtered(&[gst::MessageType::Warning, gst::MessageType::Error]);
        assert!(told.is_none(), "{name}: {told:?}");
        reader.stop();
    }
}
