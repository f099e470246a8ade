#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Records a camera into a stream: pipelines/record-camera.sh [CAMERA] [SECONDS]
#
# CAMERA is an RTSP address with H.264, a device such as /dev/video0, or "test" (the default) for a
# live test pattern. Records until Ctrl-C, or for SECONDS. You should see the number of fragments
# that the service has stored; Ctrl-C still delivers what was recorded.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
camera=${1:-test} seconds=${2:-} stream=${STREAM:-camera}
build
service

case $camera in
  test)
    source=(videotestsrc is-live=true pattern=ball ! "video/x-raw,width=1280,height=720,framerate=30/1"
      ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 ! h264parse) ;;
  rtsp://*)
    source=(rtspsrc location="$camera" protocols=tcp ! rtph264depay ! h264parse) ;;
  /dev/*)
    source=(v4l2src device="$camera" ! videoconvert
      ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 ! h264parse) ;;
  *) die "$camera is no camera: give rtsp://..., /dev/video... or test" ;;
esac

say "recording $camera into the stream $stream${seconds:+ for $seconds s}; Ctrl-C ends it"
trap : INT
# Without -e, as after a Ctrl-C in a hurry: kvssink delivers what it has when it stops.
${seconds:+timeout --signal=INT "$seconds"} gst-launch-1.0 -q "${source[@]}" \
  ! kvssink stream-name="$stream" || [ $? = 124 ] || die "recording failed, see above"
read -r fragments bytes < <(stored_fragments "$stream")
echo "the service has stored $fragments fragments with $bytes bytes of the stream $stream"
[ "$fragments" -gt 0 ]
