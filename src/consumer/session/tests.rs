// SPDX-License-Identifier: MIT OR Apache-2.0
use super::{
    super::{FragmentHead, testing::*},
    *,
};
use crate::{time::Timestamp, wire::get_media::StartSelector};

const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Monotonic {
    Monotonic::from_nanos(ms * 1_000_000)
}

fn error(kind: ServiceErrorKind) -> ServiceError {
    ServiceError { operation: "GetMedia", kind, code: None, message: "scripted".into() }
}

fn drain(consumer: &mut Consumer) -> Vec<Output> {
    std::iter::from_fn(|| consumer.poll()).collect()
}

fn feed(consumer: &mut Consumer, ms: u64, input: Input) -> Vec<Output> {
    consumer.handle(at(ms), input);
    drain(consumer)
}

/// A consumer whose first session is open at time 0.
fn reading(config: Config) -> Consumer {
    let mut consumer = Consumer::new(config);
    let first = feed(&mut consumer, 0, Input::Start);
    assert!(matches!(first[..], [Output::Open { fresh_endpoint: false, .. }]), "{first:?}");
    assert_eq!(feed(&mut consumer, 0, Input::Opened), []);
    consumer
}

fn out_frames(outputs: &[Output]) -> Vec<(u64, u64, Vec<u8>)> {
    let frame = |output: &Output| match output {
        Output::Frame(frame) => Some(plain(frame)),
        _ => None,
    };
    outputs.iter().filter_map(frame).collect()
}

fn selector(outputs: &[Output]) -> Option<&StartSelector> {
    outputs.iter().find_map(|output| match output {
        Output::Open { selector, .. } => Some(selector),
        _ => None,
    })
}

fn notices(outputs: &[Output]) -> Vec<&Notice> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Notice(notice) => Some(notice),
            _ => None,
        })
        .collect()
}

fn config() -> Config {
    Config::new(StartSelector::Earliest)
}

fn token(made: &Made) -> StartSelector {
    StartSelector::ContinuationToken(made.token().parse().unwrap())
}

#[test]
fn goes_on_at_once_after_a_session_that_brought_something() {
    let mut consumer = reading(config());
    let out = feed(&mut consumer, 1, Input::Bytes(Made::nth(0).bytes()));
    assert_eq!(out_frames(&out), Made::nth(0).expected());
    let out = feed(&mut consumer, 2, Input::Ended);
    let expect = Output::Open { selector: token(&Made::nth(0)), fresh_endpoint: false };
    assert_eq!(out, [expect]);
}

#[test]
fn asks_again_at_once_after_an_idle_session_and_backs_off_after_a_refusal() {
    let mut consumer = reading(Config { silence_timeout: 60_000 * MS, ..config() });
    let out = feed(&mut consumer, 3000, Input::Ended);
    assert_eq!(selector(&out), Some(&StartSelector::Earliest));
    feed(&mut consumer, 3000, Input::Opened);
    assert_eq!(feed(&mut consumer, 3001, Input::Ended), []);
    let next = consumer.next_timeout().unwrap();
    assert!(next > at(3001) && next <= at(3201), "{next:?}");
    consumer.handle(next, Input::Timeout);
    assert!(matches!(drain(&mut consumer)[..], [Output::Open { .. }]));
}

#[test]
fn a_failure_is_said_and_tried_again_for_ever() {
    use ServiceErrorKind::*;
    let mut consumer = reading(config());
    let mut now = at(0);
    for (failures, kind) in
        [Unreachable, NotAuthorized, Throttled, Server, Cut, Credentials, ConnectionLimit, InUse]
            .into_iter()
            .enumerate()
    {
        consumer.handle(now, Input::Failed(error(kind)));
        let out = drain(&mut consumer);
        let [Notice::Retry { error, delay, failures: said }] = notices(&out)[..] else {
            panic!("{out:?}");
        };
        assert_eq!((error.kind, *said as usize), (kind, failures + 1));
        assert!(*delay <= Duration::from_secs(20));
        now = consumer.next_timeout().unwrap();
        consumer.handle(now, Input::Timeout);
        let out = drain(&mut consumer);
        let fresh = matches!(kind, Unreachable | NotAuthorized);
        assert!(
            matches!(out[..], [Output::Open { fresh_endpoint, .. }] if fresh_endpoint == fresh),
            "{kind:?}: {out:?}"
        );
    }
}

#[test]
fn a_missing_stream_is_said_once_and_read_from_its_first_byte() {
    let mut consumer = Consumer::new(Config::new(StartSelector::Now));
    feed(&mut consumer, 0, Input::Start);
    let out = feed(&mut consumer, 1, Input::Failed(error(ServiceErrorKind::NotFound)));
    assert_eq!(out, [Output::Notice(Notice::Missing { deleted: false })]);
    for _ in 0..20 {
        let due = consumer.next_timeout().unwrap();
        consumer.handle(due, Input::Timeout);
        let out = drain(&mut consumer);
        assert_eq!(selector(&out), Some(&StartSelector::Earliest));
        consumer.handle(due, Input::Failed(error(ServiceErrorKind::NotFound)));
        assert_eq!(drain(&mut consumer), []);
        assert!(consumer.next_timeout().unwrap() - due <= MISSING_DELAY);
    }
}

#[test]
fn a_deleted_stream_made_anew_is_read_although_its_numbers_start_over() {
    let mut consumer = reading(config());
    feed(&mut consumer, 1, Input::Bytes(Made::nth(900).bytes()));
    feed(&mut consumer, 2, Input::Ended);
    let out = feed(&mut consumer, 3, Input::Failed(error(ServiceErrorKind::NotFound)));
    assert_eq!(notices(&out), [&Notice::Missing { deleted: true }]);
    let due = consumer.next_timeout().unwrap();
    consumer.handle(due, Input::Timeout);
    let out = drain(&mut consumer);
    assert_eq!(selector(&out), Some(&StartSelector::Earliest));
    consumer.handle(due, Input::Opened);
    consumer.handle(due, Input::Bytes(Made { number: 1, ..Made::nth(950) }.bytes()));
    assert_eq!(out_frames(&drain(&mut consumer)), Made::nth(950).expected());
}

#[test]
fn missing_and_silence_end_as_configured() {
    let missing = || Input::Failed(error(ServiceErrorKind::NotFound));
    for (on_missing, expect) in [
        (Policy::End, Output::End(EndCause::Missing)),
        (Policy::Error, Output::Failed(Failure::Missing(error(ServiceErrorKind::NotFound)))),
    ] {
        let mut consumer = Consumer::new(Config { on_missing, ..config() });
        feed(&mut consumer, 0, Input::Start);
        assert_eq!(feed(&mut consumer, 1, missing()), [expect]);
        assert_eq!(consumer.next_timeout(), None);
        assert_eq!(feed(&mut consumer, 2, Input::Opened), []);
    }
    let three = Duration::from_secs(3);
    for (on_silence, expect) in [
        (Policy::End, Output::End(EndCause::Silence)),
        (Policy::Error, Output::Failed(Failure::Silence(three))),
    ] {
        let mut consumer = reading(Config { on_silence, ..config() });
        assert_eq!(consumer.next_timeout(), Some(at(3000)));
        assert_eq!(feed(&mut consumer, 3000, Input::Timeout), [Output::Close, expect]);
    }
}

#[test]
fn silence_is_counted_over_sessions_and_said_once() {
    let mut consumer = reading(config());
    feed(&mut consumer, 1000, Input::Bytes(Made::nth(0).bytes()));
    feed(&mut consumer, 2000, Input::Ended);
    feed(&mut consumer, 2000, Input::Opened);
    let out = feed(&mut consumer, 4000, Input::Timeout);
    assert_eq!(notices(&out), [&Notice::Silence(Duration::from_secs(3))]);
    assert_eq!(feed(&mut consumer, 9000, Input::Timeout), []);
    feed(&mut consumer, 9500, Input::Bytes(Made::nth(1).bytes()));
    let out = feed(&mut consumer, 12_500, Input::Timeout);
    assert_eq!(notices(&out).len(), 1, "media came in between");
}

#[test]
fn neither_a_blocked_taker_nor_a_failing_service_is_silence() {
    let mut consumer = reading(Config { on_silence: Policy::End, ..config() });
    feed(&mut consumer, 60_000, Input::Resumed);
    assert_eq!(feed(&mut consumer, 60_001, Input::Timeout), []);
    feed(&mut consumer, 60_002, Input::Failed(error(ServiceErrorKind::Unreachable)));
    let out = feed(&mut consumer, 90_000, Input::Timeout);
    assert!(matches!(out[..], [Output::Open { .. }]), "{out:?}");
    let mut consumer = reading(Config { on_silence: Policy::End, ..config() });
    let bytes = Made::nth(0).bytes();
    feed(&mut consumer, 2000, Input::Bytes(bytes.slice(..bytes.len() / 2)));
    assert_eq!(consumer.next_timeout(), Some(at(5000)), "counted from the last byte");
}

#[test]
fn a_response_that_stalls_is_dropped() {
    let mut consumer = reading(config());
    feed(&mut consumer, 3000, Input::Timeout);
    assert_eq!(consumer.next_timeout(), Some(at(0) + STALL));
    let out = feed(&mut consumer, 30_000, Input::Timeout);
    assert!(
        matches!(&out[..], [Output::Close, Output::Notice(Notice::Retry { error, .. })]
            if error.kind == ServiceErrorKind::Timeout),
        "{out:?}"
    );
}

#[test]
fn a_refused_selector_is_the_end_and_a_lost_place_is_not() {
    let refusal = || Input::Failed(error(ServiceErrorKind::Invalid));
    let mut consumer = Consumer::new(config());
    feed(&mut consumer, 0, Input::Start);
    let out = feed(&mut consumer, 1, refusal());
    assert!(matches!(out[..], [Output::Failed(Failure::Refused(_))]), "{out:?}");

    let mut consumer = reading(config());
    feed(&mut consumer, 1, Input::Bytes(Made::nth(0).bytes()));
    feed(&mut consumer, 2, Input::Ended);
    assert_eq!(notices(&feed(&mut consumer, 3, refusal())), [&Notice::PlaceLost]);
    let due = consumer.next_timeout().unwrap();
    consumer.handle(due, Input::Timeout);
    assert_eq!(selector(&drain(&mut consumer)), Some(&StartSelector::Earliest));
}

#[test]
fn an_error_tag_is_a_failure_of_its_kind() {
    let tagged = |id| {
        let failed =
            crate::wire::get_media::ChunkTags::Failed { number: None, id, message: "E".into() };
        let empty = Made { frames: Vec::new(), ..Made::nth(1) }.bytes();
        let head = empty.windows(4).position(|w| w == [0x12, 0x54, 0xC3, 0x67]).unwrap();
        Bytes::from([&empty[..head], &tags(&failed.to_simple_tags())[..]].concat())
    };
    let mut consumer = reading(config());
    feed(&mut consumer, 1, Input::Bytes(tagged(4500)));
    let out = feed(&mut consumer, 1, Input::Ended);
    let [Notice::Retry { error, .. }] = notices(&out)[..] else { panic!("{out:?}") };
    assert_eq!(error.kind, ServiceErrorKind::NotAuthorized);
    assert!(error.to_string().contains("KMS"), "{error}");
    let mut consumer = reading(config());
    feed(&mut consumer, 1, Input::Bytes(tagged(4000)));
    let out = feed(&mut consumer, 1, Input::Ended);
    assert!(matches!(out[..], [Output::Failed(Failure::Refused(_))]), "{out:?}");
}

#[test]
fn ends_after_whole_fragments_with_media() {
    let mut consumer = reading(Config { num_fragments: Some(3), ..config() });
    let (first, second, third) = (Made::nth(0), Made::nth(1), Made::nth(2));
    let empty = Made { number: 1001, frames: Vec::new(), ..first.clone() };
    let second = Made { number: 1002, ..second };
    let again = first.sent_again(1003);
    let body = [first.bytes(), empty.bytes(), second.bytes(), again.bytes()].concat();
    let mut out = feed(&mut consumer, 1, Input::Bytes(body.into()));
    let third = Made { number: 1004, ..third };
    let bytes = third.bytes();
    let half = bytes.len() / 2;
    out.extend(feed(&mut consumer, 1, Input::Bytes(bytes.slice(..half))));
    out.extend(feed(&mut consumer, 2, Input::Failed(error(ServiceErrorKind::Cut))));
    assert!(!out.contains(&Output::Close), "two so far");
    let due = consumer.next_timeout().unwrap();
    consumer.handle(due, Input::Timeout);
    consumer.handle(due, Input::Opened);
    consumer.handle(due, Input::Bytes([bytes, Made::nth(9).bytes()].concat().into()));
    out.extend(drain(&mut consumer));
    let last = &out[out.len() - 2..];
    assert_eq!(last, [Output::Close, Output::End(EndCause::NumFragments)]);
    let expect: Vec<_> = [first, second, third].iter().flat_map(Made::expected).collect();
    assert_eq!(out_frames(&out), expect);
}

#[test]
fn ends_when_every_track_is_at_the_end_timestamp() {
    let ends_at = |ms: u64| Timestamp::from_millis(EPOCH_MS + ms);
    let mut made = Made::nth(0);
    made.tracks.push(audio(2));
    made.frames.insert(9, (2, 820, b"sound".to_vec()));
    let mut consumer = reading(Config { end: ends_at(850), ..config() });
    let out = feed(&mut consumer, 1, Input::Bytes(made.bytes()));
    let expect: Vec<_> =
        made.expected().into_iter().filter(|(_, ms, _)| *ms < EPOCH_MS + 850).collect();
    assert_eq!(out_frames(&out), expect, "the sound comes after the last picture");
    assert!(out.contains(&Output::FragmentEnd(FragmentEnd {
        head: FragmentHead {
            number: Some("1000".parse().unwrap()),
            server: Timestamp::from_millis(made.server_ms),
            producer: Timestamp::from_millis(made.start_ms),
        },
        token: Some(made.token().parse().unwrap()),
        behind_now: Some(5 * MS),
        counts: Counts { frames: 11, ..Counts::default() },
        ..FragmentEnd::default()
    })));
    let out = feed(&mut consumer, 2, Input::Bytes(Made::nth(1).bytes()));
    assert_eq!(out, [Output::Close, Output::End(EndCause::EndTimestamp)]);

    let mut consumer = reading(Config { end: ends_at(500), ..config() });
    let out = feed(&mut consumer, 1, Input::Bytes(Made::nth(0).bytes()));
    assert_eq!(out_frames(&out), Made::nth(0).expected()[..5]);
    assert_eq!(out.last(), Some(&Output::End(EndCause::EndTimestamp)), "without waiting for more");
}

/// A service with a script of faults, and time that the test owns.
struct Service {
    random: fastrand::Rng,
    fragments: Vec<Made>,
    now: Monotonic,
    faults: u32,
}

impl Service {
    /// What GetMedia sends from `selector` on.
    fn body(&mut self, selector: &StartSelector) -> Bytes {
        let fragments = &self.fragments;
        let after = |test: &dyn Fn(&Made) -> bool| {
            fragments.iter().position(test).expect("a place that was given out") + 1
        };
        let from = match selector {
            StartSelector::Earliest => 0,
            StartSelector::Now => fragments.len() / 3,
            StartSelector::ContinuationToken(token) => {
                // Inclusive now and then.
                after(&|f| f.token() == token.as_str()) - self.random.usize(..2)
            }
            StartSelector::FragmentNumber(n) => after(&|f| f.number.to_string() == n.as_str()),
            StartSelector::ServerTimestamp(time) => {
                let first = fragments.iter().position(|f| f.server_ms >= time.as_millis());
                first.unwrap().saturating_sub(self.random.usize(..2))
            }
            StartSelector::ProducerTimestamp(_) => unreachable!("nobody asked"),
        };
        fragments[from..].iter().map(Made::bytes).collect::<Vec<_>>().concat().into()
    }

    /// One session; what the consumer said.
    fn serve(&mut self, consumer: &mut Consumer, selector: &StartSelector) -> Vec<Output> {
        if self.random.u8(..) < 50 {
            self.faults += 1;
            let kinds = [ServiceErrorKind::Server, ServiceErrorKind::Unreachable];
            let kind = kinds[self.random.usize(..2)];
            return self.tell(consumer, Input::Failed(error(kind)));
        }
        let mut body = self.body(selector);
        let mut out = self.tell(consumer, Input::Opened);
        let cut = if self.random.bool() { self.random.usize(..=body.len()) } else { body.len() };
        body.truncate(cut);
        while !body.is_empty() && !out.contains(&Output::Close) {
            let part = body.split_to(self.random.usize(1..=body.len().min(900)));
            out.extend(self.tell(consumer, Input::Bytes(part)));
        }
        self.faults += 1;
        let last = if self.random.bool() {
            Input::Ended
        } else {
            Input::Failed(error(ServiceErrorKind::Cut))
        };
        out.extend(self.tell(consumer, last));
        out
    }

    fn tell(&mut self, consumer: &mut Consumer, input: Input) -> Vec<Output> {
        self.now = self.now + self.random.u32(..40) * MS;
        consumer.handle(self.now, input);
        drain(consumer)
    }
}

/// The law: whatever the service does, every frame from the start on comes out once, in order.
#[test]
fn every_frame_once_whatever_the_service_does() {
    let mut faults = 0;
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.u64(4..16);
        let fragments: Vec<_> = (0..count)
            .map(|n| Made { tail: random.u8(..) < 230 || n + 1 == count, ..Made::nth(n) })
            .collect();
        let start = if random.bool() { StartSelector::Now } else { StartSelector::Earliest };
        let first = if start == StartSelector::Now { fragments.len() / 3 } else { 0 };
        let expect: Vec<_> = fragments[first..].iter().flat_map(Made::expected).collect();
        let num_fragments = Some((fragments.len() - first) as u64);
        let mut consumer = Consumer::new(Config { num_fragments, ..Config::new(start) });
        let mut service = Service { random, fragments, now: at(1), faults: 0 };

        let mut log = service.tell(&mut consumer, Input::Start);
        let mut fresh = log.clone();
        while !matches!(log.last(), Some(Output::End(_))) {
            fresh = match selector(&fresh) {
                Some(selector) => service.serve(&mut consumer, selector),
                None => {
                    service.now = consumer.next_timeout().expect("it waits for something");
                    service.tell(&mut consumer, Input::Timeout)
                }
            };
            log.extend(fresh.iter().cloned());
            assert!(log.len() < 20_000, "seed {seed} does not end");
        }
        assert_eq!(out_frames(&log), expect, "seed {seed}");
        let balance = log.iter().fold(0i32, |open, output| match output {
            Output::FragmentStart(_) => open + 1,
            Output::FragmentEnd(_) => open - 1,
            _ => open,
        });
        assert_eq!(balance, 0, "seed {seed}: every start has an end");
        faults += service.faults;
    }
    assert!(faults > 600, "only {faults} sessions failed or ended: the test proves nothing");
}
