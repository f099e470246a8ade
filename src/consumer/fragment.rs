// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the service and the producer say about a fragment, beside its frames.

use std::{fmt, time::Duration};

use crate::{
    ids::{ContinuationToken, FragmentNumber, TrackNumber},
    mkv::{self, SimpleTag},
    time::Timestamp,
    wire::get_media::TagError,
};

/// What the service says before a fragment's media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentHead {
    /// Its number; a document that is no service's has none.
    pub number: Option<FragmentNumber>,
    /// When the service began to receive it.
    pub server: Option<Timestamp>,
    /// When its first frame was made.
    pub producer: Option<Timestamp>,
}

/// A fragment begins; its frames follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentStart {
    /// What the service says about it.
    pub head: FragmentHead,
    /// Producer time of its cluster: no frame of a well-made fragment is earlier.
    pub start: Timestamp,
    /// It does not follow the frames before it: it is the first one, something was lost, or the
    /// producer's time went back or jumped ahead by more than two seconds.
    pub discont: bool,
}

/// A fragment is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentEnd {
    /// What the service said about it.
    pub head: FragmentHead,
    /// Where to go on after it.
    pub token: Option<ContinuationToken>,
    /// How far it is behind the live edge.
    pub behind_now: Option<Duration>,
    /// The producer's tags that stood in its document, in order.
    pub tags: Vec<SimpleTag>,
    /// Whether all of it was read.
    pub completeness: Completeness,
    /// What came out of it, and what did not.
    pub counts: Counts,
}

/// Frames of a fragment, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed on.
    pub frames: u64,
    /// Dropped as exact repeats of frames handed on before.
    pub repeats: u64,
    /// Dropped because they could not be placed: an undeclared track, an impossible time.
    pub unplaced: u64,
    /// Producer's tags over the bound, dropped.
    pub tags: u64,
}

/// Whether all of a fragment was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completeness {
    /// Its bytes are broken; the rest of it was skipped.
    Corrupt,
    /// The response ended inside it. It is read again.
    Cut,
    /// All of it.
    #[default]
    Whole,
}

/// A fragment that cannot be read as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The fragment, when its number came before the fault.
    pub number: Option<FragmentNumber>,
    /// What is wrong.
    pub cause: CorruptCause,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.number {
            Some(number) => write!(f, "fragment {number}: {}", self.cause),
            None => write!(f, "a fragment before its number: {}", self.cause),
        }
    }
}

/// What is wrong with a fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptCause {
    /// A block stands before its cluster's timestamp, so it has no time.
    #[error("a block stands before its cluster's timestamp")]
    NoClusterTime,
    /// Not Matroska. The rest of the fragment is skipped.
    #[error(transparent)]
    Matroska(#[from] mkv::Error),
    /// A tag of the service without sense. It is passed over.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// A frame's time is before 1970 or after 2554. The frame is dropped.
    #[error("a frame's time is outside 1970 to 2554")]
    Time,
    /// A frame of a track that its document does not declare. The frame is dropped.
    #[error("a frame of track {0}, which the fragment does not declare")]
    UndeclaredTrack(TrackNumber),
}
