// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a consumer gets, through the function that the server calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    server::{
        drain::Phase,
        store::{Number, TimeKind},
        testing::{World, block, cluster, end_tag, header, metadata},
    },
    time::Timestamp,
    wire::get_media::{ChunkTags, StartSelector},
};

/// Ends responses fast once nothing more comes.
async fn world(retention_hours: u32) -> World {
    World::new(retention_hours, |limits| limits.consumer_idle = Duration::from_millis(150)).await
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

#[tokio::test]
async fn stored_fragments_come_as_documents_of_their_own() {
    let world = world(1).await;
    let late = metadata(&[("a", "b")]);
    let mut producer = world.put();
    let media = [cluster(1000, &[0]), cluster(2000, &[0, 40])];
    producer.send([header(1), media[0].clone(), late.clone(), media[1].clone()].concat().into());
    producer.finish().await;

    let mut consumer = world.get(StartSelector::Earliest);
    assert_eq!(consumer.whole_fragments().await, [1000, 2000]);
    let raw = consumer.raw.freeze();
    let store = &world.service.store;
    let first = store.earliest(&world.stream).unwrap().unwrap();
    let second = store.next_after(&world.stream, first.number).unwrap().unwrap();
    let head = |meta: &crate::server::store::FragmentMeta| {
        super::tags::head(meta.number.to_fragment_number(), meta.server, meta.producer)
    };
    let start = [&header(1)[..], &head(&first), &media[0], &late].concat();
    assert!(raw.starts_with(&start));
    // The tail tags, then the next document.
    let next = [&header(1)[..], &head(&second), &media[1]].concat();
    let at = raw.windows(next.len()).position(|window| window == next).unwrap();
    let tail = &raw[start.len()..at];
    assert_eq!(&tail[..4], [0x12, 0x54, 0xC3, 0x67]);
    let text = String::from_utf8_lossy(tail);
    assert!(text.contains("MILLIS_BEHIND_NOW") && text.contains(&first.number.to_string()));
}

#[tokio::test]
async fn every_selector_starts_where_it_says() {
    let world = world(1).await;
    world.upload(&[10_000, 11_000, 20_000]).await;
    let store = &world.service.store;
    let first = store.earliest(&world.stream).unwrap().unwrap();
    let number = first.number.to_fragment_number();
    let token = number.as_str().parse().unwrap();
    for (what, selector, expect) in [
        ("earliest", StartSelector::Earliest, vec![10_000, 11_000, 20_000]),
        ("now", StartSelector::Now, vec![]),
        ("after", StartSelector::FragmentNumber(number), vec![11_000, 20_000]),
        ("token", StartSelector::ContinuationToken(token), vec![11_000, 20_000]),
        ("inside", StartSelector::ProducerTimestamp(at(11_500)), vec![11_000, 20_000]),
        ("gap", StartSelector::ProducerTimestamp(at(15_000)), vec![20_000]),
        ("before", StartSelector::ProducerTimestamp(at(1)), vec![10_000, 11_000, 20_000]),
        ("past the end", StartSelector::ProducerTimestamp(at(30_000)), vec![]),
        ("server", StartSelector::ServerTimestamp(first.server), vec![10_000, 11_000, 20_000]),
    ] {
        let got = world.get(selector).whole_fragments().await;
        if what == "server" {
            // All three may have arrived in the same millisecond or the same few.
            let found = store.first_containing(&world.stream, first.server, TimeKind::Server);
            assert!(found.unwrap().is_some() && got.ends_with(&[20_000]), "{got:?}");
        } else {
            assert_eq!(got, expect, "{what}");
        }
    }
}

#[tokio::test]
async fn a_number_of_somebody_else_is_answered_with_error_tags() {
    let world = world(1).await;
    for selector in [
        StartSelector::FragmentNumber("17".parse().unwrap()),
        StartSelector::ContinuationToken("x.y".parse().unwrap()),
    ] {
        let tags = world.get(selector).tags().await.unwrap();
        assert!(matches!(tags, ChunkTags::Failed { id: 4000, .. }), "{tags:?}");
    }
}

#[tokio::test]
async fn a_corrupt_fragment_is_an_error_and_never_wrong_bytes() {
    let world = world(1).await;
    world.upload(&[1000, 2000]).await;
    world.corrupt_last_byte();
    let mut consumer = world.get(StartSelector::Earliest);
    let mut tags = Vec::new();
    while let Some(next) = consumer.tags().await {
        tags.push(next);
    }
    let [ChunkTags::Head { .. }, ChunkTags::Tail { .. }, ChunkTags::Failed { number, id, .. }] =
        &tags[..]
    else {
        panic!("{tags:?}")
    };
    let last = world.service.store.highest(&world.stream).unwrap().unwrap();
    assert_eq!((number.clone(), *id), (Some(last.to_fragment_number()), 5000));
}

#[tokio::test]
async fn now_is_the_fragment_in_progress_from_its_first_byte() {
    let world = World::new(1, |_| {}).await;
    let mut producer = world.put();
    producer.send([header(1), cluster(1000, &[0]), cluster(2000, &[0, 40])].concat().into());
    for _ in 0..4 {
        producer.ack().await.unwrap();
    }
    let mut consumer = world.get(StartSelector::Now);
    let Some(ChunkTags::Head { producer_time, .. }) = consumer.tags().await else { panic!() };
    assert_eq!(producer_time, at(2000));
    assert_eq!((consumer.block().await, consumer.block().await), (Some(0), Some(40)));
    // Each block is passed on while the fragment is still open.
    for offset in [80, 120, 160] {
        producer.send(block(1, offset, 10));
        assert_eq!(consumer.block().await, Some(offset));
    }
    producer.send(end_tag());
    assert!(matches!(consumer.tags().await, Some(ChunkTags::Tail { .. })));
    producer.send(cluster(3000, &[0]));
    let Some(ChunkTags::Head { producer_time, .. }) = consumer.tags().await else { panic!() };
    assert_eq!(producer_time, at(3000));
}

#[tokio::test]
async fn many_consumers_get_the_same_in_order_across_sessions() {
    let world = world(1).await;
    let consumers: Vec<_> =
        (0..20).map(|_| tokio::spawn(read_all(world.get(StartSelector::Earliest)))).collect();
    let (mut a, mut b) = (world.put(), world.put());
    for producer in [&mut a, &mut b] {
        producer.send(header(1));
    }
    a.send(cluster(1000, &[0]));
    a.ack().await.unwrap();
    b.send([cluster(1500, &[0]), end_tag()].concat().into());
    for _ in 0..3 {
        b.ack().await.unwrap();
    }
    a.send([block(1, 300, 5000), end_tag()].concat().into());
    a.finish().await;
    b.finish().await;
    for consumer in consumers {
        assert_eq!(consumer.await.unwrap(), [1000, 1500]);
    }
}

async fn read_all(mut consumer: crate::server::testing::Consumer) -> Vec<u64> {
    consumer.whole_fragments().await
}

/// Uploads fragments one by one; the connection breaks inside every seventh.
async fn upload_with_cuts(world: &World, first: u64) {
    let mut producer = world.put();
    producer.send(header(1));
    for n in 0..40 {
        producer.send(cluster(first + 1000 * n, &[0, 500]));
        producer.ack().await.unwrap();
        if n % 7 == 6 {
            producer.cut();
            producer.rest().await;
            producer = world.put();
            producer.send(header(1));
        } else {
            producer.send([block(1, 900, 3000), end_tag()].concat().into());
            producer.ack().await.unwrap();
            producer.ack().await.unwrap();
        }
    }
    producer.finish().await;
}

/// Reads from the start until all is over, resuming by token whenever a response ends.
async fn follow(world: &World, over: &AtomicBool) -> Vec<Number> {
    let (mut seen, mut selector) = (Vec::new(), StartSelector::Earliest);
    loop {
        let last = over.load(Ordering::Acquire);
        let before = seen.len();
        let mut consumer = world.get(selector.clone());
        while let Some(tags) = consumer.tags().await {
            if let ChunkTags::Tail { continuation_token: Some(token), .. } = tags {
                seen.push(Number::parse(&token.as_str().parse().unwrap()));
                selector = StartSelector::ContinuationToken(token);
            }
        }
        if last && seen.len() == before {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_misses_or_doubles_a_fragment() {
    let world = Arc::new(world(1).await);
    let over = Arc::new(AtomicBool::new(false));
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let (world, over) = (world.clone(), over.clone());
            tokio::spawn(async move { follow(&world, &over).await })
        })
        .collect();
    tokio::join!(upload_with_cuts(&world, 0), upload_with_cuts(&world, 500_000));
    over.store(true, Ordering::Release);
    let (mut stored, mut last) = (Vec::new(), Number::MIN);
    while let Some(meta) = world.service.store.next_after(&world.stream, last).unwrap() {
        last = meta.number;
        stored.push(last);
    }
    assert_eq!(stored.len(), 2 * 35);
    for consumer in consumers {
        assert_eq!(consumer.await.unwrap(), stored);
    }
}

#[tokio::test]
async fn a_fragment_whose_producer_was_cut_ends_without_tail_tags() {
    let world = World::new(1, |_| {}).await;
    let mut producer = world.put();
    producer.send([header(1), cluster(1000, &[0])].concat().into());
    producer.ack().await.unwrap();
    let mut consumer = world.get(StartSelector::Now);
    assert_eq!(consumer.block().await, Some(0));
    producer.cut();
    assert_eq!(consumer.whole_fragments().await, Vec::<u64>::new());
    assert!(!String::from_utf8_lossy(&consumer.raw).contains("CONTINUATION_TOKEN"));
}

#[tokio::test]
async fn silence_the_session_end_a_drain_and_a_deletion_end_it() {
    let idle = world(1).await;
    assert_eq!(idle.get(StartSelector::Now).whole_fragments().await, Vec::<u64>::new());

    let short = World::new(1, |limits| limits.session_length = Duration::ZERO).await;
    assert_eq!(short.get(StartSelector::Earliest).whole_fragments().await, Vec::<u64>::new());

    let draining = World::new(1, |_| {}).await;
    let mut consumer = draining.get(StartSelector::Now);
    draining.switch.advance(Phase::Draining);
    assert!(consumer.event().await.is_none());

    let deleted = World::new(1, |_| {}).await;
    let consumer = tokio::spawn(read_all(deleted.get(StartSelector::Now)));
    deleted.service.store.delete_stream(&deleted.stream).await.unwrap();
    assert_eq!(consumer.await.unwrap(), Vec::<u64>::new());
}

#[tokio::test]
async fn without_retention_the_memory_buffer_is_read() {
    let world = world(0).await;
    world.upload(&[1000, 2000]).await;
    let mut consumer = world.get(StartSelector::Earliest);
    assert_eq!(consumer.whole_fragments().await, [1000, 2000]);
    let store = &world.service.store;
    assert!(store.highest(&world.stream).unwrap() > Some(Number::MIN));
}
