// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scripts: what goes in at which time, and everything that comes out, as one line of words.
//!
//! `open 1`, `abort 1`: actions; `1:V,A` the header of session 1, `1:[0` a cluster at 0 ms,
//! `2:5k` a block of track 2 at 5 ms with the key flag, `1:]` END_OF_FRAGMENT, `1:end`, `1:cut` the end of
//! the body; events in angle brackets.

mod intake;
mod sessions;

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::{
    ids::FragmentNumber,
    mkv::{EventKind, Reader},
    track::{AudioFormat, TrackKind, VideoFormat},
    wire::ServiceErrorKind,
};

/// Producer time of 0 ms.
const EPOCH: u64 = 1_700_000_000_000;

struct Bench {
    producer: Producer,
    now: u64,
    names: Vec<SessionId>,
    readers: BTreeMap<SessionId, Reader>,
    cluster: u64,
    log: Vec<String>,
    payload: usize,
    /// The service does not say BUFFERING by itself.
    deaf: bool,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self {
            producer: Producer::new(config),
            now: 0,
            names: Vec::new(),
            readers: BTreeMap::new(),
            cluster: 0,
            log: Vec::new(),
            payload: 10,
            deaf: false,
        }
    }

    fn mono(&self) -> Monotonic {
        Monotonic::from_nanos(self.now * 1_000_000)
    }

    fn video(&mut self) -> PadId {
        self.pad("V", TrackKind::Video(VideoFormat { width: 16, height: 16 }), false)
    }

    fn audio(&mut self) -> PadId {
        let format = AudioFormat { sampling_hz: 8000.0, channels: 1, bit_depth: None };
        self.pad("A", TrackKind::Audio(format), true)
    }

    fn pad(&mut self, codec: &str, kind: TrackKind, intra_only: bool) -> PadId {
        let pad = self.producer.add_pad(self.mono()).unwrap();
        self.describe(pad, codec, kind, intra_only);
        pad
    }

    fn describe(&mut self, pad: PadId, codec: &str, kind: TrackKind, intra_only: bool) {
        let track = TrackDescription {
            kind,
            codec_id: codec.into(),
            codec_private: None,
            name: None,
            default_duration_ns: None,
            intra_only,
        };
        self.producer.set_track(self.mono(), pad, track);
    }

    /// One frame at `time` ms; the clock stands still.
    fn push(&mut self, pad: PadId, time: u64, key: bool) -> PushOutcome {
        let payload = vec![9; self.payload];
        let frame = InputFrame {
            time: Some(Timestamp::from_millis(EPOCH + time).unwrap()),
            arrival: Timestamp::from_millis(EPOCH + time).unwrap(),
            duration: None,
            key,
            payload: Payload::Copy(&payload),
            pinned: 0,
        };
        let outcome = self.producer.push_frame(self.mono(), pad, &frame);
        self.producer.check_invariants();
        outcome
    }

    /// Frames every `step` ms of the clock and of their times, a key frame every `gop` frames.
    fn play(&mut self, pad: PadId, times: std::ops::Range<u64>, step: usize, gop: usize) {
        for (count, time) in times.step_by(step).enumerate() {
            self.wait_until(time);
            self.push(pad, time, count % gop == 0);
            self.pull_all();
        }
    }

    /// Lets time pass, with the timeouts that fall due.
    fn wait_until(&mut self, time: u64) {
        while let Some(due) = self.producer.next_timeout() {
            let due = due.as_nanos().div_ceil(1_000_000);
            if due > time {
                break;
            }
            self.now = self.now.max(due);
            self.producer.handle_timeout(self.mono());
            self.producer.check_invariants();
        }
        self.now = self.now.max(time);
    }

    fn name(&self, session: usize) -> SessionId {
        self.names[session - 1]
    }

    fn ack(&mut self, session: usize, what: &str, time: u64) {
        let (timecode, number): (u64, FragmentNumber) = (EPOCH + time, "1".parse().unwrap());
        let ack = match what {
            "B" => AckEvent::Buffering { timecode, number },
            "R" => AckEvent::Received { timecode, number },
            "P" => AckEvent::Persisted { timecode, number },
            id => AckEvent::Error {
                timecode: (time < 1_000_000).then_some(timecode),
                number: None,
                id: id.parse().unwrap(),
                code: "TEST".into(),
            },
        };
        self.producer.handle_ack(self.mono(), self.name(session), ack);
        self.producer.check_invariants();
    }

    fn end(&mut self, session: usize, result: Result<(), ServiceErrorKind>) {
        let result = result.map_err(|kind| ServiceError {
            operation: "PutMedia",
            kind,
            code: None,
            message: "test".into(),
        });
        self.readers.remove(&self.name(session));
        self.producer.session_ended(self.mono(), self.name(session), result);
        self.producer.check_invariants();
    }

    /// Everything that came out since the last call; all bodies are pulled.
    fn out(&mut self) -> String {
        self.pull_all();
        self.log.drain(..).collect::<Vec<_>>().join(" ")
    }

    fn pull_all(&mut self) {
        loop {
            self.events();
            let before = self.log.len();
            for session in self.readers.keys().copied().collect::<Vec<_>>() {
                self.pull(session);
            }
            self.producer.check_invariants();
            if self.log.len() == before {
                break;
            }
        }
    }

    /// Actions and events; no body is pulled.
    fn events(&mut self) {
        while let Some(action) = self.producer.poll_action() {
            match action {
                Action::AbortSession(id) => {
                    self.readers.remove(&id);
                    self.log.push(format!("abort {id}"));
                }
                Action::OpenSession { id, start, .. } => {
                    self.names.push(id);
                    self.readers.insert(id, Reader::default());
                    self.log.push(format!("open {id}@{}", start.as_millis() - EPOCH));
                }
            }
        }
        while let Some(event) = self.producer.poll_event() {
            self.log.push(match event {
                Event::Drained(d) => format!("<drained {}>", d.undelivered_frames),
                Event::Dropped { cause, frames, .. } => format!("<{frames} {cause:?}>"),
                Event::Error(error) => format!("<error {:?}>", error.kind),
                Event::ForceKeyUnit(pad) => format!("<key {}>", pad.0),
                Event::FragmentAck { .. } => continue,
                Event::Warning(Warning::AheadOfClock) => "<ahead>".into(),
                Event::Warning(Warning::Disconnected { error, .. }) => {
                    format!("<trouble {:?}>", error.kind)
                }
                Event::Warning(Warning::NoKeyFrame(pad)) => format!("<no key {}>", pad.0),
                Event::Warning(Warning::TimeStep { pad, back }) => {
                    format!("<step {} {}>", pad.0, back.as_millis())
                }
                Event::Warning(Warning::TrackSilent(pad)) => format!("<silent {}>", pad.0),
            });
        }
    }

    fn pull(&mut self, session: SessionId) {
        let mut pieces = VecDeque::new();
        match self.producer.poll_transmit(self.mono(), session, &mut pieces) {
            Transmit::Wait => {}
            Transmit::Abort => {
                self.readers.remove(&session);
                self.log.push(format!("{session}:cut"));
            }
            Transmit::End => {
                self.readers.remove(&session);
                self.log.push(format!("{session}:end"));
            }
            Transmit::Data => {
                let reader = self.readers.get_mut(&session).unwrap();
                let mut begun = Vec::new();
                for piece in pieces {
                    reader.push(piece);
                }
                while let Some(event) = reader.pull().unwrap() {
                    if let EventKind::ClusterTimestamp(timecode) = event.kind {
                        begun.push(timecode);
                    }
                    self.log.extend(read(session, &event.kind, &mut self.cluster));
                }
                for timecode in begun.into_iter().filter(|_| !self.deaf) {
                    let ack = AckEvent::Buffering { timecode, number: "1".parse().unwrap() };
                    self.producer.handle_ack(self.mono(), session, ack);
                }
            }
        }
    }
}

fn read(session: SessionId, event: &EventKind, cluster: &mut u64) -> Option<String> {
    Some(match event {
        EventKind::Tracks(tracks) => {
            let codecs: Vec<_> = tracks.iter().map(|track| track.codec_id.as_str()).collect();
            format!("{session}:{}", codecs.join(","))
        }
        EventKind::ClusterTimestamp(ticks) => {
            *cluster = *ticks;
            format!("{session}:[{}", ticks - EPOCH)
        }
        EventKind::Block(block) => {
            let time = cluster.checked_add_signed(block.offset_ticks.into()).unwrap() - EPOCH;
            format!("{}:{time}{}", block.track, if block.key { "k" } else { "" })
        }
        EventKind::Tags(_) => format!("{session}:]"),
        _ => return None,
    })
}
