// SPDX-License-Identifier: MIT OR Apache-2.0
//! kvssink -> server -> kvssrc: frames, times and caps come out as they went in, per codec.
#![cfg(feature = "server")]

mod support;

use gst::prelude::*;
use support::{Log, Service, assert_same_frames, download, media_folder, upload};

const H264: &str = "videotestsrc num-buffers=150 ! video/x-raw,width=320,height=180,framerate=30/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! h264parse";
/// With B-frames: presentation times are not in the order of decoding.
const H264_REORDERED: &str = "videotestsrc num-buffers=150 pattern=ball \
    ! video/x-raw,width=320,height=180,framerate=30/1 \
    ! x264enc speed-preset=fast bframes=3 b-adapt=false key-int-max=45 ! h264parse";
const H265: &str = "videotestsrc num-buffers=90 ! video/x-raw,width=320,height=180,framerate=30/1 \
    ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! h265parse";
const AAC: &str = "audiotestsrc num-buffers=240 samplesperbuffer=1024 \
    ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse";

/// Every field that came out is as it went in, and `fields` came out.
fn assert_caps(went_in: &Log, came_out: &Log, kind: &str, fields: &[&str]) {
    let (sent, got) = (went_in.caps(kind), came_out.caps(kind));
    assert_eq!((sent.len(), got.len()), (1, 1), "{kind} caps: {sent:?} and {got:?}");
    let (sent, got) = (sent[0].structure(0).unwrap(), got[0].structure(0).unwrap());
    assert_eq!(sent.name(), got.name());
    for field in fields {
        assert!(got.has_field(*field), "{field} is missing in {got}");
    }
    for (field, value) in got.iter() {
        if let Ok(expect) = sent.value(field) {
            let equal = value.compare(expect) == Some(std::cmp::Ordering::Equal);
            assert!(equal, "{field}: {value:?} came out for {expect:?}");
        }
    }
}

fn round_trip(stream: &str, media: &str, kinds: &[&str]) -> (Log, Log) {
    let service = Service::start();
    let went_in = upload(&service, stream, media);
    let came_out = download(&service, stream);
    assert_same_frames(&went_in, &came_out, kinds);
    (went_in, came_out)
}

const VIDEO_CAPS: [&str; 5] = ["codec_data", "stream-format", "alignment", "width", "height"];
const AUDIO_CAPS: [&str; 5] = ["codec_data", "stream-format", "mpegversion", "rate", "channels"];

#[test]
fn h264_comes_out_as_it_went_in() {
    let (sent, got) = round_trip("h264", &format!("{H264} ! kvs."), &["video"]);
    assert_caps(&sent, &got, "video", &VIDEO_CAPS);
}

#[test]
fn h264_with_reordered_frames_comes_out_as_it_went_in() {
    let (sent, _) = round_trip("reordered", &format!("{H264_REORDERED} ! kvs."), &["video"]);
    let frames = sent.frames("video");
    assert!(!frames.is_sorted_by_key(|f| f.time), "the encoder did not reorder");
}

#[test]
fn h265_comes_out_as_it_went_in() {
    let (sent, got) = round_trip("h265", &format!("{H265} ! kvs."), &["video"]);
    assert_caps(&sent, &got, "video", &VIDEO_CAPS);
}

#[test]
fn aac_comes_out_as_it_went_in() {
    let (sent, got) = round_trip("aac", &format!("{AAC} ! kvs."), &["audio"]);
    assert_caps(&sent, &got, "audio", &AUDIO_CAPS);
}

#[test]
fn picture_and_sound_stay_together() {
    let media = format!("{H264} ! queue ! kvs.video_0 {AAC} ! queue ! kvs.audio_0");
    let (sent, got) = round_trip("av", &media, &["video", "audio"]);
    assert_caps(&sent, &got, "video", &VIDEO_CAPS);
    assert_caps(&sent, &got, "audio", &AUDIO_CAPS);
}

#[test]
fn a_real_recording_comes_out_as_it_went_in() {
    let Some(folder) = media_folder() else {
        println!("SKIPPED a_real_recording_comes_out_as_it_went_in: KVS_TEST_MEDIA is not set");
        return;
    };
    let file = folder.join("interview-720p30-h264-aac.mp4");
    let media = format!(
        "filesrc location={} ! qtdemux name=d d. ! queue ! h264parse ! kvs.video_0 \
         d. ! queue ! aacparse ! kvs.audio_0",
        file.display()
    );
    let (sent, _) = round_trip("interview", &media, &["video", "audio"]);
    assert_eq!((sent.frames("video").len(), sent.frames("audio").len()), (420, 603));
}
