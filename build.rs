// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hands the plugin's version, commit and date to `plugin_define!`.

fn main() {
    gst_plugin_version_helper::info();
}
