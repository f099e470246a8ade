// SPDX-License-Identifier: MIT OR Apache-2.0
//! What GStreamer loads: the plugin `kvs` and the registration of its elements.
#![allow(missing_docs, reason = "gst::plugin_define! makes public items without docs")]

fn plugin_init(plugin: &gst::Plugin) -> Result<(), gst::glib::BoolError> {
    crate::kvssink::register(plugin)?;
    crate::kvssrc::register(plugin)
}

gst::plugin_define!(
    kvs,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    // GStreamer 1.22 refuses licence strings it does not know; the licence is MIT OR Apache-2.0.
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
