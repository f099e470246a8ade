#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Plays a stream live: pipelines/play-live.sh [STREAM]
#
# Without STREAM it plays a test pattern of ten seconds that it uploads itself. On a machine without
# a display the frames are decoded and counted only. Ends when the stream is silent for 3 s.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
stream=${1:-}
build
service
if [ -z "$stream" ]; then
  stream=live
  upload_test_pattern "$stream" 10 &
  trap 'kill %% 2>/dev/null || :; stop_server' EXIT
fi
sink=(fakesink sync=true)
[ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || sink=(autovideosink)

say "playing $stream from $endpoint"
log=$(mktemp)
gst-launch-1.0 -v --no-position kvssrc stream-name="$stream" on-silence=eos ! decodebin \
  ! videoconvert ! fpsdisplaysink video-sink="${sink[*]}" text-overlay=false 2>&1 |
  tee "$log" | { grep --line-buffered 'last-message = rendered' >&2 || :; } ||
  die "playing failed: $(grep -A 3 ERROR "$log")"
rendered=$(grep -oE 'last-message = rendered: [0-9]+' "$log" | tail -n 1 | grep -oE '[0-9]+') || :
rm -f "$log"
echo "${rendered:-0} frames shown"
[ "${rendered:-0}" -gt 0 ]
