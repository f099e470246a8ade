#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs every script of pipelines/ as a user would, and checks that a comparison can fail.
set -uo pipefail
. "$(dirname "$0")/../pipelines/lib.sh"
work=$(mktemp -d)
trap 'stop_server; rm -rf "$work"' EXIT
passed=0 failed=0

# check NAME COMMAND...: the command must succeed.
check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1 </dev/null; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    echo "FAIL $name"
    tail -n 40 "$work/log"
  fi
}

# A video with B-frames and sound, as an MP4 and an MKV file would come from anywhere.
make_file() {
  ffmpeg -v error -y -f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=44100 \
    -t 6 -c:v "$1" -preset veryfast -g 60 -bf 2 -pix_fmt yuv420p -c:a aac "${@:3}" "$2"
}

quickstart_live() { OUT=$work/live pipelines/quickstart.sh; }
quickstart_file() { OUT=$work/file pipelines/quickstart.sh "$1"; }
h264_mp4() { make_file libx264 "$work/h264.mp4" && quickstart_file "$work/h264.mp4"; }
# Closed groups of pictures: see the limits in the README.
h265_mkv() { make_file libx265 "$work/h265.mkv" -x265-params open-gop=0:log-level=error && quickstart_file "$work/h265.mkv"; }
interview() { quickstart_file "$KVS_TEST_MEDIA/interview-720p30-h264-aac.mp4"; }
refuses_a_text_file() { ! quickstart_file README.md; }

# The MP4 file holds what left kvssrc, and one flipped byte in it is found.
finds_a_flipped_byte_in_the_copy() {
  pipelines/compare.sh "$work/live/read.frames" "$work/live/out.mp4" || return 1
  cp "$work/live/out.mp4" "$work/flipped.mp4" || return 1
  flip "$work/flipped.mp4" $(($(stat -c %s "$work/flipped.mp4") / 2))
  ! pipelines/compare.sh "$work/live/read.frames" "$work/flipped.mp4"
}

# Reads the live quickstart's stream again from its stored data; prints the verdict.
read_again() {
  start_server "$work/live"
  timeout 60 /usr/bin/python3 pipelines/launch.py kvs "$work/again.frames" \
    kvssrc name=kvs stream-name=quickstart start-selector=earliest on-silence=eos \
    kvs.video_0 ! queue ! fakesink async=false sync=false \
    kvs.audio_0 ! queue ! fakesink async=false sync=false
  local status=$?
  stop_server
  [ $status = 0 ] && pipelines/compare.sh "$work/live/upload.frames" "$work/again.frames"
}

# One flipped byte in the store must not come out as if nothing had happened.
finds_a_flipped_byte_in_the_store() {
  read_again || return 1
  local segment
  segment=$(find "$work/live/data" -name '*.seg*' -printf '%s %p\n' | sort -n | tail -n 1 |
    cut -d' ' -f2-)
  echo "flipping a byte of $segment"
  flip "$segment" $(($(stat -c %s "$segment") / 2)) || return 1
  ! read_again
}

# A script of pipelines/ with nothing prepared for it.
story() { timeout 120 "pipelines/$1" "${@:2}"; }

# flip FILE OFFSET: turns over one byte.
flip() {
  local byte
  byte=$(od -An -tu1 -j"$2" -N1 "$1") &&
    printf "\\x$(printf %02x $((byte ^ 255)))" |
    dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

cd "$root" || exit
check "quickstart with a live test pattern" quickstart_live
check "quickstart with H.264 and B-frames in MP4" h264_mp4
check "quickstart with H.265 in Matroska" h265_mkv
if [ -n "${KVS_TEST_MEDIA:-}" ]; then
  check "quickstart with a real recording" interview
else
  echo "SKIPPED quickstart with a real recording: KVS_TEST_MEDIA is not set"
fi
check "quickstart refuses a file that is no video" refuses_a_text_file
check "comparison finds a flipped byte in the copy" finds_a_flipped_byte_in_the_copy
check "comparison finds a flipped byte in the store" finds_a_flipped_byte_in_the_store
check "recording a camera" story record-camera.sh test 4
check "playing live" story play-live.sh
check "resuming from a token" story resume.sh
check "fetching a range of time" story archive-range.sh
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
