// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers in order whoever sends, and nobody misses a fragment on its way to the store.

use super::*;
use crate::server::testing::World;

const PLACES: usize = 2;

fn at(secs: u64) -> Monotonic {
    Monotonic::from_nanos(secs * 1_000_000_000)
}

fn start(ms: u64) -> Start {
    let time = Timestamp::from_millis(ms).unwrap();
    Start { server: time, producer: time, timecode: ms, head: Bytes::from_static(b"head") }
}

#[tokio::test]
async fn numbers_ascend_across_overlapping_sessions() {
    let world = World::new(1, |_| {}).await;
    let (hub, store) = (world.service.relay.hub(&world.stream), &world.service.store);
    let mut a = hub.open_session(PLACES, at(0)).unwrap();
    let mut b = hub.open_session(PLACES, at(0)).unwrap();
    let first = a.begin(start(1));
    let second = b.begin(start(2));
    assert!(first.number < second.number);
    let next = hub.next_after(store, Number::MIN).unwrap().unwrap();
    assert_eq!(next.number(), first.number);
    b.push(Bytes::from_static(b"body"));
    let stored = b.complete(5).unwrap();
    // Complete first, and still behind the one that began before it.
    assert_eq!(hub.next_after(store, Number::MIN).unwrap().unwrap().number(), first.number);
    let next = hub.next_after(store, first.number).unwrap().unwrap();
    assert!(matches!(next, Next::Live(_)));
    store.append(&world.stream, stored.meta, stored.pieces.clone()).await.unwrap();
    drop(stored);
    let next = hub.next_after(store, first.number).unwrap().unwrap();
    assert!(matches!(next, Next::Stored(meta) if meta.number == second.number));
    a.cut();
    let next = hub.next_after(store, Number::MIN).unwrap().unwrap();
    assert_eq!(next.number(), second.number);
    assert_eq!(hub.last(), Some(second.number));
}

#[tokio::test]
async fn a_consumer_sees_each_piece_once_and_how_it_ends() {
    let world = World::new(1, |_| {}).await;
    let hub = world.service.relay.hub(&world.stream);
    let mut session = hub.open_session(PLACES, at(0)).unwrap();
    let live = session.begin(start(1));
    session.push(Bytes::from_static(b"a"));
    let (pieces, phase) = live.body_from(0);
    assert_eq!((pieces.concat(), phase), (b"a".to_vec(), Phase::Growing));
    let changed = live.changed();
    session.push(Bytes::from_static(b"b"));
    changed.await;
    assert_eq!(live.body_from(1).0.concat(), b"b");
    let done = session.complete(7).unwrap();
    assert_eq!(live.body_from(2), (vec![], Phase::Complete { length_ms: 7 }));
    assert_eq!(
        (done.meta.head_len, done.meta.body_len, done.pieces.concat()),
        (4, 2, b"headab".to_vec())
    );
    let live = session.begin(start(2));
    drop(session);
    assert_eq!(live.phase(), Phase::Cut);
}

#[tokio::test]
async fn a_third_producer_is_refused_unless_one_is_dead() {
    let world = World::new(1, |_| {}).await;
    let hub = world.service.relay.hub(&world.stream);
    let mut a = hub.open_session(PLACES, at(0)).unwrap();
    let b = hub.open_session(PLACES, at(0)).unwrap();
    b.heard(at(8));
    assert!(hub.open_session(PLACES, at(4)).is_err());
    let live = a.begin(start(1));
    let c = hub.open_session(PLACES, at(9)).unwrap();
    a.replaced().await;
    drop(a);
    assert_eq!(live.phase(), Phase::Cut);
    assert!(hub.open_session(PLACES, at(9)).is_err());
    drop(c);
    hub.open_session(PLACES, at(9)).unwrap();
}
