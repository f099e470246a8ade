// SPDX-License-Identifier: MIT OR Apache-2.0
//! EBML (RFC 8794): variable-length integers, elements in a buffer, bytes gathered from chunks.
//!
//! Pure and bounded: nothing here reads, allocates ahead of the data, or knows Matroska.

pub mod children;
pub mod rope;
pub mod vint;
pub mod writer;

pub use children::{Children, Element};
pub use rope::Rope;
pub use writer::{SizeWidth, Writer};

/// An element ID with its marker bits, as RFC 8794 and RFC 9559 print them (`0x1A45DFA3`).
pub type Id = u32;
