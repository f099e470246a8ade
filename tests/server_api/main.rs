// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server as its clients see it: over sockets, byte by byte where bytes matter.
#![cfg(feature = "server")]

mod auth;
mod client;
mod connections;
mod control_plane;
mod media;
mod process;
mod sessions;
