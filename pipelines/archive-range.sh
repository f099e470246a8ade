#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Fetches a range of time as an MP4 file: pipelines/archive-range.sh [STREAM FROM TO FILE]
#
# FROM and TO are ISO 8601 (2026-01-01T00:00:00Z) or seconds since the epoch, in the producer's
# time. Without arguments it uploads six seconds of a test pattern and fetches two from the middle.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ $# = 0 ] || [ $# = 4 ] || die "usage: archive-range.sh [STREAM FROM TO FILE]"
build
service
if [ $# = 4 ]; then
  stream=$1 from=$2 to=$3 file=$4
else
  stream=archive file=$target/pipelines/archive-range.mp4
  mkdir -p "$target/pipelines"
  say "uploading six seconds"
  begin=$EPOCHSECONDS
  upload_test_pattern "$stream" 6
  from=$((begin + 2)) to=$((begin + 4))
fi

say "fetching $from to $to"
gst-launch-1.0 -q kvssrc stream-name="$stream" start-selector=producer-timestamp \
  start-timestamp="$from" end-timestamp="$to" ! h264timestamper ! mp4mux ! filesink location="$file"
length=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$file")
echo "$length s are in $file"
