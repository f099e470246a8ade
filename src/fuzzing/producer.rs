// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any calls in any order on kvssink's machine.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    ids::FragmentNumber,
    mkv::{EventKind, Reader},
    producer::{
        Action, Config, Event, InputFrame, OnFull, PadId, Payload, Persistence, Producer,
        PushOutcome, SessionId, TrackDescription, Transmit, limit,
    },
    time::{Monotonic, Timestamp, TimestampScale},
    track::{AudioFormat, TrackKind, VideoFormat},
    wire::{ServiceError, ServiceErrorKind, ack::AckEvent},
};

/// The producer: its invariants hold after every call, bodies are Matroska whatever the timestamps
/// and acks, memory stays near its budget, and time passes (no timeout falls due for ever).
///
/// The first three bytes choose the configuration; every further four are a call.
pub fn producer(input: &[u8]) {
    let Some((&[policy, persistence, scale], calls)) = input.split_first_chunk() else { return };
    let config = Config {
        on_full: [OnFull::Block, OnFull::DropNewest, OnFull::DropOldest][usize::from(policy % 3)],
        persistence: [Persistence::Persisted, Persistence::Received, Persistence::SessionEnd]
            [usize::from(persistence % 3)],
        key_frame_fragmentation: policy < 128,
        storage_bytes: 20_000,
        scale: TimestampScale::from_nanos(10u64.pow(u32::from(scale % 10))).expect("not zero"),
        session_age: Duration::from_secs(30),
        ..Config::default()
    };
    let mut calls_left = calls;
    let mut run = Run::new(config);
    while let Some((&[call, a, b, c], rest)) = calls_left.split_first_chunk() {
        calls_left = rest;
        run.call(call, a, b, c);
        run.settle();
    }
    run.finish();
}

struct Run {
    producer: Producer,
    budget: usize,
    now: Monotonic,
    time: u64,
    pads: Vec<PadId>,
    sessions: BTreeMap<SessionId, (Reader, Vec<u64>)>,
    drained: bool,
}

impl Run {
    fn new(config: Config) -> Self {
        // A fragment larger than the budget is allowed when nothing else is held.
        let budget = config.storage_bytes + limit::FRAGMENT_BYTES;
        Self {
            producer: Producer::new(config),
            budget,
            now: Monotonic::default(),
            time: 1_000_000_000_000,
            pads: Vec::new(),
            sessions: BTreeMap::new(),
            drained: false,
        }
    }

    fn call(&mut self, call: u8, a: u8, b: u8, c: u8) {
        let pad = self.pads.get(usize::from(a) % self.pads.len().max(1)).copied();
        let session =
            self.sessions.keys().nth(usize::from(a) % self.sessions.len().max(1)).copied();
        match (call % 16, pad, session) {
            (0, ..) => self.pads.extend(self.producer.add_pad(self.now)),
            (1, Some(pad), _) => self.producer.set_track(self.now, pad, describe(b, c)),
            (2, Some(pad), _) if b < 32 => self.producer.remove_pad(self.now, pad),
            (3, Some(pad), _) => self.producer.end_of_stream(self.now, pad),
            (4, Some(pad), _) => self.producer.flush(self.now, pad),
            (5, Some(pad), _) => {
                let until = Timestamp::from_nanos(self.time.saturating_add(u64::from(b) << 24));
                self.producer.gap(self.now, pad, until);
            }
            (6, ..) if b < 8 => self.producer.stop(self.now),
            (7, ..) => self.pass(Duration::from_millis(u64::from(b) * u64::from(c))),
            (8, _, Some(session)) => self.ack(session, b, c),
            (9, _, Some(session)) => self.end(session, b),
            (10, _, Some(session)) => self.producer.session_started(self.now, session),
            (_, Some(pad), _) => self.push(pad, call, b, c),
            _ => {}
        }
    }

    fn push(&mut self, pad: PadId, call: u8, b: u8, c: u8) {
        // Mostly steps of up to a second; sometimes any jump, or none.
        self.time = match c {
            0..=7 => (u64::from(b) << 56) | 1 << 40,
            8..=15 => self.time.saturating_sub(u64::from(b) << 27),
            16..=31 => self.time,
            _ => self.time.saturating_add(u64::from(c) << 22),
        };
        let payload = vec![1; usize::from(b) * if call & 0x80 == 0 { 4 } else { 40 }];
        let frame = InputFrame {
            time: (call & 0x40 == 0 || c > 32).then(|| Timestamp::from_nanos(self.time)),
            arrival: Timestamp::from_nanos(self.time),
            duration: (b == 1).then(|| Duration::from_millis(20)),
            key: call & 0x30 != 0,
            payload: match b % 2 {
                0 => Payload::Copy(&payload),
                _ => Payload::Share(Bytes::from(payload.clone())),
            },
            pinned: payload.len(),
        };
        let outcome = self.producer.push_frame(self.now, pad, &frame);
        self.drained &= outcome != PushOutcome::Accepted;
    }

    fn ack(&mut self, session: SessionId, b: u8, c: u8) {
        let clusters = self.sessions.get(&session).map_or(&[][..], |(_, clusters)| clusters);
        let known = clusters.get(usize::from(b) % clusters.len().max(1)).copied();
        let timecode = known.filter(|_| c < 250).unwrap_or_else(|| u64::from(b));
        let number: FragmentNumber = "1".parse().expect("a digit");
        let ack = match c % 8 {
            0 | 1 => AckEvent::Buffering { timecode, number },
            2 | 3 => AckEvent::Received { timecode, number },
            4 | 5 => AckEvent::Persisted { timecode, number },
            6 => AckEvent::Idle { timecode: None },
            _ => AckEvent::Error {
                timecode: known.filter(|_| c < 128),
                number: None,
                id: 4000 + u32::from(b % 16),
                code: String::new(),
            },
        };
        self.producer.handle_ack(self.now, session, ack);
    }

    fn end(&mut self, session: SessionId, b: u8) {
        self.sessions.remove(&session);
        let kind = match b {
            0..=31 => ServiceErrorKind::ConnectionLimit,
            _ => ServiceErrorKind::Cut,
        };
        let error =
            ServiceError { operation: "PutMedia", kind, code: None, message: String::new() };
        let result = if b < 128 { Err(error) } else { Ok(()) };
        self.producer.session_ended(self.now, session, result);
    }

    /// Lets time pass with the timeouts that fall due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..10_000 {
            match self.producer.next_timeout().filter(|&due| due <= until) {
                Some(due) => {
                    self.now = self.now.max(due);
                    self.producer.handle_timeout(self.now);
                    self.settle();
                }
                None => {
                    self.now = until;
                    return;
                }
            }
        }
        panic!("a timeout falls due for ever");
    }

    fn settle(&mut self) {
        self.producer.check_invariants();
        self.poll();
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.pull(session);
            self.producer.check_invariants();
        }
        self.poll();
        let stats = self.producer.stats();
        assert!(stats.spooled_bytes <= self.budget, "{stats:?}");
    }

    fn poll(&mut self) {
        while let Some(action) = self.producer.poll_action() {
            match action {
                Action::AbortSession(id) => {
                    self.sessions.remove(&id);
                    self.producer.session_ended(self.now, id, Ok(()));
                }
                Action::OpenSession { id, .. } => {
                    self.sessions.insert(id, (Reader::default(), Vec::new()));
                }
            }
        }
        while let Some(event) = self.producer.poll_event() {
            self.drained |= matches!(event, Event::Drained(_));
        }
    }

    fn pull(&mut self, id: SessionId) {
        let mut pieces = VecDeque::new();
        let transmit = self.producer.poll_transmit(self.now, id, &mut pieces);
        let Some((reader, clusters)) = self.sessions.get_mut(&id) else { return };
        for piece in pieces {
            reader.push(piece);
        }
        while let Some(event) = reader.pull().expect("a body is Matroska") {
            if let EventKind::ClusterTimestamp(ticks) = event.kind {
                assert!(clusters.last().is_none_or(|&last| last < ticks), "4004");
                clusters.push(ticks);
            }
        }
        if transmit == Transmit::End {
            reader.finish().expect("a body ends between elements");
        }
    }

    /// Whatever was before, the end comes when the deadline passes.
    fn finish(&mut self) {
        self.producer.stop(self.now);
        self.settle();
        self.pass(Config::default().drain_timeout + Duration::from_secs(1));
        self.settle();
        assert!(self.drained, "the end was announced after the last frame");
    }
}

fn describe(b: u8, c: u8) -> TrackDescription {
    let kind = match b % 3 {
        0 => TrackKind::Video(VideoFormat::default()),
        1 => TrackKind::Audio(AudioFormat { sampling_hz: 8000.0, channels: 1, bit_depth: None }),
        _ => TrackKind::Data(33),
    };
    TrackDescription {
        kind,
        codec_id: "X".into(),
        codec_private: Some(Bytes::copy_from_slice(&[c % 4])),
        name: None,
        default_duration_ns: (c > 200).then_some(20_000_000),
        intra_only: c >= 128,
    }
}
