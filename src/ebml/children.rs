// SPDX-License-Identifier: MIT OR Apache-2.0
//! The elements inside a buffer that holds a whole master element's data.

use bytes::Bytes;

use super::{
    Id,
    vint::{Size, decode_id, decode_size},
};

/// One element of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its ID.
    pub id: Id,
    /// Its data, a slice of the buffer.
    pub data: Bytes,
}

/// Data that is not the value its element should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A child's header or data runs past the end of its parent, or is no element at all.
    #[error("child elements do not fit their parent")]
    Children,
    /// An integer of more than 8 bytes, or a float of other than 0, 4 or 8.
    #[error("element 0x{id:X} holds {len} bytes, which is no number")]
    Number {
        /// The element.
        id: Id,
        /// Its data length in bytes.
        len: usize,
    },
}

impl Element {
    /// The data as an unsigned integer (RFC 8794 7.2).
    ///
    /// # Errors
    /// [`ValueError::Number`] past 8 bytes.
    pub fn uint(&self) -> Result<u64, ValueError> {
        if self.data.len() > 8 {
            return Err(self.no_number());
        }
        Ok(self.data.iter().fold(0, |v, &b| (v << 8) | u64::from(b)))
    }

    /// The data as a float (RFC 8794 7.3).
    ///
    /// # Errors
    /// [`ValueError::Number`] unless it holds 0, 4 or 8 bytes.
    pub fn float(&self) -> Result<f64, ValueError> {
        if let Ok(bytes) = <[u8; 8]>::try_from(self.data.as_ref()) {
            return Ok(f64::from_be_bytes(bytes));
        }
        if let Ok(bytes) = <[u8; 4]>::try_from(self.data.as_ref()) {
            return Ok(f64::from(f32::from_be_bytes(bytes)));
        }
        if self.data.is_empty() { Ok(0.0) } else { Err(self.no_number()) }
    }

    /// The data as text up to the first NUL, which pads (RFC 8794 7.4, 7.5); what is not UTF-8 is
    /// replaced.
    pub fn text(&self) -> String {
        let text = self.data.split(|&b| b == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// The elements inside.
    pub fn children(&self) -> Children {
        Children::new(self.data.clone())
    }

    fn no_number(&self) -> ValueError {
        ValueError::Number { id: self.id, len: self.data.len() }
    }
}

/// Iterates over the elements of a buffer. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Children {
    rest: Bytes,
}

impl Children {
    /// Over `data`, which holds whole elements.
    pub fn new(data: Bytes) -> Self {
        Self { rest: data }
    }

    fn element(&mut self) -> Option<Element> {
        let (id, id_len) = decode_id(&self.rest).ok()??;
        let (size, size_len) = decode_size(self.rest.get(id_len..)?).ok()??;
        let Size::Known(size) = size else { return None };
        let head = id_len + size_len;
        let end = head.checked_add(usize::try_from(size).ok()?)?;
        if end > self.rest.len() {
            return None;
        }
        let data = self.rest.split_to(end).slice(head..);
        Some(Element { id, data })
    }
}

impl Iterator for Children {
    type Item = Result<Element, ValueError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let element = self.element();
        if element.is_none() {
            self.rest = Bytes::new();
        }
        Some(element.ok_or(ValueError::Children))
    }
}
