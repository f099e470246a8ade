#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs what is missing and runs every test.
#
#   tests/run.sh            everything, in minutes
#   tests/run.sh --long     the same with the long counts of the randomised tests
#
# Logs of all steps: target/test-logs. Real captures are used when KVS_TEST_MEDIA names their
# folder, or ../shared/media is there; tests that need them say so when they skip.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

case "${1:-}" in
  '') ;;
  --long) export KVS_TEST_LONG=1 PROPTEST_CASES=20000 ;;
  *) echo "usage: tests/run.sh [--long]" >&2; exit 2 ;;
esac

# The tests bring their own service and keys: nothing of the caller's account may leak in.
for name in $(compgen -v | grep -E '^(AWS_|CONTROL_PLANE_URI$)'); do unset "$name"; done
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
# A GLib or GStreamer warning in a test is a failure.
export G_DEBUG=fatal_warnings
if [ -z "${KVS_TEST_MEDIA:-}" ] && [ -d ../shared/media ]; then
  KVS_TEST_MEDIA=$(realpath ../shared/media)
  export KVS_TEST_MEDIA
fi

logs=$PWD/target/test-logs
mkdir -p "$logs"
rm -f "$logs"/*.log
# shellcheck source=tests/steps.sh
. tests/steps.sh

step setup tests/setup.sh --tests
step cargo-test cargo test --locked --no-fail-fast -- --show-output
step boto3 tests/boto3/run.sh
step aws-sdk tests/aws-sdk/run.sh --target-dir "$PWD/target"
step release-build cargo build --locked --release
step pipelines tests/pipelines.sh
closing
