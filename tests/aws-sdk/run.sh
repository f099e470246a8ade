#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The AWS SDK for Rust against kvs-server: every operation it knows, answers and errors.
#
#   tests/aws-sdk/run.sh [cargo test options]
#
# A package and a workspace of its own with a locked set of dependencies. KVS_SERVER names the
# server to test; without it target/debug/kvs-server is built. Needs ffmpeg.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${KVS_SERVER:-}" ]; then
  cargo build --locked --quiet --bin kvs-server
  KVS_SERVER=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/kvs-server
  export KVS_SERVER
fi
exec cargo test --locked --manifest-path tests/aws-sdk/Cargo.toml "$@"
