// SPDX-License-Identifier: MIT OR Apache-2.0
//! One fragment as it lies in a segment file.
//!
//! ```text
//! offset  bytes  little-endian, but for the number
//!      0      4  magic "KVSF"
//!      4      2  version, 1
//!      6      2  length of this header, 88
//!      8      8  stream id
//!     16     20  fragment number, big-endian
//!     36      4  length of the fragment in ms, first to last frame
//!     40      8  server timestamp, ns since the epoch
//!     48      8  producer timestamp, ns since the epoch
//!     56      8  timestamp of the Cluster in its own ticks
//!     64      4  head: bytes before the place of the service's tags
//!     68      4  body: bytes after it
//!     72      4  zero
//!     76      4  CRC32C of head and body
//!     80      4  zero
//!     84      4  CRC32C of bytes 0 to 83
//!     88         head, body
//! ```
//!
//! A record says all about itself, so that the index can be made again from the segment files.
//! Pure: bytes in, values out. [`scan`] finds the whole records of a file, whatever happened to it.

use std::io::{self, Read};

use bytes::{BufMut, Bytes, BytesMut};

use super::number::{NUMBER_LEN, Number};
use crate::time::Timestamp;

/// Bytes of a record before its payload.
pub(crate) const HEADER_LEN: usize = 88;
const MAGIC: [u8; 4] = *b"KVSF";
const VERSION: u16 = 1;

/// What is known of a fragment besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentMeta {
    /// Its number.
    pub number: Number,
    /// When its first byte arrived.
    pub server: Timestamp,
    /// The producer's time of its Cluster.
    pub producer: Timestamp,
    /// First to last frame, in ms.
    pub length_ms: u32,
    /// The Cluster's timestamp in ticks, as acks name it.
    pub timecode: u64,
    /// Bytes before the place of the service's tags: EBML header to Tracks.
    pub head_len: u32,
    /// Bytes after it: the Cluster and what followed.
    pub body_len: u32,
}

impl FragmentMeta {
    /// Bytes of the fragment, without the service's tags.
    pub fn size(&self) -> u64 {
        u64::from(self.head_len) + u64::from(self.body_len)
    }

    /// Bytes of its record.
    pub(super) fn record_len(&self) -> u64 {
        HEADER_LEN as u64 + self.size()
    }

    /// The bytes that precede the payload in a segment file.
    pub(super) fn encode(&self, stream: u64, payload_crc: u32) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_LEN);
        out.put_slice(&MAGIC);
        out.put_u16_le(VERSION);
        out.put_u16_le(HEADER_LEN as u16);
        out.put_u64_le(stream);
        out.put_slice(self.number.as_bytes());
        out.put_u32_le(self.length_ms);
        out.put_u64_le(self.server.as_nanos());
        out.put_u64_le(self.producer.as_nanos());
        out.put_u64_le(self.timecode);
        out.put_u32_le(self.head_len);
        out.put_u32_le(self.body_len);
        out.put_u32_le(0);
        out.put_u32_le(payload_crc);
        out.put_u32_le(0);
        out.put_u32_le(crc32c::crc32c(&out));
        out.freeze()
    }
}

/// A decoded record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) stream: u64,
    pub(super) meta: FragmentMeta,
    pub(super) payload_crc: u32,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("no record starts here")]
    Magic,
    #[error("a record of version {0}, which this program does not know")]
    Version(u16),
    #[error("the record header's checksum is wrong")]
    HeaderCrc,
    #[error("the record belongs to stream {0}")]
    Stream(u64),
    #[error("the payload's checksum is wrong")]
    PayloadCrc,
    #[error("the file ends inside a record")]
    Truncated,
}

impl Header {
    /// Decodes the header of a record of `stream`.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN], stream: u64) -> Result<Self, Fault> {
        let mut rest = bytes.as_slice();
        if take::<4>(&mut rest) != MAGIC {
            return Err(Fault::Magic);
        }
        let version = u16::from_le_bytes(take(&mut rest));
        let covered = bytes.get(..HEADER_LEN - 4).unwrap_or_default();
        let crc = bytes.last_chunk::<4>().copied().map_or(0, u32::from_le_bytes);
        if crc32c::crc32c(covered) != crc {
            return Err(Fault::HeaderCrc);
        }
        if version != VERSION || u16::from_le_bytes(take(&mut rest)) != HEADER_LEN as u16 {
            return Err(Fault::Version(version));
        }
        let owner = u64::from_le_bytes(take(&mut rest));
        if owner != stream {
            return Err(Fault::Stream(owner));
        }
        let number = Number::from_bytes(take::<NUMBER_LEN>(&mut rest));
        let length_ms = u32::from_le_bytes(take(&mut rest));
        let server = Timestamp::from_nanos(u64::from_le_bytes(take(&mut rest)));
        let producer = Timestamp::from_nanos(u64::from_le_bytes(take(&mut rest)));
        let timecode = u64::from_le_bytes(take(&mut rest));
        let head_len = u32::from_le_bytes(take(&mut rest));
        let body_len = u32::from_le_bytes(take(&mut rest));
        take::<4>(&mut rest);
        let payload_crc = u32::from_le_bytes(take(&mut rest));
        let meta =
            FragmentMeta { number, server, producer, length_ms, timecode, head_len, body_len };
        Ok(Self { stream, meta, payload_crc })
    }
}

/// The next `N` bytes; zeros past the end, which the fixed layout never reaches.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk::<N>().unwrap_or((&[0; N], &[]));
    *rest = tail;
    *head
}

impl Fault {
    /// Whether somebody wrote this on purpose, so that it must not be taken for a torn write.
    pub(super) fn is_foreign(self) -> bool {
        matches!(self, Self::Version(_) | Self::Stream(_))
    }
}

/// CRC32C of pieces in a row.
pub(super) fn crc_of(pieces: &[Bytes]) -> u32 {
    pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece))
}

/// What [`scan`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where each whole record starts in the file, and what it says.
    pub(super) records: Vec<(u64, FragmentMeta)>,
    /// Where the file may be cut: behind the last whole record.
    pub(super) end: u64,
    /// What else lies in the file, in order.
    pub(super) faults: Vec<(u64, Fault)>,
}

/// Finds the whole records of `stream` in a file's bytes from `offset` on, which is where `input`
/// stands. What is broken is passed over up to the next whole header and listed.
///
/// # Errors
/// Only those of `input`.
pub(super) fn scan(input: impl Read, stream: u64, offset: u64) -> io::Result<Scan> {
    let mut window = Window { input, held: BytesMut::new(), at: offset };
    let mut found = Scan { end: offset, ..Scan::default() };
    let mut searching = false;
    loop {
        let start = window.at;
        if !window.fill(HEADER_LEN)? {
            if !searching && !window.held.is_empty() {
                found.faults.push((start, Fault::Truncated));
            }
            return Ok(found);
        }
        let header: &[u8; HEADER_LEN] = window.held.first_chunk().unwrap_or(&[0; HEADER_LEN]);
        match Header::decode(header, stream) {
            Err(fault) => {
                if !searching {
                    found.faults.push((start, fault));
                }
                searching = true;
                window.seek_magic();
            }
            Ok(header) => {
                searching = false;
                match window.skip_record(&header)? {
                    None => {
                        found.records.push((start, header.meta));
                        found.end = window.at;
                    }
                    Some(fault) => {
                        found.faults.push((start, fault));
                        searching = true;
                    }
                }
            }
        }
    }
}

/// Part of a file, read forward.
struct Window<R> {
    input: R,
    held: BytesMut,
    /// Where `held` starts in the file.
    at: u64,
}

impl<R: Read> Window<R> {
    /// Holds at least `len` bytes, or says that there are not so many.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        while self.held.len() < len {
            let mut block = [0; 64 << 10];
            let read = match self.input.read(&mut block) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return Ok(false);
            }
            self.held.extend_from_slice(block.get(..read).unwrap_or_default());
        }
        Ok(true)
    }

    fn advance(&mut self, len: usize) {
        bytes::Buf::advance(&mut self.held, len);
        self.at += len as u64;
    }

    /// Goes on to where the magic may start next.
    fn seek_magic(&mut self) {
        let tail = self.held.get(1..).unwrap_or_default();
        let next = tail.windows(MAGIC.len()).position(|window| window == MAGIC);
        // Without one, its first bytes may still be the last ones here.
        let none = self.held.len().saturating_sub(MAGIC.len() - 1).max(1);
        self.advance(next.map_or(none, |at| at + 1));
    }

    /// Goes past the record that starts here. On a fault goes past its header only, so that
    /// records inside a region of which only the header is right are found.
    fn skip_record(&mut self, header: &Header) -> io::Result<Option<Fault>> {
        self.advance(HEADER_LEN);
        let len = usize::try_from(header.meta.size()).unwrap_or(usize::MAX);
        if !self.fill(len)? {
            return Ok(Some(Fault::Truncated));
        }
        if crc32c::crc32c(self.held.get(..len).unwrap_or_default()) != header.payload_crc {
            return Ok(Some(Fault::PayloadCrc));
        }
        self.advance(len);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: u64 = 7;

    fn meta(sequence: u64, head: &[u8], body: &[u8]) -> FragmentMeta {
        FragmentMeta {
            number: Number::from_parts(sequence, 1_767_225_600_000, 5),
            server: Timestamp::from_nanos(1_767_225_600_000_000_001),
            producer: Timestamp::from_nanos(1_767_225_600_000_000_002),
            length_ms: 1967,
            timecode: u64::MAX - sequence,
            head_len: head.len() as u32,
            body_len: body.len() as u32,
        }
    }

    fn record(meta: FragmentMeta, head: &[u8], body: &[u8]) -> Vec<u8> {
        let payload = [head, body].concat();
        [&meta.encode(STREAM, crc32c::crc32c(&payload))[..], &payload].concat()
    }

    /// A file of records with payloads of these lengths, and where each record ends.
    fn file(lens: &[usize]) -> (Vec<u8>, Vec<FragmentMeta>, Vec<usize>) {
        let (mut bytes, mut metas, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (index, &len) in lens.iter().enumerate() {
            let (head, body) = (vec![index as u8; 3], vec![0x4B; len]);
            let meta = meta(index as u64, &head, &body);
            bytes.extend(record(meta, &head, &body));
            metas.push(meta);
            ends.push(bytes.len());
        }
        (bytes, metas, ends)
    }

    fn whole(scan: &Scan) -> Vec<FragmentMeta> {
        scan.records.iter().map(|&(_, meta)| meta).collect()
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_its_whole_records() {
        let (bytes, metas, ends) = file(&[0, 40, 300]);
        for cut in 0..=bytes.len() {
            let scan = scan(&bytes[..cut], STREAM, 0).unwrap();
            let count = ends.iter().filter(|&&end| end <= cut).count();
            assert_eq!(whole(&scan), metas[..count], "cut at {cut}");
            assert_eq!(scan.end, ends[..count].last().map_or(0, |&end| end as u64));
            let clean = cut == 0 || ends.contains(&cut);
            assert_eq!(scan.faults.is_empty(), clean, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record_and_is_listed() {
        let (bytes, metas, ends) = file(&[30, 60, 30]);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let scan = scan(bytes.as_slice(), STREAM, 0).unwrap();
            let hit = ends.iter().position(|&end| at < end).unwrap();
            let expect: Vec<_> =
                metas.iter().enumerate().filter(|&(i, _)| i != hit).map(|(_, &m)| m).collect();
            assert_eq!(whole(&scan), expect, "flip at {at}");
            assert!(!scan.faults.is_empty(), "flip at {at}");
        }
    }

    #[test]
    fn records_of_other_streams_and_zeros_are_none() {
        let (mut bytes, ..) = file(&[10]);
        let end = bytes.len();
        let other = scan(bytes.as_slice(), STREAM + 1, 0).unwrap();
        assert_eq!((other.records, other.end), (vec![], 0));
        bytes.extend([0; 5000]);
        let zeros = scan(bytes.as_slice(), STREAM, 0).unwrap();
        assert_eq!((zeros.records.len(), zeros.end), (1, end as u64));
        assert_eq!(zeros.faults, [(end as u64, Fault::Magic)]);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(
            junk in prop::collection::vec(any::<u8>(), 0..400), lens in prop::collection::vec(0usize..200, 0..4),
        ) {
            let (records, metas, _) = file(&lens);
            let bytes = [&junk[..], &records, &junk].concat();
            let scan = scan(bytes.as_slice(), STREAM, 1000).unwrap();
            prop_assert_eq!(whole(&scan), metas);
            prop_assert!(scan.end <= 1000 + bytes.len() as u64);
        }
    }
}
