// SPDX-License-Identifier: MIT OR Apache-2.0
//! Variable-length integers: element IDs and data sizes (RFC 8794 4, 5, 6).

use super::Id;

/// The longest element header: a 4-byte ID and an 8-byte size.
pub const MAX_HEADER_LEN: usize = 12;

/// Data size of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Known(u64),
    /// All data bits set: the element ends where its parent's grammar says (RFC 8794 6.2).
    Unknown,
}

/// A leading byte that starts no valid integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("0x{0:02X} starts no EBML variable-length integer")]
pub struct InvalidVint(pub u8);

/// Decodes an element ID; `Ok(None)` when `bytes` ends inside it. Returns ID and length.
///
/// # Errors
/// [`InvalidVint`] for an ID of more than four bytes.
pub fn decode_id(bytes: &[u8]) -> Result<Option<(Id, usize)>, InvalidVint> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let len = first.leading_zeros() as usize + 1;
    if len > 4 {
        return Err(InvalidVint(first));
    }
    Ok(bytes.get(..len).map(|b| (b.iter().fold(0, |id, &b| (id << 8) | Id::from(b)), len)))
}

/// Decodes a data size; `Ok(None)` when `bytes` ends inside it. Returns size and length.
///
/// # Errors
/// [`InvalidVint`] for a size of more than eight bytes.
pub fn decode_size(bytes: &[u8]) -> Result<Option<(Size, usize)>, InvalidVint> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return Err(InvalidVint(first));
    }
    let Some(bytes) = bytes.get(..len) else { return Ok(None) };
    let data_bits = (1u64 << (7 * len)) - 1;
    let value = bytes.iter().fold(0u64, |v, &b| (v << 8) | u64::from(b)) & data_bits;
    let size = if value == data_bits { Size::Unknown } else { Size::Known(value) };
    Ok(Some((size, len)))
}

/// Encodes a known size in exactly `width` bytes, 1 to 8; `None` when it does not fit.
pub fn encode_size(size: u64, width: usize) -> Option<[u8; 8]> {
    if !(1..=8).contains(&width) {
        return None;
    }
    let mut out = [0; 8];
    let max = (1u64 << (7 * width)) - 2;
    let bytes = (size | (1 << (7 * width))).to_be_bytes();
    let tail = bytes.get(8usize.checked_sub(width)?..)?;
    (size <= max).then(|| {
        for (to, from) in out.iter_mut().zip(tail) {
            *to = *from;
        }
        out
    })
}

/// The fewest bytes that hold `size`.
pub fn size_width(size: u64) -> usize {
    (1..8).find(|width| size < (1 << (7 * width)) - 1).unwrap_or(8)
}

/// The bytes of an ID: as many as its marker says.
pub fn encode_id(id: Id) -> ([u8; 4], usize) {
    let len = 4 - id.leading_zeros() as usize / 8;
    (id.checked_shl(8 * (4 - len as u32)).unwrap_or(0).to_be_bytes(), len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_ones_is_unknown_at_every_width() {
        for len in 1..=8usize {
            let mut bytes = vec![0xFF; len];
            bytes[0] = (0xFFu16 >> (len - 1)) as u8;
            assert_eq!(decode_size(&bytes), Ok(Some((Size::Unknown, len))));
        }
    }

    #[test]
    fn refuses_overlong() {
        assert_eq!(decode_size(&[0]), Err(InvalidVint(0)));
        assert_eq!(decode_id(&[0x08]), Err(InvalidVint(0x08)));
        assert_eq!((encode_size(0, 0), encode_size(0, 9)), (None, None));
    }

    proptest! {
        #[test]
        fn sizes_round_trip(value in 0u64..(1 << 56) - 1, extra in 0usize..8) {
            let width = (size_width(value) + extra).min(8);
            let bytes = encode_size(value, width).unwrap();
            prop_assert_eq!(decode_size(&bytes[..width]), Ok(Some((Size::Known(value), width))));
            prop_assert_eq!(decode_size(&bytes[..width - 1]), Ok(None));
            if size_width(value) > 1 {
                prop_assert_eq!(encode_size(value, size_width(value) - 1), None);
            }
        }

        #[test]
        fn ids_round_trip(len in 1usize..=4, bits in any::<u32>()) {
            let marker = 1u32 << (7 * len);
            let id = (bits & (marker - 1)) | marker;
            let (bytes, used) = encode_id(id);
            prop_assert_eq!(decode_id(&bytes[..used]), Ok(Some((id, len))));
        }
    }
}
