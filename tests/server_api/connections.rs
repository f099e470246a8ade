// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP itself: forms of requests, limits, and answers that come before the request has ended.

use std::time::Duration;

use gstkvs::{
    io::clock,
    server::{Config, Server},
};
use serde_json::json;

use crate::client::{DEADLINE, Fixture, Raw, put_media};

#[test]
fn every_answer_has_a_request_id() {
    let fixture = Fixture::new();
    let mut ids = Vec::new();
    for (path, status) in [("/listStreams", 200), ("/describeStream", 400), ("/nothing", 403)] {
        let answer = fixture.call(path, json!({}));
        assert_eq!(answer.status, status);
        ids.push(answer.header("x-amzn-requestid").unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn unknown_paths_and_methods_are_answered_as_the_service_does() {
    let fixture = Fixture::new();
    for request in ["POST /nothing", "GET /listStreams", "POST /", "OPTIONS *"] {
        let mut raw = Raw::connect(fixture.addr());
        raw.send(&format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n"));
        let answer = raw.answer();
        assert_eq!(answer.status, 403, "{request}");
        assert!(answer.text().contains("<AccessDeniedException>"), "{}", answer.text());
    }
}

#[test]
fn targets_may_be_absolute_and_headers_of_any_case() {
    let fixture = Fixture::new();
    let mut raw = Raw::connect(fixture.addr());
    raw.send(
        "POST http://elsewhere:1/listStreams HTTP/1.1\r\nhOsT: x\r\nCONTENT-length: 2\r\n\r\n{}",
    );
    assert_eq!(raw.answer().status, 200);
    // The same connection serves the next request.
    raw.send("POST /listStreams HTTP/1.1\r\nHOST: x\r\ncontent-Length: 2\r\n\r\n{}");
    assert_eq!(raw.answer().status, 200);
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    let fixture = Fixture::new();
    fixture.create("cam", 1);
    let asked = clock::monotonic();
    let mut raw = put_media(fixture.addr(), "cam", "Expect: 100-continue\r\n");
    let (status, _) = raw.head();
    assert_eq!(status, 100);
    let (status, headers) = raw.head();
    assert_eq!(status, 200);
    assert!(
        clock::monotonic() - asked < Duration::from_millis(900),
        "curl waits a second, then goes on"
    );
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(header("transfer-encoding"), Some("chunked"));
    assert!(header("x-amzn-requestid").is_some());
    raw.finish();
    assert_eq!(raw.ack(), None);

    // A refused request is not asked for its body.
    let mut raw = put_media(fixture.addr(), "nobody", "Expect: 100-continue\r\n");
    assert_eq!(raw.head().0, 404);
}

#[test]
fn the_answer_begins_before_the_body() {
    let fixture = Fixture::new();
    fixture.create("cam", 1);
    let mut raw = put_media(fixture.addr(), "cam", "");
    assert_eq!(raw.head().0, 200);
}

#[test]
fn early_errors_reach_clients_that_go_on_sending() {
    let fixture = Fixture::new();
    let filler = vec![0; 64 * 1024];
    for round in 0..50 {
        let mut raw = put_media(fixture.addr(), "nobody", "");
        for _ in 0..20 {
            // The server reads on for a while; without that, writing and then reading fail.
            assert!(raw.try_send_chunk(&filler).is_ok(), "round {round}");
        }
        let answer = raw.answer();
        assert_eq!(answer.status, 404, "round {round}");
        assert_eq!(answer.header("x-amzn-errortype"), Some("ResourceNotFoundException"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[test]
fn put_media_without_its_headers_is_refused() {
    let fixture = Fixture::new();
    let arn = fixture.create("cam", 1);
    let arn_too = format!("x-amzn-stream-arn: {arn}\r\n");
    for (headers, complaint) in [
        ("", "x-amzn-stream-name"),
        ("x-amzn-stream-name: cam\r\n", "x-amzn-fragment-timecode-type"),
        ("x-amzn-stream-name: cam\r\nx-amzn-fragment-timecode-type: SOON\r\n", "ABSOLUTE"),
        (&format!("x-amzn-stream-name: cam\r\n{arn_too}"), "exactly one"),
        (
            "x-amzn-stream-name: cam\r\nx-amzn-fragment-timecode-type: RELATIVE\r\n\
             x-amzn-producer-start-timestamp: tomorrow\r\n",
            "x-amzn-producer-start-timestamp",
        ),
    ] {
        let mut raw = Raw::connect(fixture.addr());
        raw.send(&format!(
            "POST /putMedia HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n{headers}\r\n"
        ));
        let answer = raw.answer();
        assert_eq!(answer.status, 400, "{headers}");
        assert_eq!(answer.header("x-amzn-errortype"), Some("InvalidArgumentException"));
        assert!(answer.text().contains(complaint), "{headers}: {}", answer.text());
    }
}

#[test]
fn long_heads_and_bodies_are_refused() {
    let fixture = Fixture::with(|config| config.limits.max_header_bytes = 2000);
    let mut raw = Raw::connect(fixture.addr());
    raw.send(&format!("POST /listStreams HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(4000)));
    assert_eq!(raw.head().0, 431);

    let mut raw = Raw::connect(fixture.addr());
    raw.send("POST /listStreams HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let filler = vec![b' '; 64 * 1024];
    for _ in 0..5 {
        raw.send_chunk(&filler);
    }
    assert_eq!(raw.answer().status, 413);
}

#[test]
fn slow_clients_are_cut_off() {
    let short = Duration::from_millis(200);
    let fixture = Fixture::with(|config| {
        config.limits.header_timeout = short;
        config.limits.body_timeout = short;
    });
    let mut raw = Raw::connect(fixture.addr());
    raw.send("POST /listStreams HTTP/1.1\r\nhost:");
    let cut = String::from_utf8(raw.rest()).unwrap();
    assert!(cut.is_empty() || cut.starts_with("HTTP/1.1 408"), "{cut}");

    let mut raw = Raw::connect(fixture.addr());
    raw.send("POST /listStreams HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{");
    assert_eq!(raw.answer().status, 408);
}

#[test]
fn connections_beyond_the_limit_wait() {
    let fixture = Fixture::with(|config| config.limits.max_connections = 1);
    let request = "POST /listStreams HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let mut first = Raw::connect(fixture.addr());
    first.send(request);
    assert_eq!(first.answer().status, 200);
    let mut second = Raw::connect(fixture.addr());
    second.send(request);
    assert!(!second.readable_within(Duration::from_millis(100)), "the limit is passed");
    drop(first);
    assert_eq!(second.answer().status, 200);
}

#[test]
fn a_shutdown_waits_for_nobody_who_is_idle() {
    let fixture = Fixture::with(|config| {
        config.limits.consumer_idle = Duration::from_secs(600);
        config.limits.drain_deadline = Duration::from_secs(600);
    });
    fixture.create("cam", 1);
    let mut idle = Raw::connect(fixture.addr());
    idle.send("POST /listStreams HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}");
    assert_eq!(idle.answer().status, 200);
    let mut producer = put_media(fixture.addr(), "cam", "");
    assert_eq!(producer.head().0, 200);
    let body = r#"{"StreamName":"cam","StartSelector":{"StartSelectorType":"NOW"}}"#;
    let mut consumer = Raw::connect(fixture.addr());
    let length = body.len();
    consumer.send(&format!(
        "POST /getMedia HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    assert_eq!(consumer.head().0, 200);

    let Fixture { server, dir } = fixture;
    // From async code, too, whose thread must not block on the server's runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        assert!(tokio::time::timeout(DEADLINE, server.shutdown()).await.is_ok());
        // The folder is free again.
        let next = Server::start(Config::new(dir.path())).unwrap();
        next.shutdown().await;
    });
    assert_eq!(producer.ack(), None);
    assert!(consumer.chunk().is_empty());
    assert!(idle.rest().is_empty());
}
