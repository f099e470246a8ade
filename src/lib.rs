// SPDX-License-Identifier: MIT OR Apache-2.0
//! GStreamer elements and a local server for Amazon Kinesis Video Streams.
//!
//! Modules are listed in layer order; `tests/architecture.rs` checks who may import whom.

// Layer 0: vocabulary.
pub mod frame;
pub mod ids;
pub mod time;
pub mod track;
// Layer 1: formats.
pub mod ebml;
pub mod mkv;
pub mod wire;
// Layer 2: machines.
pub mod consumer;
pub mod producer;
pub mod retry;
// Layer 3: edge.
pub mod io;
// Layer 4: elements.
mod connection;
pub mod kvssink;
pub mod kvssrc;
mod plugin;
// Beside: the peer.
#[cfg(feature = "server")]
pub mod server;
// Beside: what holds for any bytes.
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use plugin::plugin_register_static;
