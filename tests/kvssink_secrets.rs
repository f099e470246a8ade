// SPDX-License-Identifier: MIT OR Apache-2.0
//! Secrets of kvssink cannot be read back and stand in no log. A program of its own, because the
//! log level is the process's.
#![cfg(feature = "server")]

#[path = "sink_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use support::*;

#[test]
fn secrets_cannot_be_read_and_are_not_logged() {
    init();
    let log = Arc::new(Mutex::new(String::new()));
    let lines = Arc::clone(&log);
    gst::log::remove_default_log_function();
    gst::log::set_default_threshold(gst::DebugLevel::Trace);
    let guard = gst::log::add_log_function(move |_, _, _, _, _, _, message| {
        // Making the text may log, too: never with the lock held.
        let text = message.get().map(|text| text.to_string()).unwrap_or_default();
        lines.lock().unwrap().push_str(&text);
    });
    let peer = Peer::start();
    let fed = Fed::new(&format!("endpoint={} stream-name=secret", peer.url()));
    for (name, shown) in [
        ("access-key", "access_key"),
        ("secret-key", "secret_key"),
        ("session-token", "session_token"),
    ] {
        fed.sink.set_property(name, "hush-hush-hush");
        assert_eq!(fed.sink.property::<String>(name), shown);
    }
    let video = fed.source("video_%u", H264);
    fed.pipeline.play();
    video.push_frames(0..40, 100).unwrap();
    fed.pipeline.stop();
    gst::log::set_default_threshold(gst::DebugLevel::None);
    gst::log::remove_log_function(guard);
    assert_eq!(peer.stored("secret").frames.len(), 40);
    let log = log.lock().unwrap();
    assert!(log.contains("kvssink") || log.contains("session"), "nothing was logged");
    assert!(!log.contains("hush-hush-hush"));
}
