// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tags that the service puts around each fragment, byte for byte as it writes them.
//!
//! Pure. All sizes take four bytes, as in captures of the service; FRAGMENT_NUMBER comes first,
//! which a client relies on.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    ebml::{SizeWidth, Writer},
    ids::FragmentNumber,
    mkv::{ids, writer},
    time::Timestamp,
    wire::get_media::ChunkTags,
};

/// What the service could not do. Source: KVS API GetMedia, error tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Failure {
    /// There is no such fragment.
    NotFound,
    /// It cannot be read.
    Internal,
}

impl Failure {
    /// As error tags carry it.
    pub(in crate::server) const fn id(self) -> u32 {
        match self {
            Self::NotFound => 4000,
            Self::Internal => 5000,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::NotFound => "FRAGMENT_NOT_FOUND",
            Self::Internal => "INTERNAL_ERROR",
        }
    }
}

fn tags(tags: &ChunkTags) -> Bytes {
    writer::tags(&tags.to_simple_tags(), SizeWidth::Four)
}

/// Before the Cluster.
pub(super) fn head(number: FragmentNumber, server: Timestamp, producer: Timestamp) -> Bytes {
    tags(&ChunkTags::Head { number, server_time: server, producer_time: producer })
}

/// After the Cluster: how far behind the fragment's end is at `now`, and where to go on.
pub(super) fn tail(
    number: &FragmentNumber,
    server: Timestamp,
    length_ms: u32,
    now: Timestamp,
) -> Bytes {
    let length = Duration::from_millis(u64::from(length_ms));
    let behind = now.saturating_since(server).saturating_sub(length);
    tags(&ChunkTags::Tail {
        continuation_token: number.as_str().parse().ok(),
        behind_now_ms: u64::try_from(behind.as_millis()).ok(),
    })
}

/// A document of its own that says why GetMedia ends.
pub(super) fn failed(number: FragmentNumber, failure: Failure) -> Bytes {
    let message = failure.code().to_owned();
    document(&tags(&ChunkTags::Failed { number: Some(number), id: failure.id(), message }))
}

/// EBML header and Segment around `content`.
pub(in crate::server) fn document(content: &Bytes) -> Bytes {
    let mut w = Writer::default();
    w.master(ids::EBML, SizeWidth::Minimal, |w| {
        w.text(ids::DOC_TYPE, "matroska");
        w.uint(ids::DOC_TYPE_VERSION, 2);
        w.uint(ids::DOC_TYPE_READ_VERSION, 2);
    });
    w.unknown_size(ids::SEGMENT);
    w.buffer().extend_from_slice(content);
    w.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mkv::{EventKind, Reader, SimpleTag};

    const SERVER: Timestamp = Timestamp::from_nanos(1_517_789_296_298_000_000);

    fn number() -> FragmentNumber {
        "91343852333181432392682062607743920442264000000".parse().unwrap()
    }

    /// The SimpleTags of a document.
    fn read(document: Bytes) -> Vec<SimpleTag> {
        let mut reader = Reader::default();
        reader.push(document);
        while let Some(event) = reader.pull().unwrap() {
            if let EventKind::Tags(tags) = event.kind {
                return tags;
            }
        }
        panic!("no tags");
    }

    #[test]
    fn head_is_byte_for_byte_the_services() {
        // From a capture of the service: output_get_media.mkv of AWS's Java parser library.
        let number = "91343852333181432392682062607743920146159169392".parse().unwrap();
        let time = |ms| Timestamp::from_millis(ms).unwrap();
        let head = head(number, time(1_511_852_109_126), time(1_511_852_108_513));
        let mut expect = vec![0x12, 0x54, 0xC3, 0x67, 0x10, 0, 0, 0xEB];
        expect.extend([0x73, 0x73, 0x10, 0, 0, 0xE5]);
        for (size, name, value) in [
            (
                0x5B,
                "AWS_KINESISVIDEO_FRAGMENT_NUMBER",
                "91343852333181432392682062607743920146159169392",
            ),
            (0x3B, "AWS_KINESISVIDEO_SERVER_TIMESTAMP", "1511852109.126"),
            (0x3D, "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", "1511852108.513"),
        ] {
            expect.extend([0x67, 0xC8, 0x10, 0, 0, size]);
            expect.extend([0x45, 0xA3, 0x10, 0, 0, name.len() as u8]);
            expect.extend(name.bytes());
            expect.extend([0x44, 0x87, 0x10, 0, 0, value.len() as u8]);
            expect.extend(value.bytes());
        }
        assert_eq!(head, expect);
    }

    #[test]
    fn tail_counts_from_the_fragments_end() {
        let now = SERVER.checked_add(Duration::from_millis(5300)).unwrap();
        let tail = |length| document(&tail(&number(), SERVER, length, now));
        assert_eq!(
            ChunkTags::parse(&read(tail(2000))).unwrap(),
            Some(ChunkTags::Tail {
                continuation_token: Some(number().as_str().parse().unwrap()),
                behind_now_ms: Some(3300),
            })
        );
        assert_eq!(read(tail(6000))[0].value, "0");
    }

    #[test]
    fn a_failure_is_a_document_that_names_the_fragment() {
        let parsed = ChunkTags::parse(&read(failed(number(), Failure::NotFound))).unwrap();
        let message = "FRAGMENT_NOT_FOUND".to_owned();
        let expect = ChunkTags::Failed { number: Some(number()), id: 4000, message };
        assert_eq!(parsed, Some(expect));
    }
}
