// SPDX-License-Identifier: MIT OR Apache-2.0
//! The element kvssink: encoded frames in, a KVS stream out.

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
