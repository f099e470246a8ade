// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers in, payloads out: when to keep a reference to a buffer's memory and when to copy.
//!
//! A payload is kept by reference, so that it travels from pad to socket untouched. It is copied,
//! once, where a reference would cost more than a copy or would starve the one who made it:
//!
//! | the buffer | why it is copied |
//! | --- | --- |
//! | payload below [`SMALL`] | bookkeeping costs more than the copy; the producer packs them |
//! | payload below half of its memory | the reference would pin more than twice what it holds |
//! | memory that is not system memory | mapping it for long may block its owner, or keeps a device |
//! | from a buffer pool | the pool may be bounded: hardware encoders would wait for us |
//! | several memories | a frame is one piece; memories are mapped one by one, never merged first |

use bytes::{Bytes, BytesMut};
use gst::glib;

use crate::producer::Payload;

/// Payloads below this are copied.
const SMALL: usize = 4096;
/// `GST_ALLOCATOR_SYSMEM`.
const SYSTEM_MEMORY: &str = "SystemMemory";

/// A frame's bytes on their way into the producer.
pub(super) enum Held<'a> {
    /// Of its own, or of the memory of `pinned_bytes` that it keeps alive.
    Bytes {
        /// The payload.
        data: Bytes,
        /// Memory that stays allocated as long as `data` lives.
        pinned_bytes: usize,
    },
    /// Small: the producer copies it.
    Mapped(gst::MemoryMap<'a, gst::memory::Readable>),
}

impl<'a> Held<'a> {
    /// Takes hold of a buffer's payload.
    ///
    /// # Errors
    /// When the memory cannot be mapped for reading.
    pub(super) fn new(buffer: &'a gst::BufferRef) -> Result<Self, glib::BoolError> {
        if buffer.n_memory() == 1 && buffer.size() < SMALL {
            return buffer.peek_memory(0).map_readable().map(Self::Mapped);
        }
        referable(buffer).map_or_else(|| copy(buffer), reference)
    }

    /// What the producer takes.
    pub(super) fn payload(&self) -> Payload<'_> {
        match self {
            Self::Bytes { data, .. } => Payload::Share(data.clone()),
            Self::Mapped(map) => Payload::Copy(map),
        }
    }

    /// Bytes of memory that holding the payload keeps alive.
    pub(super) fn pinned_bytes(&self) -> usize {
        match self {
            Self::Bytes { pinned_bytes, .. } => *pinned_bytes,
            Self::Mapped(map) => map.len(),
        }
    }
}

/// The one memory of a buffer that is worth a reference.
fn referable(buffer: &gst::BufferRef) -> Option<gst::Memory> {
    if buffer.n_memory() != 1 || is_pooled(buffer) {
        return None;
    }
    let memory = buffer.peek_memory(0);
    let dense = memory.size() >= memory.maxsize() / 2;
    (dense && memory.is_type(SYSTEM_MEMORY)).then(|| buffer.memory(0)).flatten()
}

fn reference<'a>(memory: gst::Memory) -> Result<Held<'a>, glib::BoolError> {
    let pinned_bytes = memory.maxsize();
    let mapped = memory
        .into_mapped_memory_readable()
        .map_err(|_| glib::bool_error!("memory cannot be mapped for reading"))?;
    Ok(Held::Bytes { data: Bytes::from_owner(mapped), pinned_bytes })
}

fn copy<'a>(buffer: &gst::BufferRef) -> Result<Held<'a>, glib::BoolError> {
    let mut data = BytesMut::with_capacity(buffer.size());
    for memory in buffer.iter_memories() {
        data.extend_from_slice(&memory.map_readable()?);
    }
    Ok(Held::Bytes { pinned_bytes: data.len(), data: data.freeze() })
}

#[expect(unsafe_code, reason = "the bindings have no accessor for GstBuffer::pool")]
fn is_pooled(buffer: &gst::BufferRef) -> bool {
    // SAFETY: a `BufferRef` is a valid GstBuffer. The field is only compared with null, and its
    // writer (the pool, before it hands the buffer out) cannot run while we hold the buffer.
    unsafe { !(*buffer.as_ptr()).pool.is_null() }
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;

    use super::*;

    /// Payload, pinned bytes, and whether it is the buffer's own memory.
    fn hold(buffer: &gst::BufferRef) -> (Vec<u8>, usize, bool) {
        let held = Held::new(buffer).unwrap();
        let own = buffer.n_memory() > 0
            && match &held {
                Held::Bytes { data, .. } => {
                    data.as_ptr() == buffer.peek_memory(0).map_readable().unwrap().as_ptr()
                }
                Held::Mapped(_) => true,
            };
        let data = match held.payload() {
            Payload::Copy(data) => data.to_vec(),
            Payload::Share(data) => data.to_vec(),
        };
        (data, held.pinned_bytes(), own)
    }

    #[test]
    fn a_large_payload_is_referenced_and_outlives_its_buffer() {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::with_size(10_000).unwrap();
        buffer.get_mut().unwrap().copy_from_slice(5000, &[9; 5000]).unwrap();
        let (_, pinned, own) = hold(&buffer);
        assert!(own && pinned >= 10_000, "{pinned}");
        let Held::Bytes { data, .. } = Held::new(&buffer).unwrap() else { panic!("not held") };
        drop(buffer);
        assert_eq!(data.slice(5000..), [9; 5000][..]);
    }

    #[test]
    fn small_payloads_are_left_to_the_producer() {
        gst::init().unwrap();
        let small = gst::Buffer::from_slice([7u8; 300]);
        assert!(matches!(Held::new(&small).unwrap().payload(), Payload::Copy([7, ..])));
        assert_eq!(hold(&small), (vec![7; 300], 300, true));
        assert_eq!(hold(&gst::Buffer::new()), (vec![], 0, false));
    }

    #[test]
    fn a_payload_that_pins_more_than_twice_its_size_is_copied() {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::with_size(100_000).unwrap();
        buffer.get_mut().unwrap().set_size(9000);
        let (data, pinned, own) = hold(&buffer);
        assert_eq!((data.len(), pinned, own), (9000, 9000, false));
    }

    #[test]
    fn pooled_and_split_buffers_are_copied() {
        gst::init().unwrap();
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        config.set_params(None, 8192, 1, 1);
        pool.set_config(config).unwrap();
        pool.set_active(true).unwrap();
        let pooled = pool.acquire_buffer(None).unwrap();
        let (data, pinned, own) = hold(&pooled);
        assert_eq!((data.len(), pinned, own), (8192, 8192, false));
        drop(pooled);
        pool.set_active(false).unwrap();

        let mut split = gst::Buffer::from_slice([1u8; 5000]);
        split.get_mut().unwrap().append_memory(gst::Memory::from_slice([2u8; 5000]));
        assert_eq!(hold(&split).0, [[1u8; 5000], [2u8; 5000]].concat());
    }
}
