// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fragments get to the service: replay, errors, rotation, memory, the end.

use super::*;

/// A bench that has sent fragments at 0, 1000, ... of one video track on session 1.
fn sent(config: Config, fragments: u64) -> (Bench, PadId) {
    sent_to(Bench::new(config), fragments)
}

fn sent_to(mut b: Bench, fragments: u64) -> (Bench, PadId) {
    let v = b.video();
    for count in 0..fragments {
        b.push(v, count * 1000, true);
    }
    b.out();
    (b, v)
}

#[test]
fn a_cut_replays_from_the_first_fragment_not_persisted() {
    let (mut b, _) = sent(Config::default(), 4);
    b.ack(1, "P", 0);
    b.ack(1, "R", 1000);
    b.end(1, Err(ServiceErrorKind::Cut));
    assert_eq!(b.out(), "<trouble Cut>");
    b.wait_until(200);
    assert_eq!(b.out(), "open 2@1000 2:V 2:[1000 1:1000k 2:[2000 1:2000k 2:[3000 1:3000k");
    assert_eq!(b.producer.stats().persisted_frames, 1);
}

#[test]
fn acks_count_for_the_session_they_came_from() {
    let (mut b, _) = sent(Config::default(), 3);
    b.end(1, Err(ServiceErrorKind::Cut));
    b.wait_until(200);
    b.out();
    b.ack(1, "P", 0);
    assert_eq!(b.producer.stats().persisted_frames, 0, "session 1 is over");
    b.ack(2, "P", 7000);
    b.ack(2, "P", 2000);
    assert_eq!(b.producer.stats().persisted_frames, 0, "unknown, and not complete");
    b.ack(2, "P", 1000);
    assert_eq!(b.producer.stats().persisted_frames, 1);
    assert_eq!(b.producer.stats().spooled_fragments, 2);
}

#[test]
fn received_is_enough_without_retention() {
    let (mut b, _) = sent(Config { persistence: Persistence::Received, ..Config::default() }, 2);
    b.ack(1, "B", 0);
    assert_eq!(b.producer.stats().persisted_fragments, 0);
    b.ack(1, "R", 0);
    assert_eq!(b.producer.stats().persisted_fragments, 1);
}

#[test]
fn without_acks_the_end_of_the_response_counts() {
    let (mut b, v) = sent(Config { persistence: Persistence::SessionEnd, ..Config::default() }, 2);
    b.producer.end_of_stream(b.mono(), v);
    assert_eq!(b.out(), "1:] 1:end");
    assert_eq!(b.producer.stats().persisted_fragments, 0);
    b.end(1, Ok(()));
    assert_eq!(b.producer.stats().persisted_fragments, 2);
    assert_eq!(b.out(), "<drained 0>");
}

#[test]
fn a_rejected_fragment_is_reported_and_skipped() {
    let (mut b, _) = sent(Config::default(), 3);
    b.ack(1, "4011", 0);
    assert_eq!(b.out(), "abort 1 <trouble Server> <1 Rejected(4011)>");
    b.wait_until(200);
    assert_eq!(b.out(), "open 2@1000 2:V 2:[1000 1:1000k 2:[2000 1:2000k");
}

#[test]
fn an_error_without_fragment_is_blamed_on_the_one_being_read_the_second_time() {
    let unnamed = 1_000_000;
    let (mut b, _) = sent(Config::default(), 3);
    b.ack(1, "R", 0);
    b.ack(1, "4006", unnamed);
    assert_eq!(b.out(), "abort 1 <trouble Server>");
    b.wait_until(200);
    assert_eq!(b.out(), "open 2@0 2:V 2:[0 1:0k 2:[1000 1:1000k 2:[2000 1:2000k");
    b.ack(2, "R", 0);
    b.ack(2, "4006", unnamed);
    assert_eq!(b.out(), "abort 2 <1 Rejected(4006)>");
}

#[test]
fn after_a_rejected_open_fragment_the_next_key_frame_goes_on() {
    let (mut b, v) = sent(Config::default(), 2);
    b.ack(1, "4001", 1000);
    assert_eq!(b.push(v, 1500, false), PushOutcome::Dropped(DropCause::Rejected(4001)));
    b.push(v, 2000, true);
    b.wait_until(200);
    assert_eq!(
        b.out(),
        "abort 1 open 2@0 <trouble Server> <1 Rejected(4001)> <key 0> 2:V 2:[0 1:0k 2:[2000 \
         1:2000k"
    );
}

#[test]
fn a_retriable_error_replays() {
    let (mut b, _) = sent(Config::default(), 2);
    b.ack(1, "5001", 0);
    b.wait_until(200);
    assert_eq!(b.out(), "abort 1 open 2@0 <trouble Server> 2:V 2:[0 1:0k 2:[1000 1:1000k");
}

#[test]
fn trouble_is_told_once_in_a_while() {
    let (mut b, _) = sent(Config::default(), 1);
    let mut troubles = 0;
    for session in 1..=10 {
        b.end(session, Err(ServiceErrorKind::Unreachable));
        b.wait_until(b.now + 20_000);
        troubles += b.out().matches("<trouble").count();
    }
    assert!((3..=4).contains(&troubles), "{troubles} warnings in 200 s");
}

#[test]
fn wrong_configuration_is_an_error() {
    for (kind, error) in
        [(ServiceErrorKind::Invalid, true), (ServiceErrorKind::NotAuthorized, false)]
    {
        let (mut b, v) = sent(Config::default(), 1);
        b.end(1, Err(kind));
        assert_eq!(b.out().contains("<error"), error, "{kind:?}");
        assert_eq!(b.push(v, 40, false) == PushOutcome::Dropped(DropCause::Stopped), error);
    }
}

#[test]
fn without_restart_on_error_trouble_is_an_error() {
    let (mut b, v) = sent(Config { restart_on_error: false, ..Config::default() }, 1);
    b.end(1, Err(ServiceErrorKind::Cut));
    assert_eq!(b.out(), "<error Cut>");
    b.producer.end_of_stream(b.mono(), v);
    assert_eq!(b.out(), "<drained 1>");
}

#[test]
fn an_overdue_answer_ends_the_session() {
    let bench = Bench { deaf: true, ..Bench::new(Config::default()) };
    let (mut b, _) = sent_to(bench, 2);
    b.ack(1, "B", 0);
    b.wait_until(59_999);
    assert_eq!(b.out(), "1:]");
    b.wait_until(60_000);
    assert_eq!(b.out(), "abort 1 <trouble Timeout>");
}

#[test]
fn an_old_session_is_replaced_at_a_cut_and_overlaps() {
    let age = std::time::Duration::from_secs(3);
    let (mut b, v) = sent(Config { session_age: age, ..Config::default() }, 1);
    b.play(v, 1000..3001, 1000, 1);
    assert_eq!(b.out(), "1:[1000 1:1000k 1:[2000 1:2000k 1:] open 2@3000 2:V 2:[3000 1:3000k");
    b.push(v, 3500, false);
    for fragment in [0, 1000, 2000] {
        b.ack(1, "P", fragment);
    }
    assert_eq!(b.out(), "1:end 1:3500");
    b.end(1, Ok(()));
    assert_eq!(b.out(), "");
}

#[test]
fn a_successor_sends_nothing_before_its_predecessor_is_read() {
    let age = std::time::Duration::from_secs(1);
    let config = Config { session_age: age, ..Config::default() };
    let bench = Bench { deaf: true, ..Bench::new(config) };
    let (mut b, v) = sent_to(bench, 1);
    b.push(v, 1000, true);
    assert_eq!(b.out(), "1:[1000 1:1000k");
    b.wait_until(1000);
    b.push(v, 2000, true);
    assert_eq!(b.out(), "1:] open 2@2000");
    b.ack(1, "B", 0);
    assert_eq!(b.out(), "");
    b.ack(1, "B", 1000);
    assert_eq!(b.out(), "2:V 2:[2000 1:2000k");
}

#[test]
fn a_refused_overlap_waits_and_is_remembered() {
    let age = std::time::Duration::from_secs(1);
    let (mut b, v) = sent(Config { session_age: age, ..Config::default() }, 1);
    b.play(v, 1000..1001, 1, 1);
    assert_eq!(b.out(), "1:] open 2@1000 2:V 2:[1000 1:1000k");
    b.end(2, Err(ServiceErrorKind::ConnectionLimit));
    b.wait_until(1500);
    assert_eq!(b.out(), "", "no warning, no second try beside the first session");
    b.ack(1, "P", 0);
    assert_eq!(b.out(), "1:end");
    b.end(1, Ok(()));
    assert_eq!(b.out(), "open 3@1000 3:V 3:[1000 1:1000k");
    b.play(v, 2600..2601, 1, 1);
    assert_eq!(b.out(), "3:]", "the next rotation does not overlap");
}

#[test]
fn a_failing_predecessor_takes_its_successor_along() {
    let age = std::time::Duration::from_secs(1);
    let (mut b, v) = sent(Config { session_age: age, ..Config::default() }, 1);
    b.play(v, 1000..1001, 1, 1);
    b.out();
    b.end(1, Err(ServiceErrorKind::Cut));
    b.wait_until(1200);
    assert_eq!(b.out(), "abort 2 open 3@0 <trouble Cut> 3:V 3:[0 1:0k 3:[1000 1:1000k");
}

#[test]
fn the_end_waits_for_the_last_fragment() {
    let (mut b, v) = sent(Config::default(), 2);
    b.producer.end_of_stream(b.mono(), v);
    assert_eq!(b.out(), "1:]");
    b.ack(1, "P", 0);
    assert_eq!(b.out(), "");
    b.ack(1, "P", 1000);
    assert_eq!(b.out(), "1:end");
    b.end(1, Ok(()));
    assert_eq!(b.out(), "<drained 0>");
}

#[test]
fn the_end_of_one_pad_is_not_the_end() {
    let mut b = Bench::new(Config::default());
    let (v, a) = (b.video(), b.audio());
    b.push(v, 0, true);
    b.push(a, 0, true);
    b.producer.end_of_stream(b.mono(), a);
    b.push(v, 1000, true);
    assert_eq!(b.out(), "open 1@0 1:V,A 1:[0 1:0k 2:0k 1:] open 2@1000 2:V 2:[1000 1:1000k");
}

#[test]
fn the_end_without_media_comes_at_once() {
    let mut b = Bench::new(Config::default());
    let v = b.video();
    b.producer.end_of_stream(b.mono(), v);
    assert_eq!(b.out(), "<drained 0>");
}

#[test]
fn the_end_has_a_deadline() {
    let (mut b, v) = sent(Config::default(), 2);
    b.producer.end_of_stream(b.mono(), v);
    b.out();
    b.wait_until(59_000);
    b.ack(1, "B", 0);
    b.wait_until(119_999);
    assert!(!b.out().contains("drained"));
    b.wait_until(120_000);
    let out = b.out();
    assert!(out.contains("<drained 2>"), "{out}");
}

#[test]
fn frames_after_the_end_take_it_back() {
    let (mut b, v) = sent(Config::default(), 1);
    b.producer.end_of_stream(b.mono(), v);
    b.out();
    b.push(v, 1000, true);
    b.ack(1, "P", 0);
    b.end(1, Ok(()));
    let out = b.out();
    assert!(!out.contains("drained") && out.contains("1000k"), "{out}");
}

#[test]
fn a_full_spool_makes_the_pad_wait() {
    let config = Config { on_full: OnFull::Block, storage_bytes: 3000, ..Config::default() };
    let (mut b, v) = sent(config, 1);
    b.payload = 1000;
    assert_eq!(b.push(v, 1000, true), PushOutcome::Accepted);
    assert_eq!(b.push(v, 2000, true), PushOutcome::Full);
    assert!(!b.producer.has_room());
    b.out();
    b.ack(1, "P", 0);
    assert!(b.producer.has_room());
    assert_eq!(b.push(v, 2000, true), PushOutcome::Accepted);
    assert_eq!(b.push(v, 3000, true), PushOutcome::Full);
}

#[test]
fn one_fragment_larger_than_the_spool_does_not_block_for_ever() {
    let config = Config { on_full: OnFull::Block, storage_bytes: 1000, ..Config::default() };
    let (mut b, v) = sent(config, 1);
    b.payload = 2000;
    for time in [100, 200, 300] {
        assert_eq!(b.push(v, time, false), PushOutcome::Accepted);
    }
}

#[test]
fn the_oldest_whole_fragment_makes_room() {
    let config = Config { storage_bytes: 5000, ..Config::default() };
    let mut b = Bench::new(config);
    let v = b.video();
    b.payload = 700;
    for time in [0, 500, 1000, 1500, 2000, 2500] {
        assert_eq!(b.push(v, time, time % 1000 == 0), PushOutcome::Accepted);
    }
    assert_eq!(b.out(), "open 1@0 <2 Full> 1:V 1:[1000 1:1000k 1:1500 1:[2000 1:2000k 1:2500");
}

#[test]
fn drop_newest_drops_up_to_a_key_frame() {
    let config = Config { on_full: OnFull::DropNewest, storage_bytes: 2400, ..Config::default() };
    let mut b = Bench::new(config);
    let v = b.video();
    b.payload = 700;
    let full = PushOutcome::Dropped(DropCause::Full);
    let outcomes = [(0, true), (500, false), (1000, false)].map(|(t, key)| b.push(v, t, key));
    assert_eq!(outcomes, [PushOutcome::Accepted, PushOutcome::Accepted, full]);
    b.out();
    b.ack(1, "P", 0);
    assert_eq!(b.push(v, 1500, false), full, "room, but nothing decodes here");
    assert_eq!(b.push(v, 2000, true), PushOutcome::Accepted);
}
