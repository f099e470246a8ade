// SPDX-License-Identifier: MIT OR Apache-2.0
//! kvssrc against this project's server: a producer writes while sessions end.
#![allow(unreachable_pub, reason = "the modules beside it are this test's own")]
#![cfg(feature = "server")]

#[path = "kvssrc/media.rs"]
mod media;
#[path = "kvssrc/producer.rs"]
mod producer;
#[path = "kvssrc/reader.rs"]
mod reader;

use std::time::Duration;

use gst::prelude::*;
use media::*;
use producer::Peer;
use reader::*;

const EARLIEST: (&str, &str) = ("start-selector", "earliest");

fn expected_of(fragments: std::ops::Range<u64>) -> Vec<(u64, u64, Vec<u8>)> {
    fragments.flat_map(|n| expected(n, &tracks())).collect()
}

fn tracks() -> [gstkvs::track::Track; 2] {
    [video(), audio()]
}

/// A server whose stream holds fragments 0 to `count`.
fn stored(count: u64) -> Peer {
    let peer = Peer::start(|_| {});
    peer.create();
    let mut producer = peer.producer(&tracks());
    for n in 0..count {
        producer.store(n);
    }
    peer
}

#[test]
fn sessions_that_end_all_the_time_lose_and_double_nothing() {
    const COUNT: u64 = 120;
    let peer = Peer::start(|limits| limits.session_length = Duration::from_millis(150));
    peer.create();
    let count = COUNT.to_string();
    let reader = Reader::play(&peer.url(), &[EARLIEST, ("num-fragments", &count)]);
    let (mut next, mut sessions) = (0, 0);
    while next < COUNT {
        sessions += 1;
        let mut producer = peer.producer(&tracks());
        while next < COUNT {
            producer.send_fragment(next);
            if !producer.is_persisted(next) {
                break;
            }
            next += 1;
        }
        assert!(sessions < 2 * COUNT, "the producer gets nowhere");
    }
    reader.wait_for_eos();
    assert_eq!(reader.frames(), expected_of(0..COUNT));
    assert!(sessions > 1, "no session ended: the test proves nothing");
}

#[test]
fn idle_sessions_that_end_lose_and_double_nothing() {
    let peer = Peer::start(|limits| limits.consumer_idle = Duration::from_millis(100));
    peer.create();
    let mut producer = peer.producer(&tracks());
    let reader =
        Reader::play(&peer.url(), &[EARLIEST, ("num-fragments", "6"), ("silence-timeout", "350")]);
    for n in 0..6 {
        producer.send_fragment(n);
        if n < 5 {
            // By then at least two sessions have been ended by the service.
            reader.element_message("kvs-silence");
        }
    }
    reader.wait_for_eos();
    assert_eq!(reader.frames(), expected_of(0..6));
}

#[test]
fn frames_leave_before_their_fragment_ends_and_survive_its_producer() {
    let peer = Peer::start(|_| {});
    peer.create();
    let tracks = tracks();
    let mut producer = peer.producer(&tracks);
    producer.store(0);
    let open = cluster(1, &tracks);
    let cut = open.len() * 2 / 3;
    producer.send(&open[..cut]);
    let reader = Reader::play(&peer.url(), &[("num-fragments", "2")]);
    let first = expected(1, &tracks);
    reader.wait_for(5);
    assert_eq!(reader.frames()[..5], first[..5], "now is the fragment in progress");
    drop(producer);
    let (_, details) = reader.trouble(gst::MessageType::Warning);
    assert_eq!(details, "kvs-cut");
    let mut again = peer.producer(&tracks);
    again.store(1);
    again.store(2);
    reader.wait_for_eos();
    assert_eq!(reader.frames(), expected_of(1..3), "sent again, and doubled nothing");
}

#[test]
fn every_start_selector_starts_where_it_says() {
    let peer = stored(6);
    let all = Reader::play(&peer.url(), &[EARLIEST, ("num-fragments", "6")]);
    let told: Vec<_> = (0..6).map(|_| all.element_message("kvs-fragment")).collect();
    all.wait_for_eos();
    assert_eq!(all.frames(), expected_of(0..6));
    let text = |n: usize, field: &str| told[n].get::<String>(field).unwrap();
    let seconds = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let time = |n: usize, field: &str| seconds(told[n].get::<u64>(field).unwrap());
    let inside = seconds((EPOCH_MS + 3500) * 1_000_000);
    // Fragments this short may well arrive within one millisecond: then the last of them it is.
    let at = |n: usize| told[n].get::<u64>("server-timestamp").unwrap();
    let tied = (0..6).rfind(|n| at(*n) == at(4)).unwrap();
    for (selector, property, value, first) in [
        ("fragment-number", "fragment-number", text(1, "fragment-number"), 2),
        ("continuation-token", "continuation-token", text(3, "continuation-token"), 4),
        ("server-timestamp", "start-timestamp", time(4, "server-timestamp"), tied as u64),
        ("producer-timestamp", "start-timestamp", time(2, "producer-timestamp"), 2),
        ("producer-timestamp", "start-timestamp", inside, 3),
    ] {
        let count = (6 - first).to_string();
        let properties =
            [("start-selector", selector), (property, &value), ("num-fragments", &count)];
        let reader = Reader::play(&peer.url(), &properties);
        reader.wait_for_eos();
        assert!(reader.frames() == expected_of(first..6), "{selector} {value}");
    }
}

#[test]
fn parallel_readers_get_everything_each() {
    const COUNT: u64 = 20;
    let peer = Peer::start(|_| {});
    peer.create();
    let count = COUNT.to_string();
    let properties = [EARLIEST, ("num-fragments", count.as_str())];
    let readers = [(); 2].map(|()| Reader::play(&peer.url(), &properties));
    let mut producer = peer.producer(&tracks());
    (0..COUNT).for_each(|n| producer.store(n));
    for reader in readers {
        reader.wait_for_eos();
        assert!(reader.frames() == expected_of(0..COUNT));
    }
}

#[test]
fn a_stream_deleted_while_in_use_is_told_and_its_successor_read() {
    let peer = Peer::start(|limits| limits.consumer_idle = Duration::from_millis(200));
    peer.create();
    let mut producer = peer.producer(&tracks());
    producer.store(7);
    let reader = Reader::play(&peer.url(), &[EARLIEST, ("num-fragments", "2")]);
    reader.element_message("kvs-fragment");
    peer.delete();
    let deleted = reader.element_message("kvs-missing");
    assert!(deleted.get::<bool>("deleted").unwrap());
    peer.create();
    peer.producer(&tracks()).store(8);
    reader.wait_for_eos();
    assert_eq!(reader.frames(), expected_of(7..9));
}

#[test]
fn two_hundred_state_cycles() {
    let peer = stored(3);
    let reader = Reader::new(&peer.url(), &[EARLIEST]);
    for round in 0..200 {
        let before = reader.buffers().len();
        reader.pipeline.set_state(gst::State::Playing).unwrap();
        if round % 2 == 0 {
            reader.wait_for(before + 1);
        }
        reader.stop();
        assert_eq!(reader.source.src_pads().len(), 0, "round {round}");
    }
    let told = reader.bus().pop_filtered(&[gst::MessageType::Warning, gst::MessageType::Error]);
    assert!(told.is_none(), "{told:?}");
}
