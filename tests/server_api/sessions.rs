// SPDX-License-Identifier: MIT OR Apache-2.0
//! PutMedia and what it leaves behind for GetMedia, ListFragments and GetMediaForFragmentList.

use std::time::Duration;

use gstkvs::{
    mkv::{EventKind, Limits, Reader},
    wire::get_media::ChunkTags,
};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Fixture, Raw, put_media},
    media,
};

/// Uploads `count` fragments, two seconds apart, and reads acks until all are persisted. Gives
/// their numbers.
fn upload(fixture: &Fixture, stream: &str, count: u64) -> Vec<String> {
    let mut raw = put_media(fixture.addr(), stream, "");
    assert_eq!(raw.head().0, 200);
    raw.send_chunk(&media::header());
    for n in 0..count {
        raw.send_chunk(&media::fragment(media::START_MS + 2000 * n, n as u8));
    }
    raw.finish();
    let acks: Vec<_> = std::iter::from_fn(|| raw.ack()).collect();
    let persisted = acks.iter().filter(|ack| ack["EventType"] == "PERSISTED");
    let numbers: Vec<_> =
        persisted.map(|ack| ack["FragmentNumber"].as_str().unwrap().to_owned()).collect();
    assert_eq!(numbers.len() as u64, count, "{acks:?}");
    numbers
}

fn list(fixture: &Fixture, kind: &str, start: f64, end: f64, more: Value) -> Value {
    let mut members = json!({"StreamName": "cam", "FragmentSelector": {
        "FragmentSelectorType": kind,
        "TimestampRange": {"StartTimestamp": start, "EndTimestamp": end}}});
    members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fixture.ok("/listFragments", members)
}

/// The fragment numbers of an answer's head tags, and the payload bytes of its blocks.
fn fragments(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let mut reader = Reader::new(Limits::default());
    reader.push(answer.body.clone().into());
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(event) = reader.pull().unwrap() {
        match event.kind {
            EventKind::Tags(tags) => {
                if let Ok(Some(ChunkTags::Head { number, .. })) = ChunkTags::parse(&tags) {
                    found.push((number.to_string(), Vec::new()));
                }
            }
            EventKind::Block(block) => {
                for frame in block.frames {
                    found.last_mut().unwrap().1.extend_from_slice(&frame);
                }
            }
            _ => {}
        }
    }
    found
}

/// One recv gives one whole chunk with one ack, and nothing else.
fn is_one_ack(piece: &[u8]) -> bool {
    let text = std::str::from_utf8(piece).unwrap();
    let Some((size, rest)) = text.split_once("\r\n") else { return false };
    let Ok(size) = usize::from_str_radix(size, 16) else { return false };
    let Some((line, end)) = rest.split_at_checked(size) else { return false };
    end == "\r\n" && line.ends_with('\n') && serde_json::from_str::<Value>(line).is_ok()
}

#[test]
fn one_recv_reads_one_ack() {
    // Sessions that were given up linger until the server notices.
    let fixture = Fixture::with(|config| config.limits.producers_per_stream = 1000);
    fixture.create("cam", 1);
    // All acks of a session become ready together: a server that lets them share a write never
    // has a clean session. The kernel may join writes that were apart, so one of many is enough.
    let clean = (0..100).any(|_| {
        let mut raw = put_media(fixture.addr(), "cam", "");
        assert_eq!(raw.head().0, 200);
        let mut all = media::header();
        all.extend((0..3).flat_map(|n| media::fragment(media::START_MS + 2000 * n, 1)));
        all.extend(media::end());
        raw.send_chunk(&all);
        let mut acks = 0;
        while acks < 9 {
            if !is_one_ack(&raw.recv()) {
                return false;
            }
            acks += 1;
        }
        raw.finish();
        raw.recv() == b"0\r\n\r\n"
    });
    assert!(clean);
}

#[test]
fn acks_come_in_order_and_name_raw_timecodes() {
    let fixture = Fixture::new();
    fixture.create("cam", 1);
    let mut raw = put_media(fixture.addr(), "cam", "");
    raw.head();
    raw.send_chunk(&media::header());
    raw.send_chunk(&media::fragment(media::START_MS, 1));
    let first = raw.ack().unwrap();
    assert_eq!(first["EventType"], "BUFFERING");
    assert_eq!(first["FragmentTimecode"], media::START_MS);
    assert_eq!(first["FragmentNumber"].as_str().unwrap().len(), 47);
    raw.send_chunk(&media::end());
    for kind in ["RECEIVED", "PERSISTED"] {
        let ack = raw.ack().unwrap();
        assert_eq!(ack["EventType"], kind);
        assert_eq!(ack["FragmentNumber"], first["FragmentNumber"]);
        assert_eq!(ack["FragmentTimecode"], first["FragmentTimecode"]);
    }
    raw.finish();
    assert_eq!(raw.ack(), None);
}

#[test]
fn a_producer_that_half_closes_gets_all_acks() {
    let fixture = Fixture::new();
    fixture.create("cam", 1);
    for round in 0..10 {
        let mut raw = put_media(fixture.addr(), "cam", "");
        raw.send_chunk(&media::header());
        raw.send_chunk(&media::fragment(media::START_MS, 1));
        raw.finish();
        raw.shut_write();
        assert_eq!(raw.head().0, 200, "round {round}");
        assert_eq!(std::iter::from_fn(|| raw.ack()).count(), 3, "round {round}");
    }
}

#[test]
fn a_stream_without_retention_has_no_persisted_acks() {
    let fixture = Fixture::new();
    fixture.create("cam", 0);
    let mut raw = put_media(fixture.addr(), "cam", "");
    raw.head();
    raw.send_chunk(&media::header());
    raw.send_chunk(&media::fragment(media::START_MS, 1));
    raw.finish();
    let kinds: Vec<_> = std::iter::from_fn(|| raw.ack())
        .map(|ack| ack["EventType"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["BUFFERING", "RECEIVED"]);
}

#[test]
fn sessions_of_one_stream_overlap_up_to_the_limit() {
    let fixture = Fixture::new();
    fixture.create("cam", 1);
    let mut sessions = [(); 2].map(|()| put_media(fixture.addr(), "cam", ""));
    for (n, raw) in sessions.iter_mut().enumerate() {
        assert_eq!(raw.head().0, 200);
        raw.send_chunk(&media::header());
        raw.send_chunk(&media::fragment(media::START_MS + 2000 * n as u64, 1));
        assert_eq!(raw.ack().unwrap()["EventType"], "BUFFERING");
    }
    let refused = put_media(fixture.addr(), "cam", "").answer();
    assert_eq!(refused.status, 400);
    assert_eq!(refused.header("x-amzn-errortype"), Some("ConnectionLimitExceededException"));
    for mut raw in sessions {
        raw.finish();
        assert_eq!(raw.ack().unwrap()["EventType"], "RECEIVED");
        assert_eq!(raw.ack().unwrap()["EventType"], "PERSISTED");
        assert_eq!(raw.ack(), None);
    }
    upload(&fixture, "cam", 1);
}

#[test]
fn a_deleted_stream_ends_its_sessions() {
    let fixture = Fixture::new();
    let arn = fixture.create("cam", 1);
    let mut raw = put_media(fixture.addr(), "cam", "");
    raw.head();
    raw.send_chunk(&media::header());
    raw.send_chunk(&media::fragment(media::START_MS, 1));
    raw.ack();
    fixture.ok("/deleteStream", json!({"StreamARN": arn}));
    let error = std::iter::from_fn(|| raw.ack()).find(|ack| ack["EventType"] == "ERROR").unwrap();
    assert_eq!(error["ErrorId"], 4008);
}

#[test]
fn fragments_are_listed_by_both_clocks_and_in_pages() {
    let fixture = Fixture::new();
    fixture.create("cam", 1);
    let numbers = upload(&fixture, "cam", 5);
    let all = list(&fixture, "PRODUCER_TIMESTAMP", 0.0, 4e9, json!({}));
    assert!(all["NextToken"].is_null());
    let all = all["Fragments"].as_array().unwrap();
    assert_eq!(all.len(), 5);
    for (n, info) in all.iter().enumerate() {
        let expect = (media::START_MS + 2000 * n as u64) as f64 / 1e3;
        assert_eq!(info["ProducerTimestamp"].as_f64(), Some(expect));
        assert_eq!(info["FragmentNumber"], numbers[n]);
        assert_eq!(info["FragmentLengthInMilliseconds"], 1000);
        assert!(info["FragmentSizeInBytes"].as_u64().is_some_and(|n| n > 200));
        // Both ends are inclusive, at the milliseconds that were printed.
        for (kind, member) in
            [("PRODUCER_TIMESTAMP", "ProducerTimestamp"), ("SERVER_TIMESTAMP", "ServerTimestamp")]
        {
            let time = info[member].as_f64().unwrap();
            let found = list(&fixture, kind, time, time, json!({}));
            let found = found["Fragments"].as_array().unwrap();
            assert!(found.contains(info), "{kind} {time}");
        }
    }

    let (mut token, mut paged) = (Value::Null, Vec::new());
    loop {
        let page = match &token {
            Value::Null => list(&fixture, "SERVER_TIMESTAMP", 0.0, 4e9, json!({"MaxResults": 2})),
            token => fixture.ok(
                "/listFragments",
                json!({"StreamName": "cam", "MaxResults": 2, "NextToken": token}),
            ),
        };
        let fragments = page["Fragments"].as_array().unwrap();
        assert!(fragments.len() <= 2);
        paged.extend(fragments.iter().cloned());
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(&paged, all);

    for members in [
        json!({"StreamName": "cam", "NextToken": "00"}),
        json!({"StreamName": "cam", "MaxResults": 1001, "NextToken": "00"}),
    ] {
        assert_eq!(fixture.err("/listFragments", members).1, "InvalidArgumentException");
    }
    let backward = json!({"StreamName": "cam", "FragmentSelector": {
        "FragmentSelectorType": "SERVER_TIMESTAMP",
        "TimestampRange": {"StartTimestamp": 2, "EndTimestamp": 1}}});
    assert_eq!(fixture.err("/listFragments", backward).1, "InvalidArgumentException");
}

#[test]
fn media_comes_back_by_fragment_list_in_the_order_asked_for() {
    let fixture = Fixture::new();
    fixture.create("cam", 1);
    let numbers = upload(&fixture, "cam", 3);
    let unknown = "91343852333181432392682062607743920442264000000";
    let members = json!({"StreamName": "cam",
        "Fragments": [numbers[2], unknown, numbers[0]]});
    let answer = fixture.call("/getMediaForFragmentList", members);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("video/webm"));
    let expect = [(numbers[2].clone(), vec![2; 200]), (numbers[0].clone(), vec![0; 200])];
    assert_eq!(fragments(&answer), expect);
    let text = answer.text();
    assert!(text.contains("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE"), "{text}");
    assert!(text.contains(unknown));
    assert!(!text.contains("AWS_KINESISVIDEO_CONTINUATION_TOKEN"));
}

#[test]
fn get_media_gives_what_was_put_and_ends_by_itself() {
    let fixture = Fixture::with(|config| {
        config.limits.consumer_idle = Duration::from_millis(300);
    });
    fixture.create("cam", 1);
    let numbers = upload(&fixture, "cam", 3);
    let get = |selector: Value| {
        fixture.call("/getMedia", json!({"StreamName": "cam", "StartSelector": selector}))
    };
    let answer = get(json!({"StartSelectorType": "EARLIEST"}));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("video/webm"));
    let expect: Vec<_> = numbers
        .iter()
        .enumerate()
        .map(|(n, number)| (number.clone(), vec![n as u8; 200]))
        .collect();
    assert_eq!(fragments(&answer), expect);
    let after =
        get(json!({"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": numbers[0]}));
    assert_eq!(fragments(&after), expect[1..]);
    let start = (media::START_MS + 4000) as f64 / 1e3;
    let timed = get(json!({"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": start}));
    assert_eq!(fragments(&timed), expect[2..]);
    let missing = fixture.err(
        "/getMedia",
        json!({"StreamName": "nobody", "StartSelector": {"StartSelectorType": "NOW"}}),
    );
    assert_eq!(missing, (404, "ResourceNotFoundException".to_owned()));
}

#[test]
fn get_media_relays_a_fragment_that_is_still_arriving() {
    let fixture = Fixture::new();
    fixture.create("cam", 1);
    let mut producer = put_media(fixture.addr(), "cam", "");
    producer.head();
    producer.send_chunk(&media::header());
    producer.send_chunk(&media::fragment(media::START_MS, 9));
    assert_eq!(producer.ack().unwrap()["EventType"], "BUFFERING");

    let body =
        json!({"StreamName": "cam", "StartSelector": {"StartSelectorType": "NOW"}}).to_string();
    let mut consumer = Raw::connect(fixture.addr());
    consumer.send(&format!(
        "POST /getMedia HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(consumer.head().0, 200);
    let mut seen = Vec::new();
    while !seen.windows(100).any(|bytes| bytes == [9; 100]) {
        seen.extend(consumer.chunk());
    }
    // The fragment has not ended: no tail yet.
    let tail = b"AWS_KINESISVIDEO_CONTINUATION_TOKEN";
    assert!(!seen.windows(tail.len()).any(|bytes| bytes == tail));
    producer.send_chunk(&media::end());
    while !seen.windows(tail.len()).any(|bytes| bytes == tail) {
        seen.extend(consumer.chunk());
    }
}
