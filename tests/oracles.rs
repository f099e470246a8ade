// SPDX-License-Identifier: MIT OR Apache-2.0
//! What outsiders read in our bytes: ffprobe, mkvinfo and matroskademux, fetched with curl. Client
//! and server of this project could share a misunderstanding; these cannot share it.
#![cfg(feature = "server")]

mod support;

use std::{fs, path::Path};

use support::{
    Log, Pipeline, Service, ffprobe_hashes, output,
    recorder::{Bodies, Recorder},
    upload,
};

/// Two tracks; in `in.mp4` what entered kvssink.
fn media(folder: &Path) -> String {
    format!(
        "mp4mux name=in ! filesink location={}/in.mp4 \
         videotestsrc num-buffers=120 ! video/x-raw,width=320,height=180,framerate=30/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! h264parse \
         ! tee name=v v. ! queue ! kvs.video_0 v. ! queue ! in. \
         audiotestsrc num-buffers=188 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=1 \
         ! avenc_aac ! aacparse ! tee name=a a. ! queue ! kvs.audio_0 a. ! queue ! in.",
        folder.display()
    )
}

fn recorded_service() -> (Service, Bodies) {
    let recorder = Recorder::bind();
    let url = recorder.url();
    let service = Service::with(|config| config.public_url = Some(url));
    let bodies = recorder.relay_to(service.running.local_addr());
    (service, bodies)
}

#[test]
fn ffprobe_and_mkvinfo_read_what_kvssink_sends() {
    let (service, bodies) = recorded_service();
    let folder = service.folder.path();
    let log = upload(&service, "sent", &media(folder));
    let sent = folder.join("sent.mkv");
    fs::write(&sent, bodies.next()).unwrap();

    for (kind, pads) in [("v", "video"), ("a", "audio")] {
        let hashes = ffprobe_hashes(&sent, kind);
        assert_eq!(hashes, ffprobe_hashes(&folder.join("in.mp4"), kind), "{pads}");
        assert_eq!(hashes.len(), log.frames(pads).len(), "{pads}");
    }

    let info = output("mkvinfo", &["-v", "-v", sent.to_str().unwrap()]);
    assert_eq!(info.matches("|+ Tracks").count(), 1, "{info}");
    for expect in ["Codec ID: V_MPEG4/ISO/AVC", "Codec ID: A_AAC", "Timestamp scale: 1000000"] {
        assert!(info.contains(expect), "{expect} is missing in:\n{info}");
    }
    let blocks = info.matches("Simple block").count();
    assert_eq!(blocks, 120 + log.frames("audio").len(), "{info}");
    let clusters = info.matches("|+ Cluster").count();
    assert!((3..=4).contains(&clusters), "{clusters} clusters in 4 s with a key frame each second");
}

#[test]
fn matroskademux_and_ffprobe_read_what_get_media_returns() {
    let service = Service::start();
    let folder = service.folder.path();
    let log = upload(&service, "returned", &media(folder));
    let returned = folder.join("returned.mkv");
    let request =
        r#"{"StreamName": "returned", "StartSelector": {"StartSelectorType": "EARLIEST"}}"#;
    let url = format!("{}/getMedia", service.running.url());
    let file = returned.to_str().unwrap();
    output("curl", &["-sS", "--fail", "--data", request, "-o", file, &url]);

    for kind in ["v", "a"] {
        let expect = ffprobe_hashes(&folder.join("in.mp4"), kind);
        assert_eq!(ffprobe_hashes(&returned, kind), expect, "{kind}");
    }

    let demuxed = demux(&returned);
    for kind in ["video", "audio"] {
        let (sent, got) = (log.frames(kind), demuxed.frames(kind));
        assert_eq!(sent.len(), got.len(), "{kind}");
        assert!(sent.iter().zip(&got).all(|(a, b)| a.data == b.data), "{kind} payloads differ");
    }
}

/// What matroskademux finds in a file.
fn demux(file: &Path) -> Log {
    let pipeline = Pipeline::launch(&format!(
        "filesrc location={} ! matroskademux name=d \
         d.video_0 ! queue ! fakesink sync=false d.audio_0 ! queue ! fakesink sync=false",
        file.display()
    ));
    let log = Log::default();
    log.watch(&pipeline.element("d"), gst::PadDirection::Src);
    pipeline.run();
    log
}
