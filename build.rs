// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hands the plugin's version, commit and date to `plugin_define!`.

fn main() {
    // Without these, cargo would build everything anew after a change to any file, the README too.
    for file in ["Cargo.toml", ".git/logs/HEAD"] {
        if std::fs::exists(file).unwrap_or(false) {
            println!("cargo:rerun-if-changed={file}");
        }
    }
    gst_plugin_version_helper::info();
}
