// SPDX-License-Identifier: MIT OR Apache-2.0
//! One GetMedia session after another: open, read, go on where the last one ended.
//!
//! | a session ... | then |
//! | --- | --- |
//! | brought something new, and ended | the next one at once |
//! | brought nothing, and ended after its idle time | the next one at once |
//! | brought nothing, and ended at once | back-off, so that a service that refuses silently is not hammered |
//! | failed for now: network, throttling, 5xx, credentials | notice, back-off, for ever |
//! | failed: no such stream | [`Config::on_missing`]; asked for again every few seconds |
//! | failed: invalid, at a place of ours | notice, on with the oldest that is left |
//! | failed: invalid, at the caller's place | the end |
//! | neither brings bytes nor ends for [`STALL`] | dropped, as if the network had failed |

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    Completeness, Config, Counts, Cursor, EndCause, Failure, FragmentEnd, Input, Notice, Output,
    Piece, Policy, Reassembler, cursor::is_past, reassembler::MAX_TRACKS,
};
use crate::{
    frame::Frame,
    ids::TrackNumber,
    retry::Backoff,
    time::Monotonic,
    wire::{ServiceError, ServiceErrorKind},
};

/// A response without a byte for this long is dead. The service ends an idle one after about 3 s
/// and a fragment lasts at most 20 s, within which its producer may be silent.
const STALL: Duration = Duration::from_secs(30);
/// A session that brought nothing and lasted shorter than this was refused rather than idle.
const IDLE_SESSION: Duration = Duration::from_secs(1);
/// Longest delay between questions for a stream that does not exist.
const MISSING_DELAY: Duration = Duration::from_secs(3);
/// What errors made here name.
const OPERATION: &str = "GetMedia";
/// Error id of a tag: the requested fragment is not there. Source: KVS API GetMedia.
const FRAGMENT_NOT_FOUND: u32 = 4000;

/// The machine. See [the module](super) for its law.
#[derive(Debug)]
pub struct Consumer {
    config: Config,
    cursor: Cursor,
    reassembler: Reassembler,
    backoff: Backoff,
    state: State,
    out: VecDeque<Output>,
    /// Since when there was no media, while the service says so.
    quiet_since: Option<Monotonic>,
    silence_said: bool,
    missing_said: bool,
    /// The stream was there at least once.
    existed: bool,
    fresh_endpoint: bool,
    /// Whole fragments with media so far.
    fragments: u64,
    /// Frames of a cut fragment that were handed on, until a whole one follows.
    cut_frames: u64,
    /// The tracks, and whether they are at the end in the running fragment.
    past_end: Vec<(TrackNumber, bool)>,
}

#[derive(Debug)]
enum State {
    /// Before [`Input::Start`].
    New,
    /// Waiting for [`Input::Opened`].
    Opening { stall: Monotonic },
    /// Reading the response.
    Reading(Reading),
    /// Between sessions.
    Waiting { until: Monotonic },
    /// After [`Output::End`] or [`Output::Failed`].
    Done,
}

#[derive(Debug)]
struct Reading {
    since: Monotonic,
    stall: Monotonic,
    /// It brought a frame or a whole fragment.
    progress: bool,
    /// The service said in a tag that it failed.
    failed: Option<(u32, String)>,
}

impl Consumer {
    /// Before [`Input::Start`].
    pub fn new(config: Config) -> Self {
        Self {
            cursor: Cursor::new(config.start.clone()),
            reassembler: Reassembler::default(),
            backoff: Backoff::new(config.seed),
            state: State::New,
            out: VecDeque::new(),
            quiet_since: None,
            silence_said: false,
            missing_said: false,
            existed: false,
            fresh_endpoint: false,
            fragments: 0,
            cut_frames: 0,
            past_end: Vec::new(),
            config,
        }
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: Monotonic, input: Input) {
        match (&mut self.state, input) {
            (State::Done, _) => {}
            (State::New, Input::Start) => self.open(now),
            (State::Opening { .. }, Input::Opened) => self.opened(now),
            (State::Reading(reading), Input::Bytes(bytes)) => {
                reading.stall = now + STALL;
                self.read(now, bytes);
            }
            (State::Reading(_), Input::Ended) => self.ended(now),
            (State::Opening { .. } | State::Reading(_), Input::Failed(error)) => {
                self.end_session(now);
                self.failed(now, error);
            }
            (state, Input::Resumed) => {
                if let State::Opening { stall } | State::Reading(Reading { stall, .. }) = state {
                    *stall = now + STALL;
                }
                self.quiet_since = self.quiet_since.map(|_| now);
            }
            (_, Input::Timeout) => self.timeout(now),
            // An answer of a session that has been closed meanwhile.
            (
                _,
                Input::Bytes(_) | Input::Ended | Input::Failed(_) | Input::Opened | Input::Start,
            ) => {}
        }
    }

    /// The next thing to do or to take; `None` when it is time to wait.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn next_timeout(&self) -> Option<Monotonic> {
        let session = match &self.state {
            State::New | State::Done => return None,
            State::Opening { stall } | State::Reading(Reading { stall, .. }) => *stall,
            State::Waiting { until } => *until,
        };
        Some(self.silence_due().map_or(session, |due| due.min(session)))
    }

    fn silence_due(&self) -> Option<Monotonic> {
        let since = self.quiet_since.filter(|_| !self.silence_said)?;
        Some(since + self.config.silence_timeout)
    }

    fn timeout(&mut self, now: Monotonic) {
        if self.silence_due().is_some_and(|due| now >= due) {
            self.silent();
        }
        match self.state {
            State::Waiting { until } if now >= until => self.open(now),
            State::Opening { stall } | State::Reading(Reading { stall, .. }) if now >= stall => {
                self.out.push_back(Output::Close);
                self.end_session(now);
                self.failed(now, stalled());
            }
            State::New
            | State::Opening { .. }
            | State::Reading(_)
            | State::Waiting { .. }
            | State::Done => {}
        }
    }

    fn silent(&mut self) {
        self.silence_said = true;
        let after = self.config.silence_timeout;
        match self.config.on_silence {
            Policy::Wait => self.notice(Notice::Silence(after)),
            Policy::End => self.finish(Output::End(EndCause::Silence)),
            Policy::Error => self.finish(Output::Failed(Failure::Silence(after))),
        }
    }

    fn open(&mut self, now: Monotonic) {
        let fresh_endpoint = std::mem::take(&mut self.fresh_endpoint);
        self.out.push_back(Output::Open { selector: self.cursor.selector(), fresh_endpoint });
        self.state = State::Opening { stall: now + STALL };
    }

    fn opened(&mut self, now: Monotonic) {
        (self.existed, self.missing_said) = (true, false);
        self.quiet_since = self.quiet_since.or(Some(now));
        self.state = State::Reading(Reading {
            since: now,
            stall: now + STALL,
            progress: false,
            failed: None,
        });
    }

    fn read(&mut self, now: Monotonic, bytes: Bytes) {
        self.reassembler.push(bytes);
        while let State::Reading(_) = self.state {
            let Some(piece) = self.reassembler.pull(&self.cursor) else { break };
            if matches!(piece, Piece::Frame(_)) {
                self.silence_said = false;
                self.quiet_since = Some(now);
            }
            self.take(piece);
        }
        // A frame that takes long to arrive is no silence either.
        if self.reassembler.is_inside_fragment() {
            self.quiet_since = Some(now);
        }
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Corrupt(corrupt) => self.notice(Notice::Corrupt(corrupt)),
            Piece::End(end) => self.take_end(end),
            Piece::Failed { id, message } => {
                if let State::Reading(reading) = &mut self.state {
                    reading.failed = Some((id, message));
                }
            }
            Piece::Frame(frame) => self.take_frame(frame),
            Piece::Start(start) => {
                self.cursor.fragment_started(&start.head);
                self.past_end.iter_mut().for_each(|(_, at_end)| *at_end = false);
                if is_past(self.config.end, start.start) {
                    self.finish(Output::End(EndCause::EndTimestamp));
                } else {
                    self.out.push_back(Output::FragmentStart(start));
                }
            }
            Piece::Track(track) => {
                if self.past_end.len() >= MAX_TRACKS {
                    self.past_end.clear();
                }
                self.past_end.retain(|(number, _)| *number != track.number);
                self.past_end.push((track.number, false));
                self.out.push_back(Output::Track(track));
            }
        }
    }

    fn take_frame(&mut self, frame: Frame) {
        self.progress();
        if !is_past(self.config.end, frame.pts) {
            self.out.push_back(Output::Frame(frame));
            return;
        }
        let this = self.past_end.iter_mut().filter(|(track, _)| *track == frame.track);
        this.for_each(|(_, at_end)| *at_end = true);
        if self.past_end.iter().all(|(_, at_end)| *at_end) {
            self.finish(Output::End(EndCause::EndTimestamp));
        }
    }

    fn take_end(&mut self, end: FragmentEnd) {
        self.cursor.fragment_ended(&end);
        let Counts { frames, repeats, .. } = end.counts;
        match end.completeness {
            Completeness::Cut => {
                self.cut_frames += frames;
                self.notice(Notice::Cut { number: end.head.number.clone(), frames });
            }
            Completeness::Corrupt => self.progress(),
            Completeness::Whole => {
                // One whose frames were all there before is a producer's repetition, unless they
                // were a cut fragment's.
                let cut_frames = std::mem::take(&mut self.cut_frames);
                self.fragments += u64::from(frames > 0 || repeats.min(cut_frames) > 0);
                self.progress();
            }
        }
        self.out.push_back(Output::FragmentEnd(end));
        if self.config.num_fragments.is_some_and(|max| self.fragments >= max) {
            self.finish(Output::End(EndCause::NumFragments));
        }
    }

    fn progress(&mut self) {
        if let State::Reading(reading) = &mut self.state {
            reading.progress = true;
            self.backoff.succeed();
        }
    }

    /// The session is over, however it ended: takes what that cuts.
    fn end_session(&mut self, now: Monotonic) {
        self.reassembler.end_session();
        while let Some(piece) = self.reassembler.pull(&self.cursor) {
            self.take(piece);
        }
        if !matches!(self.state, State::Done) {
            self.wait(now, Duration::ZERO);
        }
    }

    fn ended(&mut self, now: Monotonic) {
        let State::Reading(reading) = &mut self.state else { return };
        let (since, progress, failed) = (reading.since, reading.progress, reading.failed.take());
        self.end_session(now);
        if matches!(self.state, State::Done) {
        } else if let Some((id, message)) = failed {
            self.failed(now, tagged_error(id, &message));
        } else if progress || now - since >= IDLE_SESSION {
            self.open(now);
        } else {
            let delay = self.backoff.fail();
            self.wait(now, delay);
        }
    }

    fn failed(&mut self, now: Monotonic, error: ServiceError) {
        if matches!(self.state, State::Done) {
            return;
        }
        self.quiet_since = None;
        match error.kind {
            ServiceErrorKind::NotFound => self.missing(now, error),
            ServiceErrorKind::Invalid => self.refused(now, error),
            ServiceErrorKind::ConnectionLimit
            | ServiceErrorKind::Credentials
            | ServiceErrorKind::Cut
            | ServiceErrorKind::InUse
            | ServiceErrorKind::NotAuthorized
            | ServiceErrorKind::Protocol
            | ServiceErrorKind::Server
            | ServiceErrorKind::Throttled
            | ServiceErrorKind::Timeout
            | ServiceErrorKind::Unreachable => self.retry(now, error),
        }
    }

    fn retry(&mut self, now: Monotonic, error: ServiceError) {
        self.fresh_endpoint |= endpoint_is_doubtful(error.kind);
        let delay = self.backoff.fail();
        self.notice(Notice::Retry { error, delay, failures: self.backoff.failures() });
        self.wait(now, delay);
    }

    fn missing(&mut self, now: Monotonic, error: ServiceError) {
        let deleted = std::mem::take(&mut self.existed);
        self.cursor.stream_missing();
        self.fresh_endpoint = true;
        match self.config.on_missing {
            Policy::Error => self.finish(Output::Failed(Failure::Missing(error))),
            Policy::End => self.finish(Output::End(EndCause::Missing)),
            Policy::Wait => {
                if !std::mem::replace(&mut self.missing_said, true) {
                    self.notice(Notice::Missing { deleted });
                }
                let delay = self.backoff.fail().min(MISSING_DELAY);
                self.wait(now, delay);
            }
        }
    }

    fn refused(&mut self, now: Monotonic, error: ServiceError) {
        if self.cursor.place_refused() {
            self.notice(Notice::PlaceLost);
            let delay = self.backoff.fail();
            self.wait(now, delay);
        } else {
            self.finish(Output::Failed(Failure::Refused(error)));
        }
    }

    fn wait(&mut self, now: Monotonic, delay: Duration) {
        self.state = State::Waiting { until: now + delay };
    }

    fn notice(&mut self, notice: Notice) {
        self.out.push_back(Output::Notice(notice));
    }

    fn finish(&mut self, last: Output) {
        if let State::Opening { .. } | State::Reading(_) = self.state {
            self.out.push_back(Output::Close);
        }
        self.out.push_back(last);
        self.state = State::Done;
    }
}

/// Failures after which the data endpoint is asked for again.
fn endpoint_is_doubtful(kind: ServiceErrorKind) -> bool {
    matches!(
        kind,
        ServiceErrorKind::NotAuthorized
            | ServiceErrorKind::Protocol
            | ServiceErrorKind::Timeout
            | ServiceErrorKind::Unreachable
    )
}

fn stalled() -> ServiceError {
    ServiceError {
        operation: OPERATION,
        kind: ServiceErrorKind::Timeout,
        code: None,
        message: format!("nothing came for {} s, not even an end", STALL.as_secs()),
    }
}

/// What an error tag inside a response says.
fn tagged_error(id: u32, message: &str) -> ServiceError {
    let (kind, remedy) = match id {
        FRAGMENT_NOT_FOUND => (ServiceErrorKind::Invalid, "choose a start that is still retained"),
        4500..=4599 => (
            ServiceErrorKind::NotAuthorized,
            "let the caller use the stream's KMS key (kms:Decrypt)",
        ),
        _ => (ServiceErrorKind::Server, "reading goes on by itself"),
    };
    ServiceError {
        operation: OPERATION,
        kind,
        code: Some(format!("error {id}")),
        message: format!("the service ended the response: {message}; {remedy}"),
    }
}

#[cfg(test)]
mod tests;
