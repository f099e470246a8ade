// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements appended to a buffer.

use bytes::{Bytes, BytesMut};

use super::{
    Id,
    vint::{encode_id, encode_size, size_width},
};

/// How many bytes a data size takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeWidth {
    /// Always four: the form of the service's own tags.
    Four,
    /// As few as will do.
    Minimal,
}

/// Appends elements to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    out: BytesMut,
}

impl Writer {
    /// What was written.
    pub fn finish(self) -> Bytes {
        self.out.freeze()
    }

    /// The buffer, to append bytes that are elements already.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// An element header whose size is unknown, in eight bytes (RFC 8794 6.2).
    pub fn unknown_size(&mut self, id: Id) {
        self.id(id);
        self.out.extend_from_slice(&[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    }

    /// An element header for `size` bytes that the caller appends. Sizes of 2^56 - 1 and more do
    /// not exist in EBML; they saturate.
    pub fn header(&mut self, id: Id, size: u64, width: SizeWidth) {
        let width = match width {
            SizeWidth::Four => size_width(size).max(4),
            SizeWidth::Minimal => size_width(size),
        };
        self.id(id);
        let bytes = encode_size(size.min((1 << 56) - 2), width).unwrap_or([0xFF; 8]);
        self.out.extend_from_slice(bytes.get(..width).unwrap_or(&bytes));
    }

    /// An unsigned integer in as few bytes as will do, at least one.
    pub fn uint(&mut self, id: Id, value: u64) {
        let bytes = value.to_be_bytes();
        let skip = (value.leading_zeros() as usize / 8).min(7);
        self.binary(id, bytes.get(skip..).unwrap_or(&bytes));
    }

    /// An 8-byte float.
    pub fn float(&mut self, id: Id, value: f64) {
        self.binary(id, &value.to_be_bytes());
    }

    /// Text.
    pub fn text(&mut self, id: Id, text: &str) {
        self.binary(id, text.as_bytes());
    }

    /// Bytes.
    pub fn binary(&mut self, id: Id, data: &[u8]) {
        self.header(id, data.len() as u64, SizeWidth::Minimal);
        self.out.extend_from_slice(data);
    }

    /// A master element whose children `fill` writes.
    pub fn master(&mut self, id: Id, width: SizeWidth, fill: impl FnOnce(&mut Self)) {
        let mut children = Self::default();
        fill(&mut children);
        self.header(id, children.out.len() as u64, width);
        self.out.extend_from_slice(&children.out);
    }

    fn id(&mut self, id: Id) {
        let (bytes, len) = encode_id(id);
        self.out.extend_from_slice(bytes.get(..len).unwrap_or(&bytes));
    }
}
