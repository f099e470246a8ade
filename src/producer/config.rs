// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a producer is told once, and the limits the service sets.

use std::time::Duration;

use crate::time::TimestampScale;

/// Limits of PutMedia. Source: KVS API PutMedia; protocol quotas.
pub mod limit {
    use std::time::Duration;

    /// Longest time between two cuts. The service refuses fragments over 20 s (4002); one second
    /// is left for the last frame's own duration.
    pub const CUT: Duration = Duration::from_secs(19);
    /// Bytes of one fragment at the most. The service refuses more than 50 MB (4001); what is left
    /// is more than the header, tags and block headers can take.
    pub const FRAGMENT_BYTES: usize = 49_000_000;
    /// Tracks of one session (4012).
    pub const TRACKS: usize = 3;
    /// Shortest time between two cuts.
    pub const MIN_CUT: Duration = Duration::from_secs(1);
    /// A second request for a key frame follows the first one after this.
    pub const KEY_UNIT_RETRY: Duration = Duration::from_secs(1);
    /// Other tracks have this long to show up before the first session starts without them.
    pub const GATHER: Duration = Duration::from_secs(1);
    /// A track that left comes back at most once in this time.
    pub const REJOIN: Duration = Duration::from_secs(10);
    /// A frame that is later than the last cut by no more than this moves up to the cut.
    pub const LATE: Duration = Duration::from_secs(1);
}

/// What happens when the spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The pad waits ([`super::PushOutcome::Full`]).
    Block,
    /// The new frames are dropped, up to a frame that decoding can start at.
    DropNewest,
    /// The oldest whole fragments are dropped.
    DropOldest,
}

/// Which answer of the service makes a fragment safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// PERSISTED ack: the stream keeps data.
    Persisted,
    /// RECEIVED ack: the stream has retention 0.
    Received,
    /// The clean end of the response: no acks are requested.
    SessionEnd,
}

/// What a producer is told once. `Default` is what kvssink's properties default to.
#[derive(Clone, Debug)]
pub struct Config {
    /// WritingApp of the header.
    pub application: String,
    /// Nanoseconds per tick.
    pub scale: TimestampScale,
    /// Cut fragments of video at the next key frame (else at the first one after
    /// `fragment_duration`).
    pub key_frame_fragmentation: bool,
    /// Shortest fragment of media that can be cut anywhere, or without `key_frame_fragmentation`.
    pub fragment_duration: Duration,
    /// When a key frame is asked for, and when a silent track is given up.
    pub max_fragment_duration: Duration,
    /// After this long without any frame the fragment is completed.
    pub idle_end: Duration,
    /// What to do when the spool is full.
    pub on_full: OnFull,
    /// Bytes that may be held, as pinned.
    pub storage_bytes: usize,
    /// What makes a fragment safe. Changed by [`super::Producer::set_persistence`].
    pub persistence: Persistence,
    /// Trouble with the service ends in another try; otherwise in an error.
    pub restart_on_error: bool,
    /// An answer that is overdue for this long ends the session; zero: never.
    pub connection_staleness: Duration,
    /// How long the end waits for the last fragment to be safe.
    pub drain_timeout: Duration,
    /// A session this old is replaced at the next cut. The service ends it after 45 min.
    pub session_age: Duration,
    /// Randomness for back-off and segment ids.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            application: concat!("gst-plugin-kvs ", env!("CARGO_PKG_VERSION")).to_owned(),
            scale: TimestampScale::MILLISECOND,
            key_frame_fragmentation: true,
            fragment_duration: Duration::from_secs(2),
            max_fragment_duration: Duration::from_secs(10),
            idle_end: Duration::from_secs(2),
            on_full: OnFull::DropOldest,
            storage_bytes: 128 << 20,
            persistence: Persistence::Persisted,
            restart_on_error: true,
            connection_staleness: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(120),
            session_age: Duration::from_secs(40 * 60),
            seed: 0,
        }
    }
}
