// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading a KVS stream: GetMedia responses in, tracks, fragments and frames out.
//!
//! The service ends every GetMedia response: after 3 s without media, after 45 minutes, or at any
//! fault. A [`Consumer`] is told what the responses bring and says what to do next; the frames come
//! out as one continuous stream, none lost and none twice. It is sans-IO: it opens no socket and
//! reads no clock, and needs neither GStreamer nor an async runtime.
//!
//! **The law: after every [`Consumer::handle`], call [`Consumer::poll`] until it gives `None`, and
//! do what it says. Then wait for the running response, or for [`Consumer::next_timeout`],
//! whichever comes first, and `handle` that. After [`Output::End`] or [`Output::Failed`] nothing
//! more happens.**
//!
//! ```
//! use bytes::Bytes;
//! use gstkvs::{
//!     consumer::{Config, Consumer, Input, Output},
//!     time::Monotonic,
//!     wire::get_media::StartSelector,
//! };
//!
//! # fn next_part_of_the_response() -> Option<Bytes> { None }
//! let now = Monotonic::from_nanos(0); // a real program reads its clock
//! let mut consumer = Consumer::new(Config::new(StartSelector::Earliest));
//! consumer.handle(now, Input::Start);
//! while let Some(output) = consumer.poll() {
//!     match output {
//!         Output::Open { selector, .. } => println!("send GetMedia from {selector:?}"),
//!         Output::Frame(frame) => println!("track {} at {}", frame.track, frame.pts),
//!         other => println!("{other:?}"),
//!     }
//! }
//! consumer.handle(now, Input::Opened);
//! while let Some(bytes) = next_part_of_the_response() {
//!     consumer.handle(now, Input::Bytes(bytes));
//!     while let Some(output) = consumer.poll() {
//!         println!("{output:?}");
//!     }
//! }
//! consumer.handle(now, Input::Ended);
//! ```
//!
//! | file | turns | into |
//! | --- | --- | --- |
//! | `session` | responses and time | what to open and when, notices, the end |
//! | [`cursor`] | fragments read | where the next session starts |
//! | [`reassembler`] | bytes | tracks, fragments, frames, faults |
//! | `recent` | frames | whether one was there before |

#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod cursor;
mod fragment;
pub mod reassembler;
mod recent;
mod session;
#[cfg(test)]
mod testing;

use std::time::Duration;

use bytes::Bytes;

pub use cursor::Cursor;
pub use fragment::{
    Completeness, Corrupt, CorruptCause, Counts, FragmentEnd, FragmentHead, FragmentStart,
};
pub use reassembler::{Piece, Reassembler};
pub use session::Consumer;

use crate::{
    frame::Frame,
    ids::FragmentNumber,
    time::Timestamp,
    track::Track,
    wire::{ServiceError, get_media::StartSelector},
};

/// What to read, and what to do when there is nothing to read.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to start.
    pub start: StartSelector,
    /// Frames whose producer time is this or later are not handed on; the end is reached when
    /// every track of a fragment is there, or a fragment starts there.
    pub end: Option<Timestamp>,
    /// The end is reached after this many whole fragments with media.
    pub num_fragments: Option<u64>,
    /// The stream does not exist.
    pub on_missing: Policy,
    /// No media came for [`Self::silence_timeout`].
    pub on_silence: Policy,
    /// How long no media is silence.
    pub silence_timeout: Duration,
    /// Seed of the jitter between tries.
    pub seed: u64,
}

impl Config {
    /// Reads from `start` on, for ever.
    pub fn new(start: StartSelector) -> Self {
        Self {
            start,
            end: None,
            num_fragments: None,
            on_missing: Policy::Wait,
            on_silence: Policy::Wait,
            silence_timeout: Duration::from_secs(3),
            seed: 0,
        }
    }
}

/// What to do when there is nothing to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// End with an error.
    Error,
    /// End as if the stream were over.
    End,
    /// Say so and try for ever.
    #[default]
    Wait,
}

/// What happened to a [`Consumer`].
#[derive(Clone, Debug)]
pub enum Input {
    /// The next part of the response's body.
    Bytes(Bytes),
    /// The response ended as it should.
    Ended,
    /// The request or the response failed.
    Failed(ServiceError),
    /// The service answered the request that [`Output::Open`] asked for.
    Opened,
    /// Whoever takes the frames held everything up until now; that was no silence.
    Resumed,
    /// Begin.
    Start,
    /// [`Consumer::next_timeout`] has come.
    Timeout,
}

/// What a [`Consumer`] says.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Drop the running request or response.
    Close,
    /// Nothing more will come, as configured.
    End(EndCause),
    /// Nothing more will come.
    Failed(Failure),
    /// A fragment is over.
    FragmentEnd(FragmentEnd),
    /// A fragment begins.
    FragmentStart(FragmentStart),
    /// The next frame of the running fragment, in the producer's order.
    Frame(Frame),
    /// Something an operator wants to know.
    Notice(Notice),
    /// Send GetMedia; answer with [`Input::Opened`] or [`Input::Failed`].
    Open {
        /// Where to start.
        selector: StartSelector,
        /// The data endpoint may have moved: ask for it again instead of using the known one.
        fresh_endpoint: bool,
    },
    /// A track is new, or its description changed.
    Track(Track),
}

/// Why nothing more comes although nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// [`Config::end`] is reached.
    EndTimestamp,
    /// The stream does not exist, and [`Config::on_missing`] is [`Policy::End`].
    Missing,
    /// [`Config::num_fragments`] were read.
    NumFragments,
    /// No media came, and [`Config::on_silence`] is [`Policy::End`].
    Silence,
}

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The stream does not exist, and [`Config::on_missing`] is [`Policy::Error`].
    Missing(ServiceError),
    /// The service refuses what was asked for; asking again cannot help.
    Refused(ServiceError),
    /// No media came for this long, and [`Config::on_silence`] is [`Policy::Error`].
    Silence(Duration),
}

/// Something an operator wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A fragment cannot be read as it should.
    Corrupt(Corrupt),
    /// The response ended inside a fragment, which will be read again.
    Cut {
        /// The fragment.
        number: Option<FragmentNumber>,
        /// Its frames that were handed on.
        frames: u64,
    },
    /// The stream does not exist. Said once, until it exists.
    Missing {
        /// It did exist: it was deleted while it was being read.
        deleted: bool,
    },
    /// The service does not know the place any more where reading should go on: reading goes on
    /// with the oldest fragment that is left.
    PlaceLost,
    /// A try failed; the next one comes after the delay.
    Retry {
        /// What failed.
        error: ServiceError,
        /// How long until the next try.
        delay: Duration,
        /// Failures in a row, this one included.
        failures: u32,
    },
    /// No media came for this long. Said once, until media comes.
    Silence(Duration),
}
