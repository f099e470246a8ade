// SPDX-License-Identifier: MIT OR Apache-2.0
//! One coded frame on its way between pads and Matroska blocks.

use std::time::Duration;

use bytes::Bytes;

use crate::{ids::TrackNumber, time::Timestamp};

/// One coded access unit of one track. Cloning it clones a reference, never the payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The track it belongs to.
    pub track: TrackNumber,
    /// Producer time of presentation.
    pub pts: Timestamp,
    /// How long it is shown, when known.
    pub duration: Option<Duration>,
    /// Decoding can start here.
    pub key: bool,
    /// The payload, reference-counted.
    pub data: Bytes,
}
