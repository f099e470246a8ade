// SPDX-License-Identifier: MIT OR Apache-2.0
//! kvssink against the server: what goes in is stored, whatever happens on the way.
#![cfg(feature = "server")]

#[path = "sink_support/mod.rs"]
mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use gst::prelude::*;
use gstkvs::{
    io::clock,
    track::{AudioFormat, TrackKind, VideoFormat},
};
use support::*;

const VIDEO: &str = "videotestsrc num-buffers=75 ! \
    video/x-raw,width=160,height=120,framerate=25/1 ! \
    x264enc tune=zerolatency key-int-max=25 speed-preset=ultrafast ! h264parse";

fn kvssink(peer: &Peer, stream: &str) -> String {
    format!("kvssink name=sink endpoint={} streaming-type=offline stream-name={stream}", peer.url())
}

/// Runs a pipeline with one video pad and compares.
fn check_video(description: &str, codec_id: &str) {
    let peer = Peer::start();
    let pipeline = launch(&format!("{description} ! {}", kvssink(&peer, "video")));
    let sent = Recorder::of(&pipeline.sink());
    pipeline.run();
    let stored = peer.stored("video");
    assert_same(&sent.frames("video_0"), &stored.video());
    assert_eq!(stored.tracks[0].codec_id, codec_id);
    let size = VideoFormat { width: 160, height: 120 };
    assert_eq!(stored.tracks[0].kind, TrackKind::Video(size));
    assert!(stored.tracks[0].codec_private.as_ref().is_some_and(|data| data.len() > 10));
    assert!(stored.declared.len() > 1, "one fragment only");
}

#[test]
fn h264_is_stored_frame_by_frame() {
    check_video(VIDEO, "V_MPEG4/ISO/AVC");
}

#[test]
fn h264_with_b_frames_is_stored() {
    check_video(
        "videotestsrc num-buffers=75 ! video/x-raw,width=160,height=120,framerate=25/1 ! \
         x264enc bframes=3 key-int-max=25 speed-preset=ultrafast ! h264parse",
        "V_MPEG4/ISO/AVC",
    );
}

#[test]
fn h265_is_stored_frame_by_frame() {
    check_video(
        "videotestsrc num-buffers=75 ! video/x-raw,width=160,height=120,framerate=25/1 ! \
         x265enc tune=zerolatency key-int-max=25 speed-preset=ultrafast ! h265parse",
        "V_MPEGH/ISO/HEVC",
    );
}

#[test]
fn byte_stream_is_converted_by_the_parser() {
    check_video(
        "videotestsrc num-buffers=50 ! video/x-raw,width=160,height=120,framerate=25/1 ! \
         x264enc tune=zerolatency key-int-max=25 speed-preset=ultrafast ! \
         video/x-h264,stream-format=byte-stream ! h264parse",
        "V_MPEG4/ISO/AVC",
    );
}

fn check_audio_video(encoder: &str) {
    let peer = Peer::start();
    let pipeline = launch(&format!(
        "{VIDEO} ! queue ! sink.video_0 \
         audiotestsrc num-buffers=141 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2 ! \
         {encoder} ! aacparse ! queue ! sink.audio_0 {}",
        kvssink(&peer, "av")
    ));
    let sent = Recorder::of(&pipeline.sink());
    pipeline.run();
    let stored = peer.stored("av");
    assert_same(&sent.frames("video_0"), &stored.video());
    assert_same(&sent.frames("audio_0"), &stored.audio());
    let format = AudioFormat { sampling_hz: 48000.0, channels: 2, bit_depth: None };
    assert_eq!(stored.declared[0][1].kind, TrackKind::Audio(format));
    let shift = |sent: &[Frame], stored: &[Frame]| stored[0].pts_ms - sent[0].pts_ms;
    let video = shift(&sent.frames("video_0"), &stored.video());
    let audio = shift(&sent.frames("audio_0"), &stored.audio());
    assert!((video - audio).abs() <= 1, "audio and video are {} ms apart", video - audio);
}

#[test]
fn audio_and_video_stay_together() {
    check_audio_video("avenc_aac");
    check_audio_video("voaacenc");
}

#[test]
fn audio_alone_is_stored() {
    let peer = Peer::start();
    let pipeline = launch(&format!(
        "audiotestsrc num-buffers=281 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=1 ! \
         avenc_aac ! aacparse ! {}",
        kvssink(&peer, "audio")
    ));
    let sent = Recorder::of(&pipeline.sink());
    pipeline.run();
    let stored = peer.stored("audio");
    assert_same(&sent.frames("audio_0"), &stored.audio());
    assert!(stored.declared.len() > 1, "one fragment only");
}

/// Writes a file with one H.264 and one AAC track.
fn media_file(mux: &str, name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name).to_str().unwrap().to_owned();
    launch(&format!(
        "{VIDEO} ! queue ! mux. audiotestsrc num-buffers=141 ! audio/x-raw,rate=48000 ! \
         avenc_aac ! aacparse ! queue ! mux. {mux} name=mux ! filesink location={path}"
    ))
    .run();
    (folder, path)
}

#[test]
fn files_are_stored_whole() {
    for (mux, demux, name) in
        [("matroskamux", "matroskademux", "a.mkv"), ("qtmux", "qtdemux", "a.mp4")]
    {
        let (_folder, path) = media_file(mux, name);
        let peer = Peer::start();
        let pipeline = launch(&format!(
            "filesrc location={path} ! {demux} name=demux ! queue ! h264parse ! sink.video_0 \
             demux. ! queue ! aacparse ! sink.audio_0 {}",
            kvssink(&peer, "file")
        ));
        let sent = Recorder::of(&pipeline.sink());
        pipeline.run();
        let stored = peer.stored("file");
        assert_same(&sent.frames("video_0"), &stored.video());
        assert_same(&sent.frames("audio_0"), &stored.audio());
    }
}

#[test]
fn one_track_of_a_file_is_enough() {
    let (_folder, path) = media_file("matroskamux", "a.mkv");
    let peer = Peer::start();
    let pipeline = launch(&format!(
        "filesrc location={path} ! matroskademux ! h264parse ! {}",
        kvssink(&peer, "file")
    ));
    let sent = Recorder::of(&pipeline.sink());
    pipeline.run();
    assert_same(&sent.frames("video_0"), &peer.stored("file").video());
}

#[test]
fn eos_comes_once_and_after_everything_is_persisted() {
    let peer = Peer::start();
    let fed = Fed::new(&format!("endpoint={} stream-name=eos streaming-type=offline", peer.url()));
    let (video, audio) = (fed.source("video_%u", H264), fed.source("audio_%u", AAC));
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    // The bin keeps its children's EOS messages to itself unless it is told to pass them on.
    fed.pipeline.set_property("message-forward", true);
    fed.pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        let forwarded = message.structure().and_then(|fields| fields.get("message").ok());
        let forwarded = forwarded.is_some_and(|message: gst::Message| {
            matches!(message.view(), gst::MessageView::Eos(_))
        });
        *counted.lock().unwrap() += usize::from(forwarded);
        gst::BusSyncReply::Pass
    });
    fed.pipeline.play();
    video.push_frames(0..60, 1000).unwrap();
    // Every audio buffer is a key frame.
    for number in 0..60 {
        let mut buffer = frame(number, 100);
        buffer.get_mut().unwrap().unset_flags(gst::BufferFlags::DELTA_UNIT);
        audio.push(buffer).unwrap();
    }
    video.eos();
    assert_eq!(*count.lock().unwrap(), 0);
    audio.eos();
    wait_eos(&fed.pipeline);
    assert_eq!(*count.lock().unwrap(), 1);
    assert_eq!(stat(&fed.sink, "persisted-frames"), 120);
    let stored = peer.stored("eos");
    assert_eq!((stored.video().len(), stored.audio().len()), (60, 60));
    fed.pipeline.stop();
    assert_eq!(*count.lock().unwrap(), 1);
}

#[test]
fn stopping_without_eos_delivers() {
    let peer = Peer::start();
    let fed = Fed::new(&format!("endpoint={} stream-name=stop", peer.url()));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..45, 2000).unwrap();
    fed.pipeline.stop();
    assert_eq!(numbers(&peer.stored("stop").video()), (0..45).collect::<Vec<_>>());
    assert_eq!(stat(&fed.sink, "persisted-frames"), 45);
}

#[test]
fn a_server_that_crashes_loses_nothing() {
    let mut peer = Peer::start();
    let fed =
        Fed::new(&format!("endpoint={} stream-name=crash streaming-type=offline", peer.url()));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..100, 5000).unwrap();
    wait_structure(&fed.pipeline, "kvs-fragment-ack");
    peer.crash();
    wait_structure(&fed.pipeline, "kvs-disconnected");
    video.push_frames(100..200, 5000).unwrap();
    peer.restart();
    video.push_frames(200..300, 5000).unwrap();
    video.eos();
    wait_eos(&fed.pipeline);
    let stored = peer.stored("crash").distinct();
    assert_eq!(numbers(&stored), (0..300).collect::<Vec<_>>());
    assert!(stat(&fed.sink, "reconnects") >= 1);
}

/// An endpoint nobody listens at.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn realtime_never_blocks_and_reports_what_it_drops() {
    let fed = Fed::new(&format!(
        "endpoint={} stream-name=full storage-size=1 stop-stream-timeout=0",
        nowhere()
    ));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..300, 20_000).unwrap();
    let dropped = wait_structure(&fed.pipeline, "kvs-dropped");
    assert_eq!(dropped.get::<&str>("cause"), Ok("full"));
    assert!(dropped.get::<u64>("frames").unwrap() > 0);
    let text = wait_warning(&fed.pipeline, "dropped");
    assert!(text.contains("storage-size"), "{text}");
    let stat = |name| stat(&fed.sink, name);
    assert!(stat("spooled-bytes") <= 1 << 20);
    assert_eq!(stat("spooled-frames") + stat("dropped-frames"), 300);
    let causes =
        fed.sink.property::<gst::Structure>("stats").get::<gst::Structure>("dropped-by-cause");
    eventually("the count by cause", || {
        (causes.as_ref().unwrap().get::<u64>("full").ok()? > 0).then_some(())
    });
}

#[test]
fn offline_blocks_until_there_is_room() {
    let mut peer = Peer::start();
    peer.crash();
    let fed = Fed::new(&format!(
        "endpoint={} stream-name=block storage-size=1 streaming-type=offline",
        peer.url()
    ));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    let done = Arc::new(AtomicBool::new(false));
    let pusher = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let pushed = video.push_frames(0..300, 20_000);
            done.store(true, SeqCst);
            video.eos();
            pushed
        }
    });
    eventually("full memory", || {
        (stat(&fed.sink, "spooled-bytes") + 20_000 > 900_000).then_some(())
    });
    assert!(!done.load(SeqCst));
    assert!(stat(&fed.sink, "accepted-frames") < 60);
    peer.restart();
    wait_eos(&fed.pipeline);
    assert_eq!(pusher.join().unwrap(), Ok(()));
    assert_eq!(numbers(&peer.stored("block").distinct()), (0..300).collect::<Vec<_>>());
    assert_eq!(stat(&fed.sink, "dropped-frames"), 0);
}

#[test]
fn blocked_pads_are_released_by_flush_and_by_stop() {
    let fed = Fed::new(&format!("endpoint={} stream-name=paused stop-stream-timeout=0", nowhere()));
    let video = fed.source("video_%u", H264);
    fed.pipeline.set_state(gst::State::Paused).unwrap();
    let push = || {
        let video = video.clone();
        thread::spawn(move || video.push(frame(0, 100)))
    };
    let blocked = push();
    assert!(video.pad.push_event(gst::event::FlushStart::new()));
    assert_eq!(blocked.join().unwrap(), Err(gst::FlowError::Flushing));
    assert!(video.pad.push_event(gst::event::FlushStop::new(true)));
    video.segment();
    let blocked = push();
    fed.pipeline.set_state(gst::State::Ready).unwrap();
    assert_eq!(blocked.join().unwrap(), Err(gst::FlowError::Flushing));
    assert_eq!(stat(&fed.sink, "accepted-frames"), 0);
}

#[test]
fn a_flush_discards_nothing() {
    let peer = Peer::start();
    let fed =
        Fed::new(&format!("endpoint={} stream-name=flush streaming-type=offline", peer.url()));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..40, 1000).unwrap();
    assert!(video.pad.push_event(gst::event::FlushStart::new()));
    assert!(video.pad.push_event(gst::event::FlushStop::new(false)));
    video.segment();
    video.push_frames(60..100, 1000).unwrap();
    video.eos();
    wait_eos(&fed.pipeline);
    let expect: Vec<u64> = (0..40).chain(60..100).collect();
    assert_eq!(numbers(&peer.stored("flush").video()), expect);
}

#[test]
fn gaps_and_unknown_events_do_no_harm() {
    let peer = Peer::start();
    let fed = Fed::new(&format!("endpoint={} stream-name=gap streaming-type=offline", peer.url()));
    let (video, audio) = (fed.source("video_%u", H264), fed.source("audio_%u", AAC));
    fed.pipeline.play();
    for number in 0..90 {
        video.push(frame(number, 1000)).unwrap();
        let start = gst::ClockTime::from_nseconds(number * 1_000_000_000 / 30);
        let gap = gst::event::Gap::builder(start).duration(gst::ClockTime::from_mseconds(33));
        assert!(audio.pad.push_event(gap.build()));
        let custom = gst::Structure::new_empty("unknown");
        assert!(video.pad.push_event(gst::event::CustomDownstream::new(custom)));
    }
    video.eos();
    audio.eos();
    wait_eos(&fed.pipeline);
    assert_eq!(numbers(&peer.stored("gap").video()), (0..90).collect::<Vec<_>>());
}

#[test]
fn new_caps_start_a_new_session_without_loss() {
    let peer = Peer::start();
    let fed = Fed::new(&format!("endpoint={} stream-name=caps streaming-type=offline", peer.url()));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..45, 1000).unwrap();
    assert!(video.caps(&H264.replace("width=64", "width=128")));
    video.push_frames(60..100, 1000).unwrap();
    video.eos();
    wait_eos(&fed.pipeline);
    let stored = peer.stored("caps");
    let expect: Vec<u64> = (0..45).chain(60..100).collect();
    assert_eq!(numbers(&stored.video()), expect);
    let widths: Vec<u32> = stored
        .declared
        .iter()
        .map(|tracks| match &tracks[0].kind {
            TrackKind::Video(format) => format.width,
            _ => 0,
        })
        .collect();
    assert_eq!((widths.first(), widths.last()), (Some(&64), Some(&128)));
    assert!(widths.is_sorted());
}

#[test]
fn tracks_that_start_late_lose_nothing() {
    let peer = Peer::start();
    let pipeline = launch(&format!(
        "{VIDEO} ! queue ! sink.video_0 \
         audiotestsrc num-buffers=94 timestamp-offset=1000000000 samplesperbuffer=1024 ! \
         audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! queue ! sink.audio_0 {}",
        kvssink(&peer, "late")
    ));
    let sent = Recorder::of(&pipeline.sink());
    pipeline.run();
    let stored = peer.stored("late");
    let (video, audio) = (sent.frames("video_0"), sent.frames("audio_0"));
    assert_same(&video, &stored.video());
    assert_same(&audio, &stored.audio());
}

#[test]
fn buffer_lists_are_taken_frame_by_frame() {
    let peer = Peer::start();
    let fed = Fed::new(&format!("endpoint={} stream-name=list streaming-type=offline", peer.url()));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    let list: gst::BufferList = (0..40).map(|number| frame(number, 500)).collect();
    assert_eq!(video.pad.push_list(list), Ok(gst::FlowSuccess::Ok));
    video.eos();
    wait_eos(&fed.pipeline);
    assert_eq!(numbers(&peer.stored("list").video()), (0..40).collect::<Vec<_>>());
}

#[test]
fn wall_clock_time_is_producer_time() {
    let peer = Peer::start();
    let fed = Fed::new(&format!(
        "endpoint={} stream-name=time streaming-type=offline file-start-time=1700000000",
        peer.url()
    ));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..31, 500).unwrap();
    video.eos();
    wait_eos(&fed.pipeline);
    let stored = peer.stored("time").video();
    assert_eq!(stored[0].pts_ms, 1_700_000_000_000);
    assert_eq!(stored[30].pts_ms, 1_700_000_001_000);
}

#[test]
fn live_media_carries_the_wall_clock() {
    let peer = Peer::start();
    let start = clock::wall();
    let pipeline = launch(&format!(
        "videotestsrc is-live=true num-buffers=30 ! \
         video/x-raw,width=160,height=120,framerate=25/1 ! \
         x264enc tune=zerolatency key-int-max=25 speed-preset=ultrafast ! h264parse ! \
         kvssink name=sink endpoint={} stream-name=live",
        peer.url()
    ));
    let sent = Recorder::of(&pipeline.sink());
    pipeline.run();
    let end = clock::wall();
    let stored = peer.stored("live").video();
    assert_same(&sent.frames("video_0"), &stored);
    let (first, last) = (stored[0].pts_ms as u64, stored[29].pts_ms as u64);
    assert!(start.as_millis() <= first && last <= end.as_millis(), "{first} to {last}");
}

#[test]
fn two_hundred_state_cycles() {
    let fed = Fed::new(&format!("endpoint={} stream-name=cycle stop-stream-timeout=0", nowhere()));
    fed.source("video_%u", H264);
    for _ in 0..200 {
        fed.pipeline.play();
        fed.pipeline.stop();
    }
}

#[test]
fn to_ready_and_back_uses_no_network_and_checks_the_name() {
    let fed = Fed::new("endpoint=http://127.0.0.1:1");
    fed.sink.set_state(gst::State::Ready).unwrap();
    fed.sink.set_state(gst::State::Null).unwrap();
    for bad in [None, Some(""), Some("a b")] {
        fed.sink.set_property("stream-name", bad);
        assert!(fed.pipeline.set_state(gst::State::Ready).is_err());
        let text = wait_message(&fed.pipeline, "an ERROR", |message| match message.view() {
            gst::MessageView::Error(error) => Some(format!("{:?}", error.debug())),
            _ => None,
        });
        assert!(text.contains("stream-name"), "{text}");
        fed.pipeline.stop();
    }
}

#[test]
fn properties_keep_their_values() {
    let fed = Fed::new("streaming-type=near-realtime on-full=drop-newest aws-region=eu-west-1");
    assert_eq!(fed.sink.property::<Option<String>>("aws-region").as_deref(), Some("eu-west-1"));
    for spec in fed.sink.list_properties() {
        if spec.owner_type() != fed.sink.type_()
            || !spec.flags().contains(gst::glib::ParamFlags::WRITABLE)
        {
            continue;
        }
        let value = fed.sink.property_value(spec.name());
        fed.sink.set_property_from_value(spec.name(), &value);
        let again = fed.sink.property_value(spec.name());
        assert_eq!(format!("{value:?}"), format!("{again:?}"), "{}", spec.name());
    }
}
