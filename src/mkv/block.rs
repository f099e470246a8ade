// SPDX-License-Identifier: MIT OR Apache-2.0
//! SimpleBlock and BlockGroup (RFC 9559 10): who a payload belongs to, when, and its lacing.
//!
//! ```text
//! track number (vint) | offset from the cluster, i16 BE | flags | [lace sizes] | frame(s)
//! flags of a SimpleBlock: 0x80 key frame, 0x06 lacing (0 none, 2 Xiph, 4 fixed, 6 EBML)
//! ```

use bytes::{Buf, Bytes};

use crate::{
    ebml::{
        Element,
        children::ValueError,
        vint::{Size, decode_size},
    },
    ids::TrackNumber,
    mkv::ids,
};

/// One block: the frames that share a timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The track.
    pub track: TrackNumber,
    /// Ticks from the cluster's timestamp.
    pub offset_ticks: i16,
    /// Decoding can start here.
    pub key: bool,
    /// Ticks this block lasts, when the producer said so.
    pub duration_ticks: Option<u64>,
    /// One frame, or several when laced.
    pub frames: Vec<Bytes>,
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Its header is cut short or its track number is invalid.
    #[error("block header is broken")]
    Header,
    /// Lace sizes do not add up to the payload.
    #[error("lacing is broken")]
    Lacing,
    /// A BlockGroup without a Block.
    #[error("BlockGroup holds no Block")]
    NoBlock,
    /// A child of a BlockGroup is broken.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl Block {
    pub(super) fn parse_simple(data: Bytes) -> Result<Self, BlockError> {
        let (mut block, flags) = Self::parse_payload(data)?;
        block.key = flags & 0x80 != 0;
        Ok(block)
    }

    pub(super) fn parse_group(group: &Element) -> Result<Self, BlockError> {
        let (mut block, mut duration, mut key) = (None, None, true);
        for child in group.children() {
            let child = child?;
            match child.id {
                ids::BLOCK => block = Some(Self::parse_payload(child.data)?.0),
                ids::BLOCK_DURATION => duration = Some(child.uint()?),
                ids::REFERENCE_BLOCK => key = false,
                _ => {}
            }
        }
        let block = block.ok_or(BlockError::NoBlock)?;
        Ok(Self { duration_ticks: duration, key, ..block })
    }

    fn parse_payload(mut data: Bytes) -> Result<(Self, u8), BlockError> {
        let (number, len) = decode_size(&data).ok().flatten().ok_or(BlockError::Header)?;
        let Size::Known(number) = number else { return Err(BlockError::Header) };
        data.advance(len);
        if number == 0 || data.len() < 3 {
            return Err(BlockError::Header);
        }
        let offset_ticks = data.get_i16();
        let flags = data.get_u8();
        let frames = match flags & 0x06 {
            0x00 => vec![data],
            lacing => split_lace(lacing, data).ok_or(BlockError::Lacing)?,
        };
        let track = TrackNumber(number);
        Ok((Self { track, offset_ticks, key: false, duration_ticks: None, frames }, flags))
    }
}

fn split_lace(lacing: u8, mut data: Bytes) -> Option<Vec<Bytes>> {
    let count = usize::from(data.first().copied()?) + 1;
    data.advance(1);
    let mut sizes = match lacing {
        0x02 => xiph_sizes(&mut data, count - 1)?,
        0x04 => {
            let len = data.len();
            return (len.is_multiple_of(count) && len > 0)
                .then(|| (0..count).map(|_| data.split_to(len / count)).collect());
        }
        _ => ebml_sizes(&mut data, count - 1)?,
    };
    let sum = sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size))?;
    sizes.push(data.len().checked_sub(sum)?);
    Some(sizes.into_iter().map(|size| data.split_to(size)).collect())
}

fn xiph_sizes(data: &mut Bytes, count: usize) -> Option<Vec<usize>> {
    (0..count)
        .map(|_| {
            let mut size = 0usize;
            loop {
                let byte = data.first().copied()?;
                data.advance(1);
                size += usize::from(byte);
                if byte != 255 {
                    return Some(size);
                }
            }
        })
        .collect()
}

/// The first size as it is, each further one as a signed difference (RFC 9559 10.3.3).
fn ebml_sizes(data: &mut Bytes, count: usize) -> Option<Vec<usize>> {
    let mut sizes = Vec::with_capacity(count);
    let mut last = 0i64;
    for index in 0..count {
        let (value, len) = decode_size(data).ok()??;
        let bias = if index == 0 { 0 } else { (1i64 << (7 * len - 1)) - 1 };
        let value = match value {
            Size::Known(value) => i64::try_from(value).ok()?,
            Size::Unknown => return None,
        };
        data.advance(len);
        last = last.checked_add(value - bias)?;
        sizes.push(usize::try_from(last).ok()?);
    }
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple(bytes: &[u8]) -> Result<Block, BlockError> {
        Block::parse_simple(Bytes::copy_from_slice(bytes))
    }

    fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
        simple(bytes).unwrap().frames.iter().map(|f| f.to_vec()).collect()
    }

    #[test]
    fn reads_a_plain_block() {
        let block = simple(&[0x81, 0xFF, 0xFE, 0x80, 1, 2, 3]).unwrap();
        assert_eq!((block.track, block.offset_ticks, block.key), (TrackNumber(1), -2, true));
        assert_eq!(block.frames, [Bytes::from_static(&[1, 2, 3])]);
    }

    #[test]
    fn splits_every_kind_of_lace() {
        let head = |flags: u8| vec![0x81, 0, 0, flags];
        let xiph = [head(0x02), vec![2, 1, 2], vec![10, 20, 21, 30]].concat();
        assert_eq!(frames(&xiph), [vec![10], vec![20, 21], vec![30]]);
        let fixed = [head(0x04), vec![1], vec![1, 2, 3, 4]].concat();
        assert_eq!(frames(&fixed), [vec![1, 2], vec![3, 4]]);
        // sizes 2, then -1 relative (0x3F bias 63 -> 62), rest is the last frame
        let ebml = [head(0x06), vec![2, 0x82, 0x80 | 62], vec![1, 2, 3, 4, 5]].concat();
        assert_eq!(frames(&ebml), [vec![1, 2], vec![3], vec![4, 5]]);
    }

    #[test]
    fn refuses_broken_blocks() {
        assert_eq!(simple(&[]), Err(BlockError::Header));
        assert_eq!(simple(&[0x80, 0, 0, 0]), Err(BlockError::Header));
        assert_eq!(simple(&[0x81, 0, 0]), Err(BlockError::Header));
        assert_eq!(simple(&[0x81, 0, 0, 0x02]), Err(BlockError::Lacing));
        assert_eq!(simple(&[0x81, 0, 0, 0x02, 1, 9, 1]), Err(BlockError::Lacing));
        assert_eq!(simple(&[0x81, 0, 0, 0x04, 1, 1, 2, 3]), Err(BlockError::Lacing));
    }
}
