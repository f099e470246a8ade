// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole sessions through the function that the server calls.

use std::time::Duration;

use crate::{
    ids::FragmentNumber,
    server::{
        drain::Phase,
        store::Number,
        testing::{World, block, cluster, end_tag, header},
    },
    wire::{ack::AckEvent, put_media::TimecodeType},
};

/// Event type, timecode and number of an ack about a fragment.
fn parts(event: &AckEvent) -> (&'static str, u64, FragmentNumber) {
    match event.clone() {
        AckEvent::Buffering { timecode, number } => ("BUFFERING", timecode, number),
        AckEvent::Received { timecode, number } => ("RECEIVED", timecode, number),
        AckEvent::Persisted { timecode, number } => ("PERSISTED", timecode, number),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_fragment_is_buffering_received_persisted() {
    let world = World::new(1, |_| {}).await;
    let mut producer = world.put();
    producer.send(header(1));
    producer.send(cluster(1000, &[0, 500]));
    let (kind, timecode, number) = parts(&producer.ack().await.unwrap());
    assert_eq!((kind, timecode, number.as_str().len()), ("BUFFERING", 1000, 47));
    producer.send(end_tag());
    for expect in ["RECEIVED", "PERSISTED"] {
        let ack = producer.ack().await.unwrap();
        assert_eq!(parts(&ack), (expect, 1000, number.clone()));
    }
    let stored = world.service.store.earliest(&world.stream).unwrap().unwrap();
    assert_eq!((stored.number.to_fragment_number(), stored.length_ms), (number, 500));
    assert_eq!(stored.producer.as_millis(), 1000);
    producer.send(cluster(2000, &[0]));
    let events = producer.finish().await;
    let kinds: Vec<_> = events.iter().map(|event| parts(event).0).collect();
    assert_eq!(kinds, ["BUFFERING", "RECEIVED", "PERSISTED"]);
}

#[tokio::test]
async fn without_retention_nothing_is_persisted() {
    let world = World::new(0, |_| {}).await;
    let mut producer = world.put();
    producer.send([header(1), cluster(1000, &[0])].concat().into());
    let events = producer.finish().await;
    let kinds: Vec<_> = events.iter().map(|event| parts(event).0).collect();
    assert_eq!(kinds, ["BUFFERING", "RECEIVED"]);
    assert!(world.service.store.earliest(&world.stream).unwrap().is_some());
}

#[tokio::test]
async fn a_cut_fragment_is_neither_stored_nor_acked() {
    let world = World::new(1, |_| {}).await;
    let mut producer = world.put();
    producer.send([header(1), cluster(1000, &[0]), cluster(2000, &[0])].concat().into());
    for _ in 0..4 {
        producer.ack().await.unwrap();
    }
    producer.cut();
    let events = producer.rest().await;
    let [AckEvent::Error { timecode: Some(2000), number: Some(number), id: 4000, code }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(code, "STREAM_READ_ERROR");
    let store = &world.service.store;
    let first = store.earliest(&world.stream).unwrap().unwrap();
    assert_eq!(first.timecode, 1000);
    assert_eq!(store.next_after(&world.stream, first.number).unwrap(), None);
    let lost = store.read_fragment(&world.stream, Number::parse(number)).await.unwrap();
    assert_eq!(lost, None);
}

#[tokio::test]
async fn a_fault_is_acked_after_what_came_before_it() {
    let world = World::new(1, |_| {}).await;
    let mut producer = world.put();
    producer.send([header(1), cluster(1000, &[0]), cluster(1000, &[0])].concat().into());
    let events = producer.rest().await;
    let (last, before) = events.split_last().unwrap();
    let kinds: Vec<_> = before.iter().map(|event| parts(event).0).collect();
    assert_eq!(kinds, ["BUFFERING", "RECEIVED", "PERSISTED"]);
    let expect = AckEvent::Error {
        timecode: Some(1000),
        number: None,
        id: 4004,
        code: "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS".into(),
    };
    assert_eq!(*last, expect);
}

#[tokio::test]
async fn silence_is_acked_and_then_ends_the_session() {
    let world = World::new(1, |limits| {
        limits.idle_ack_interval = Duration::from_millis(20);
        limits.producer_idle = Duration::from_millis(90);
    })
    .await;
    let mut producer = world.put();
    producer.send([header(1), cluster(1000, &[0]), end_tag()].concat().into());
    let events = producer.rest().await;
    let idle = events.iter().filter(|event| matches!(event, AckEvent::Idle { .. })).count();
    assert_eq!(idle, 4, "{events:?}");
    let errors = events.iter().filter(|event| matches!(event, AckEvent::Error { .. })).count();
    assert_eq!(errors, 0, "{events:?}");
}

#[tokio::test]
async fn the_session_ends_with_4003() {
    let world = World::new(1, |limits| limits.session_length = Duration::from_millis(50)).await;
    let mut producer = world.put();
    let events = producer.rest().await;
    assert!(matches!(events[..], [AckEvent::Error { id: 4003, .. }]), "{events:?}");
}

#[tokio::test]
async fn a_deleted_stream_ends_its_sessions_with_4008() {
    let world = World::new(1, |_| {}).await;
    let mut producer = world.put();
    producer.send([header(1), cluster(1000, &[0])].concat().into());
    producer.ack().await.unwrap();
    world.service.store.delete_stream(&world.stream).await.unwrap();
    let events = producer.rest().await;
    assert!(matches!(events[..], [AckEvent::Error { id: 4008, .. }]), "{events:?}");
    assert_eq!(
        world.try_put(TimecodeType::Absolute, None).err(),
        Some("ResourceNotFoundException")
    );
}

#[tokio::test]
async fn a_drain_lets_the_open_fragment_end() {
    for end in [end_tag(), cluster(2000, &[0])] {
        let world = World::new(1, |_| {}).await;
        let mut producer = world.put();
        producer.send([header(1), cluster(1000, &[0])].concat().into());
        producer.ack().await.unwrap();
        world.switch.advance(Phase::Draining);
        producer.send([block(1, 300, 20), end].concat().into());
        let events = producer.rest().await;
        let kinds: Vec<_> = events.iter().map(|event| parts(event).0).collect();
        assert_eq!(kinds, ["RECEIVED", "PERSISTED"]);
    }
}

#[tokio::test]
async fn silence_inside_a_fragment_is_an_error() {
    let world = World::new(1, |limits| limits.producer_idle = Duration::from_millis(50)).await;
    let mut producer = world.put();
    producer.send([header(1), cluster(1000, &[0])].concat().into());
    let events = producer.rest().await;
    let last = events.last();
    assert!(
        matches!(last, Some(AckEvent::Error { timecode: Some(1000), id: 4000, .. })),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_third_producer_is_refused() {
    let world = World::new(1, |_| {}).await;
    let (_a, _b) = (world.put(), world.put());
    let third = world.try_put(TimecodeType::Absolute, None);
    assert_eq!(third.err(), Some("ConnectionLimitExceededException"));
}
