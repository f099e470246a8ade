#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# boto3, AWS's own client, against kvs-server: every operation it knows, answers and errors.
#
#   tests/boto3/run.sh
#
# Makes .venv with the pinned boto3 when it is not there. KVS_SERVER names the server to test;
# without it target/debug/kvs-server is built. Needs python3-venv and ffmpeg.
set -euo pipefail
cd "$(dirname "$0")/../.."

stamp=.venv/requirements.txt
if ! cmp -s tests/boto3/requirements.txt "$stamp"; then
  python3 -m venv --clear .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r tests/boto3/requirements.txt
  cp tests/boto3/requirements.txt "$stamp"
fi
if [ -z "${KVS_SERVER:-}" ]; then
  cargo build --locked --quiet --bin kvs-server
  KVS_SERVER=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/kvs-server
  export KVS_SERVER
fi
exec .venv/bin/python tests/boto3
