// SPDX-License-Identifier: MIT OR Apache-2.0
//! SECTION:element-kvssink
//!
//! kvssink sends encoded video and audio to a stream of Amazon Kinesis Video Streams, or of any
//! service that speaks its protocol. It cuts the media into fragments, sends them while they are
//! being made, keeps them in memory until the service has stored them, and sends them again when a
//! connection breaks.
//!
//! ```text
//! gst-launch-1.0 v4l2src ! videoconvert ! x264enc tune=zerolatency key-int-max=60 ! h264parse ! \
//!     kvssink stream-name=camera aws-region=eu-west-1
//! gst-launch-1.0 filesrc location=a.mp4 ! qtdemux name=d  d. ! queue ! h264parse ! s.  \
//!     d. ! queue ! aacparse ! s.  kvssink name=s stream-name=file streaming-type=offline
//! ```
//!
//! ## Media
//!
//! Up to three pads `video_%u` and `audio_%u`, each one track: H.264 (`avc`, `au`), H.265 (`hvc1`,
//! `au`), AAC (`raw`), A-law, mu-law. A parser in front converts what is in another form. Video
//! tracks are numbered before audio tracks.
//!
//! ## Time
//!
//! A frame's producer time is its running time on the wall clock; the two clocks are compared once,
//! at the first frame after the start, a flush, or (live media) a pause. With
//! `streaming-type=offline` and `file-start-time` set, running time zero happens at that time.
//!
//! ## States
//!
//! Going to READY checks the properties. Going to PAUSED takes them over. There is no preroll: in
//! PAUSED the pads block. The network is first used when there is something to send. Going back to
//! READY ends the fragment and starts to deliver what is left; going to NULL waits for that, at
//! most `stop-stream-timeout`. An application that stops without EOS loses nothing.
//!
//! EOS is posted once, after all pads have ended and everything is persisted. When that does not
//! happen within `stop-stream-timeout`, or accepted frames were dropped, an ERROR is posted instead.
//!
//! ## Messages
//!
//! Element messages, beside WARNINGs (trouble that is being dealt with) and ERRORs:
//!
//! | structure | fields |
//! | --- | --- |
//! | `kvs-connected` | `session` string |
//! | `kvs-disconnected` | `error` string, `operation` string, `code` string (optional), `retry-in-ms` uint64 |
//! | `kvs-dropped` | `cause` string, `frames` uint64, `bytes` uint64, `error-id` uint (cause `rejected`) |
//! | `kvs-drained` | `undelivered-frames` uint64, `dropped-frames` uint64 |
//! | `kvs-fragment-ack` | `session` string, `event-type` string (`BUFFERING`, `RECEIVED`, `PERSISTED`, `ERROR`, `IDLE`), `timecode` uint64 in units of `timecode-scale`, `fragment-number` string; for `ERROR` also `error-id` uint, `error-code` string, `meaning` string |
//!
//! Causes of drops: `before-key-frame`, `frame-too-large`, `full`, `late`, `no-caps`, `rejected`,
//! `stopped`, `track-absent`.
//!
//! The read-only property `stats` is a structure of uint64 counts: `accepted-frames`,
//! `accepted-bytes`, `persisted-frames`, `persisted-fragments`, `spooled-frames`,
//! `spooled-fragments`, `spooled-bytes`, `transmitted-bytes`, `dropped-frames`, `sessions`,
//! `reconnects`, `failures`, and `dropped-by-cause`, a structure of frames per cause.
//!
//! Since: 0.1.0

use gst::{glib, prelude::*};

mod body;
mod caps;
mod driver;
mod epoch;
mod imp;
mod memory;
mod messages;
mod pad;
mod settings;
mod uplink;

glib::wrapper! {
    /// The element.
    pub struct KvsSink(ObjectSubclass<imp::KvsSink>) @extends gst::Element, gst::Object;
}

/// How the media comes and what to do when the service is slower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsKvsSinkStreamingType")]
#[repr(i32)]
pub enum StreamingType {
    /// Live media: upstream is never blocked, the oldest fragments are dropped when memory is full.
    #[default]
    #[enum_value(name = "Live media: never blocks upstream", nick = "realtime")]
    Realtime = 0,
    /// As [`Self::Realtime`]; kept for pipelines written for AWS's element.
    #[enum_value(name = "As realtime", nick = "near-realtime")]
    NearRealtime = 1,
    /// Files: upstream is blocked while memory is full.
    #[enum_value(name = "Files: blocks upstream while memory is full", nick = "offline")]
    Offline = 2,
}

/// What to do with media for which there is no memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsKvsSinkOnFull")]
#[repr(i32)]
pub enum OnFull {
    /// What fits the streaming type: drop the oldest, or block when offline.
    #[default]
    #[enum_value(name = "By streaming-type: block if offline, else drop-oldest", nick = "auto")]
    Auto = 0,
    /// Make room: drop the oldest whole fragments.
    #[enum_value(name = "Drop the oldest whole fragments", nick = "drop-oldest")]
    DropOldest = 1,
    /// Keep what is there: drop what comes, up to the next key frame for which there is room.
    #[enum_value(name = "Drop new frames until there is room at a key frame", nick = "drop-newest")]
    DropNewest = 2,
    /// Wait for room.
    #[enum_value(name = "Block upstream", nick = "block")]
    Block = 3,
}

/// Registers the element with the plugin.
///
/// # Errors
/// When GStreamer refuses the registration.
pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    // AWS's rank, so that neither element is preferred by accident where both are installed.
    let rank = gst::Rank::PRIMARY + 10;
    gst::Element::register(Some(plugin), "kvssink", rank, KvsSink::static_type())
}
