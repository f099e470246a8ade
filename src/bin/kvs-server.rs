// SPDX-License-Identifier: MIT OR Apache-2.0
//! The KVS-compatible service: argument parsing and nothing else.

fn main() {}
