// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matroska (RFC 9559) as KVS uses it: one EBML header, one Segment, one Cluster per fragment.
//!
//! [`reader`] turns any producer's bytes into [`reader::Event`]s, however they are cut into
//! chunks; [`writer`] makes the bytes around a payload, never the payload itself.

pub mod block;
pub mod header;
pub mod ids;
pub mod reader;
pub mod writer;

pub use block::{Block, BlockError};
pub use header::{EbmlHeader, Info, SimpleTag};
pub use reader::{Error, ErrorKind, Event, EventKind, Limits, Reader};
