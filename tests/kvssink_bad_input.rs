// SPDX-License-Identifier: MIT OR Apache-2.0
//! kvssink given what it cannot use: one message with cause and remedy, no panic, no hang, and
//! every frame accounted for.
#![cfg(feature = "server")]

#[path = "sink_support/mod.rs"]
mod support;

use std::sync::atomic::Ordering::SeqCst;

use gst::prelude::*;
use gstkvs::server::Config;
use support::*;

fn fed(peer: &Peer, more: &str) -> Fed {
    Fed::new(&format!("endpoint={} stream-name=bad {more}", peer.url()))
}

/// Pushes one frame after wrong caps and returns the ERROR's text.
fn refused(template: &str, good: &str, bad: &str) -> String {
    let peer = Peer::start();
    let fed = fed(&peer, "");
    let source = fed.source(template, good);
    fed.pipeline.play();
    source.caps(bad);
    assert_eq!(source.push(frame(0, 100)), Err(gst::FlowError::NotNegotiated));
    wait_error(&fed.pipeline)
}

#[test]
fn unsupported_caps_name_the_remedy() {
    let text = refused("video_%u", H264, "video/x-raw, format=I420, width=64, height=64");
    assert!(text.contains("not encoded") && text.contains("x264enc"), "{text}");
    let text = refused("video_%u", H264, "video/x-vp8");
    assert!(text.contains("video/x-vp8") && text.contains("h264parse"), "{text}");
    let bad = "video/x-h264, stream-format=byte-stream, alignment=au";
    let text = refused("video_%u", H264, bad);
    assert!(text.contains("byte-stream") && text.contains("insert h264parse"), "{text}");
    let bad = "audio/mpeg, mpegversion=4, stream-format=adts";
    let text = refused("audio_%u", AAC, bad);
    assert!(text.contains("adts") && text.contains("insert aacparse"), "{text}");
}

#[test]
fn missing_codec_data_names_the_parser() {
    let bad = "video/x-h264, stream-format=avc, alignment=au, width=64, height=48";
    let text = refused("video_%u", H264, bad);
    assert!(text.contains("codec_data") && text.contains("insert h264parse"), "{text}");
}

#[test]
fn missing_timestamps_lose_nothing() {
    let peer = Peer::start();
    let fed = fed(&peer, "streaming-type=offline");
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    for number in 0..60 {
        let mut buffer = frame(number, 100);
        if number % 3 == 1 {
            let buffer = buffer.get_mut().unwrap();
            buffer.set_pts(None);
            buffer.set_dts(None);
        }
        video.push(buffer).unwrap();
    }
    video.eos();
    wait_eos(&fed.pipeline);
    assert_eq!(numbers(&peer.stored("bad").video()), (0..60).collect::<Vec<_>>());
    assert_eq!(stat(&fed.sink, "dropped-frames"), 0);
}

#[test]
fn timestamps_that_jump_back_are_reported() {
    let peer = Peer::start();
    let fed = fed(&peer, "streaming-type=offline");
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(300..390, 100).unwrap();
    video.push_frames(0..90, 100).unwrap();
    let text = wait_warning(&fed.pipeline, "jump");
    assert!(text.contains("timestamps") && text.contains("Check"), "{text}");
    video.eos();
    wait_eos(&fed.pipeline);
    let stored = numbers(&peer.stored("bad").video());
    assert_eq!(stored.len() as u64 + stat(&fed.sink, "dropped-frames"), 180);
    assert_eq!(stat(&fed.sink, "accepted-frames"), stored.len() as u64);
}

#[test]
fn no_key_frame_for_twenty_seconds_is_cut_and_reported() {
    let peer = Peer::start();
    let fed = fed(&peer, "streaming-type=offline");
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    for number in 0..30 * 25 {
        let mut buffer = frame(number, 100);
        if number > 0 {
            buffer.get_mut().unwrap().set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        video.push(buffer).unwrap();
    }
    let text = wait_warning(&fed.pipeline, "key frame");
    assert!(text.contains("encoder"), "{text}");
    assert!(video.key_requests.load(SeqCst) > 0, "upstream was not asked for a key frame");
    video.eos();
    wait_eos(&fed.pipeline);
    let stored = peer.stored("bad");
    assert_eq!(numbers(&stored.video()), (0..30 * 25).collect::<Vec<_>>());
    assert!(stored.declared.len() > 1);
}

#[test]
fn frames_before_the_first_key_frame_are_counted() {
    let peer = Peer::start();
    let fed = fed(&peer, "streaming-type=offline");
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(10..60, 100).unwrap();
    let dropped = wait_structure(&fed.pipeline, "kvs-dropped");
    assert_eq!(dropped.get::<&str>("cause"), Ok("before-key-frame"));
    fed.pipeline.stop();
    assert_eq!(numbers(&peer.stored("bad").video()), (30..60).collect::<Vec<_>>());
}

#[test]
fn an_unreachable_endpoint_is_reported_and_retried() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fed = Fed::new(&format!("endpoint=http://{address} stop-stream-timeout=1"));
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..40, 100).unwrap();
    let text = wait_warning(&fed.pipeline, "next try");
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(text.contains("Check the network, endpoint"), "{text}");
    video.eos();
    let text = wait_error(&fed.pipeline);
    assert!(text.contains("40 frames") && text.contains("stop-stream-timeout"), "{text}");
}

fn with_keys(config: &mut Config) {
    config.credentials = Some("AKIDEXAMPLE right-secret".parse().unwrap());
}

#[test]
fn wrong_credentials_are_reported_and_can_be_put_right() {
    let peer = Peer::with(with_keys);
    let fed = fed(&peer, "access-key=AKIDEXAMPLE secret-key=wrong-secret");
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..40, 100).unwrap();
    let text = wait_warning(&fed.pipeline, "next try");
    assert!(text.contains("secret-key"), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");
    fed.sink.set_property("secret-key", "right-secret");
    video.eos();
    wait_eos(&fed.pipeline);
    assert_eq!(stat(&fed.sink, "persisted-frames"), 40);
}

#[test]
fn a_missing_stream_that_must_not_be_created_is_an_error() {
    let peer = Peer::start();
    let fed = fed(&peer, "allow-create-stream=false");
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..40, 100).unwrap();
    let text = wait_error(&fed.pipeline);
    assert!(text.contains("allow-create-stream"), "{text}");
    let refused = eventually("the pad to be refused", || video.push(frame(60, 100)).err());
    assert_eq!(refused, gst::FlowError::Error);
}

#[test]
fn a_stream_deleted_while_in_use_is_reported() {
    let peer = Peer::start();
    let fed = fed(&peer, "allow-create-stream=false");
    let video = fed.source("video_%u", H264);
    let other = self::fed(&peer, "");
    let maker = other.source("video_%u", H264);
    other.pipeline.play();
    maker.push_frames(0..40, 100).unwrap();
    maker.eos();
    wait_eos(&other.pipeline);

    fed.pipeline.play();
    video.push_frames(0..40, 100).unwrap();
    wait_structure(&fed.pipeline, "kvs-fragment-ack");
    peer.delete("bad");
    let mut number = 60;
    let text = wait_message(&fed.pipeline, "an ERROR or WARNING", |message| {
        let _ = video.push_frames(number..number + 30, 100);
        number += 30;
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
            _ => None,
        }
    });
    assert!(text.contains("delete") || text.contains("stream-name"), "{text}");
}
