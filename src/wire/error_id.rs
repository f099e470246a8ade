// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every error id of a PutMedia ack: its name, what it means, and what a producer does about it.
//!
//! Sources: KVS API PutMedia; AWS's C producer (PIC) `Include.h` for 4507, `StreamEvent.c` for what
//! may be repeated.

/// One error id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorId {
    /// `ErrorId` in the ack.
    pub id: u32,
    /// `ErrorCode` in the ack.
    pub name: &'static str,
    /// What a producer does about it.
    pub retry: RetryClass,
    /// What it means, for humans.
    pub meaning: &'static str,
}

/// What a producer does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// Open a new session and send again what is not persisted.
    Replay,
    /// The service will never take this fragment: report it as dropped, go on with the next one.
    SkipFragment,
    /// The service takes nothing until somebody changes the stream, the key or the tracks.
    Stop,
}

const fn row(id: u32, name: &'static str, retry: RetryClass, meaning: &'static str) -> ErrorId {
    ErrorId { id, name, retry, meaning }
}

use RetryClass::{Replay, SkipFragment, Stop};

/// All of them, ascending.
pub const TABLE: [ErrorId; 23] = [
    row(4000, "STREAM_READ_ERROR", Replay, "the service could not read the upload"),
    row(4001, "MAX_FRAGMENT_SIZE_REACHED", SkipFragment, "the fragment is larger than 50 MB"),
    row(4002, "MAX_FRAGMENT_DURATION_REACHED", SkipFragment, "the fragment is longer than 20 s"),
    row(4003, "MAX_CONNECTION_DURATION_REACHED", Replay, "the session is older than 45 min"),
    row(
        4004,
        "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS",
        SkipFragment,
        "the fragment does not start after the previous one of the session",
    ),
    row(4005, "MORE_THAN_ONE_TRACK_FOUND", Stop, "only one track is allowed (no longer sent)"),
    row(4006, "INVALID_MKV_DATA", SkipFragment, "the service cannot parse the Matroska data"),
    row(4007, "INVALID_PRODUCER_TIMESTAMP", SkipFragment, "the producer timestamp is not valid"),
    row(4008, "STREAM_NOT_ACTIVE", Stop, "the stream is deleted or not active"),
    row(4009, "FRAGMENT_METADATA_LIMIT_REACHED", SkipFragment, "the fragment has too many tags"),
    row(4010, "TRACK_NUMBER_MISMATCH", SkipFragment, "a block's track is not in the header"),
    row(4011, "FRAMES_MISSING_FOR_TRACK", SkipFragment, "a declared track has no frame"),
    row(4012, "MORE_THAN_ALLOWED_TRACKS_FOUND", Stop, "the session has more than 3 tracks"),
    row(4500, "KMS_KEY_ACCESS_DENIED", Stop, "access to the stream's key is denied"),
    row(4501, "KMS_KEY_DISABLED", Stop, "the stream's key is disabled"),
    row(4502, "KMS_KEY_VALIDATION_ERROR", Stop, "the stream's key is not valid"),
    row(4503, "KMS_KEY_UNAVAILABLE", Stop, "the stream's key is not available"),
    row(4504, "KMS_KEY_INVALID_USAGE", Stop, "the stream's key is not for encryption"),
    row(4505, "KMS_KEY_INVALID_STATE", Stop, "the stream's key is in the wrong state"),
    row(4506, "KMS_KEY_NOT_FOUND", Stop, "the stream's key does not exist"),
    row(4507, "STREAM_DELETED", Stop, "the stream was deleted"),
    row(5000, "INTERNAL_ERROR", Replay, "the service failed"),
    row(5001, "ARCHIVAL_ERROR", Replay, "the service could not store the fragment"),
];

/// The entry of an id.
pub fn find(id: u32) -> Option<&'static ErrorId> {
    TABLE.iter().find(|entry| entry.id == id)
}

/// What a producer does about an id. Ids that are not in the table are replayed, as AWS's own
/// producer does.
pub fn retry_class(id: u32) -> RetryClass {
    find(id).map_or(Replay, |entry| entry.retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_ascending_and_names_are_unique() {
        assert!(TABLE.windows(2).all(|pair| pair[0].id < pair[1].id));
        let mut names: Vec<_> = TABLE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn replays_exactly_what_awss_producer_retries() {
        let replayed: Vec<_> = TABLE.iter().filter(|e| e.retry == Replay).map(|e| e.id).collect();
        assert_eq!(replayed, [4000, 4003, 5000, 5001]);
        assert_eq!(retry_class(9999), Replay);
    }
}
