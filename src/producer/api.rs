// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes into a producer and what comes out: values without behaviour.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{
    time::{Monotonic, Timestamp},
    track::TrackKind,
    wire::{ServiceError, ack::AckEvent},
};

/// One input of the producer; what an element calls a pad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PadId(pub(super) usize);

/// One PutMedia request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a pad's caps say.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackDescription {
    /// Video, audio or data.
    pub kind: TrackKind,
    /// Matroska codec id.
    pub codec_id: String,
    /// Codec private data.
    pub codec_private: Option<Bytes>,
    /// Track name.
    pub name: Option<String>,
    /// Duration of each frame in nanoseconds, when constant.
    pub default_duration_ns: Option<u64>,
    /// Every frame decodes on its own (audio, data, MJPEG, raw video): no need to cut at key
    /// frames.
    pub intra_only: bool,
}

/// The bytes of a frame.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// Copied once: for payloads below 4 kB, or whose memory must not be held.
    Copy(&'a [u8]),
    /// Held by reference until the fragment is safe.
    Share(Bytes),
}

impl Payload<'_> {
    /// Bytes of the payload.
    pub fn len(&self) -> usize {
        match self {
            Self::Copy(data) => data.len(),
            Self::Share(data) => data.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One frame as a pad got it.
#[derive(Clone, Debug)]
pub struct InputFrame<'a> {
    /// PTS mapped to wall clock: the wall-clock time of running time zero plus the running time.
    /// The mapping is made once per segment, never per frame. `None` without PTS.
    pub time: Option<Timestamp>,
    /// The same mapping applied to the running time of *now*; used when `time` is missing.
    pub arrival: Timestamp,
    /// How long it is shown, when known.
    pub duration: Option<Duration>,
    /// Decoding can start here.
    pub key: bool,
    /// The payload.
    pub payload: Payload<'a>,
    /// Bytes of memory a [`Payload::Share`] keeps alive (the memory's maxsize).
    pub pinned: usize,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The producer answers for it from now on.
    Accepted,
    /// Dropped, and counted in the next [`Event::Dropped`].
    Dropped(DropCause),
    /// Nothing was taken. Push the same frame again after anything was handed in by the driver or
    /// a timeout: while it waits, [`super::Producer::has_room`] says when.
    Full,
}

/// Why frames were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// Nothing decodes before the first key frame (or the first one after a pause of the track).
    BeforeKeyFrame,
    /// One frame is larger than a fragment may be.
    FrameTooLarge,
    /// The spool was full.
    Full,
    /// So late that its fragment was closed already.
    Late,
    /// The pad has no caps.
    NoCaps,
    /// The service will never take its fragment, for this error id.
    Rejected(u32),
    /// The producer gave up: see [`Event::Error`].
    Stopped,
    /// It waited too long for a session that declares its track.
    TrackAbsent,
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeKeyFrame => f.write_str("before the first key frame"),
            Self::FrameTooLarge => f.write_str("frame larger than a fragment may be"),
            Self::Full => f.write_str("spool full"),
            Self::Late => f.write_str("later than the fragment it belongs to"),
            Self::NoCaps => f.write_str("before caps"),
            Self::Rejected(id) => write!(f, "fragment refused by the service (error {id})"),
            Self::Stopped => f.write_str("after an error that ends the upload"),
            Self::TrackAbsent => f.write_str("no session could take its track in time"),
        }
    }
}

/// What the application and upstream should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Everything accepted is accounted for, after the end of all pads or [`super::Producer::stop`].
    Drained(Drained),
    /// Frames were dropped since the last such event.
    Dropped {
        /// Why.
        cause: DropCause,
        /// How many.
        frames: u64,
        /// Their payload bytes.
        bytes: u64,
    },
    /// Nothing further is sent: wrong configuration, or `restart_on_error` is off.
    Error(ServiceError),
    /// Ask upstream of this pad for a key frame.
    ForceKeyUnit(PadId),
    /// The service said something about a fragment.
    FragmentAck {
        /// The session it came from.
        session: SessionId,
        /// What it said.
        ack: AckEvent,
    },
    /// Something is wrong and is being dealt with. Rate-limited.
    Warning(Warning),
}

/// How the end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The deadline passed, or an error stopped the producer, with these frames not safe.
    pub undelivered_frames: u64,
    /// Frames dropped since the producer was made.
    pub dropped_frames: u64,
}

/// Trouble that is being dealt with.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// Realtime input runs more than a minute ahead of the clock.
    AheadOfClock,
    /// A session failed; the next one starts after `retry_in`.
    Disconnected {
        /// Why.
        error: ServiceError,
        /// When the next try starts.
        retry_in: Duration,
    },
    /// No key frame came in time: a fragment was cut at a delta frame.
    NoKeyFrame(PadId),
    /// Time jumped back on this pad; a new session takes the new time.
    TimeStep {
        /// The pad.
        pad: PadId,
        /// How far it jumped back.
        back: Duration,
    },
    /// A declared track stayed silent: the next session goes on without it.
    TrackSilent(PadId),
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Drop the request and its response at once.
    AbortSession(SessionId),
    /// Open a PutMedia request whose body is [`super::Producer::poll_transmit`].
    OpenSession {
        /// Its name in all further calls.
        id: SessionId,
        /// Producer time of its first fragment, for `x-amzn-producer-start-timestamp`.
        start: Timestamp,
        /// Whether acks are requested.
        acks: bool,
        /// The last try failed: describe the stream and resolve the endpoint again.
        fresh: bool,
    },
}

/// What a body does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// Fail the body, so that the request is aborted.
    Abort,
    /// Bytes were appended.
    Data,
    /// End the body cleanly.
    End,
    /// Nothing yet: ask again when anything was pushed or handed in.
    Wait,
}

/// Counts since the producer was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames that were accepted.
    pub accepted_frames: u64,
    /// Payload bytes of them.
    pub accepted_bytes: u64,
    /// Frames dropped after or instead of being accepted.
    pub dropped_frames: u64,
    /// Frames in fragments that are safe.
    pub persisted_frames: u64,
    /// Fragments that are safe.
    pub persisted_fragments: u64,
    /// Fragments held, the open one included.
    pub spooled_fragments: usize,
    /// Frames held.
    pub spooled_frames: u64,
    /// Bytes held, as pinned.
    pub spooled_bytes: usize,
    /// Bytes given to bodies, repeats included.
    pub transmitted_bytes: u64,
    /// Sessions opened.
    pub sessions: u64,
    /// Sessions that failed.
    pub failures: u64,
    /// When the last session failed.
    pub last_failure: Option<Monotonic>,
}
