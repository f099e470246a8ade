// SPDX-License-Identifier: MIT OR Apache-2.0
//! The element kvssrc: a KVS stream in, encoded frames out.
//!
//! # `element-kvssrc`
//!
//! Reads a stream with GetMedia and goes on by itself whenever the service ends a response, without
//! a lost or doubled frame. One source pad per track appears with the first fragment, numbered from
//! 0 per kind: `video_%u`, `audio_%u`, `data_%u`; `no-more-pads` follows. A track that starts later
//! gets its pad then.
//!
//! ```text
//! gst-launch-1.0 kvssrc stream-name=camera ! decodebin ! autovideosink
//! gst-launch-1.0 -e kvssrc stream-name=camera start-selector=earliest on-silence=eos \
//!     ! h264parse ! mp4mux ! filesink location=camera.mp4
//! ```
//!
//! **Live or not.** With `start-selector=now` the element is live: no preroll, media in PLAYING
//! only, `latency` in the LATENCY query, and running time begins when the first frame comes. With
//! every other selector it is not: it starts with what is stored, as fast as downstream takes it,
//! and goes on at the pace of the producer when it has caught up. In PAUSED nothing is lost, since
//! the service keeps it; reading goes on where it stopped.
//!
//! **Time.** A buffer's PTS is the frame's producer time in nanoseconds since the Unix epoch. The
//! segment starts at the first fragment's time; its stream time is the offset from
//! `start-timestamp` with `start-selector=producer-timestamp`, else from the first fragment. One
//! segment lasts for all sessions. A fragment that is earlier than the segment's start begins a
//! new segment, whose running time follows that of the last one. DTS is unset, as in Matroska: with
//! B-frames it cannot be known from the container, so put a parser in front of what needs it.
//!
//! **Flags.** DELTA_UNIT on video frames that are no key frames; DISCONT on a track's first buffer
//! and after something was lost or the producer's time jumped. A track without a frame in a
//! fragment gets a GAP event.
//!
//! # Messages
//!
//! Element messages, besides WARNING and ERROR, whose `details` have the same fields:
//!
//! | structure | fields | when |
//! | --- | --- | --- |
//! | `kvs-fragment` | `fragment-number`, `continuation-token` (string); `server-timestamp`, `producer-timestamp` (uint64, ns since the epoch); `millis-behind-now`, `frames`, `repeats`, `dropped` (uint64); `complete` (boolean); `tags` (structure: the producer's) | a fragment has been pushed |
//! | `kvs-silence` | `timeout-ms` (uint64) | no media for `silence-timeout` |
//! | `kvs-missing` | `deleted` (boolean) | the stream does not exist; with a WARNING |
//! | `kvs-retry` | `error` (string), `kind` (string), `failures` (uint), `delay-ms` (uint64) | a request failed; with a WARNING |
//! | `kvs-corrupt` | `fragment-number`, `cause` (string) | a fragment cannot be read; with a WARNING |
//! | `kvs-cut` | `fragment-number` (string), `frames` (uint64) | the response ended inside a fragment; with a WARNING |
//! | `kvs-place-lost` | none | reading goes on with the oldest fragment that is left; with a WARNING |
//!
//! Fields that are not known are absent. EOS needs a pad: when the end comes before the first
//! fragment, an ERROR says so instead.

use gst::{glib, prelude::*};

mod caps;
mod driver;
mod imp;
mod messages;
mod queue;
mod settings;
mod streamer;

glib::wrapper! {
    /// The element.
    pub struct KvsSrc(ObjectSubclass<imp::KvsSrc>) @extends gst::Element, gst::Object;
}

/// Where to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsKvsSrcStartSelector")]
#[repr(i32)]
pub enum StartSelector {
    /// With the newest fragment; live.
    #[default]
    #[enum_value(name = "The newest fragment (live)", nick = "now")]
    Now = 0,
    /// With the oldest fragment.
    #[enum_value(name = "The oldest fragment", nick = "earliest")]
    Earliest = 1,
    /// After a fragment.
    #[enum_value(name = "After the fragment fragment-number", nick = "fragment-number")]
    FragmentNumber = 2,
    /// At a time on the service's clock.
    #[enum_value(
        name = "The fragment that the service received at start-timestamp, or the next",
        nick = "server-timestamp"
    )]
    ServerTimestamp = 3,
    /// At a time on the producer's clock.
    #[enum_value(
        name = "The fragment that holds producer time start-timestamp, or the next",
        nick = "producer-timestamp"
    )]
    ProducerTimestamp = 4,
    /// Where an earlier run ended.
    #[enum_value(
        name = "After where continuation-token was given out",
        nick = "continuation-token"
    )]
    ContinuationToken = 5,
}

/// What to do when there is nothing to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsKvsSrcPolicy")]
#[repr(i32)]
pub enum Policy {
    /// Say so and go on trying.
    #[default]
    #[enum_value(name = "Say so and wait", nick = "wait")]
    Wait = 0,
    /// Post an ERROR.
    #[enum_value(name = "Error", nick = "error")]
    Error = 1,
    /// End the stream.
    #[enum_value(name = "End of stream", nick = "eos")]
    Eos = 2,
}

/// Registers the element with the plugin.
///
/// # Errors
/// When GStreamer refuses the registration.
pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "kvssrc", gst::Rank::NONE, KvsSrc::static_type())
}
