#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The whole way in one command: pipelines/quickstart.sh [FILE]
#
# Installs what is missing, builds, starts a kvs-server on loopback, uploads the video and sound of
# FILE (H.264 or H.265, AAC) through kvssink, or ten seconds of a live test pattern with sound,
# reads them back through kvssrc into an MP4 file, and compares every frame that entered kvssink
# with what left kvssrc. Ends with a table, and with an exit code other than 0 when anything
# differs. Needs Debian 12 and a Rust toolchain. Results: target/quickstart, or $OUT.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ $# -le 1 ] || die "usage: quickstart.sh [FILE]"
file=${1:+$(realpath "$1")}
[ -z "$file" ] || [ -r "$file" ] || die "cannot read $1"
out=${OUT:-$target/quickstart}
stream=quickstart

say "[1/5] packages"
"$root/tests/setup.sh"
say "[2/5] building (the first time takes some minutes)"
build

# The codec of FILE's first track of a kind: v or a.
codec() { ffprobe -v error -select_streams "$1:0" -show_entries stream=codec_name -of csv=p=0 "$file"; }

# What feeds kvssink: a parsed track each; without sound, audio stays empty.
if [ -n "$file" ]; then
  mode=offline
  source=(filesrc location="$file" ! parsebin name=d)
  case $(codec v) in
    h264) parse=h264parse timestamper=h264timestamper ;;
    hevc) parse=h265parse timestamper=h265timestamper ;;
    *) die "$file: the video is '$(codec v)'; this script takes h264 and hevc" ;;
  esac
  video=(d. ! queue ! "$parse" ! progressreport name=upload update-freq=1)
  case $(codec a) in
    aac) audio=(d. ! queue ! aacparse) ;;
    '') audio=() ;;
    *) die "$file: the sound is '$(codec a)'; this script takes aac" ;;
  esac
else
  mode=realtime source=() timestamper=h264timestamper
  video=(videotestsrc is-live=true num-buffers=300 pattern=ball
    ! "video/x-raw,width=1280,height=720,framerate=30/1"
    ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max=60
    ! h264parse ! progressreport name=upload update-freq=1)
  audio=(audiotestsrc is-live=true num-buffers=1000 samplesperbuffer=480 wave=ticks
    ! "audio/x-raw,rate=48000,channels=1" ! avenc_aac ! aacparse)
fi

rm -rf "$out"
mkdir -p "$out"
say "[3/5] starting kvs-server, data in $out/data"
start_server "$out"

# The tee stands right before kvssink: in.mp4 holds what entered it.
say "[4/5] uploading ${file:-a live test pattern of 10 s} to $endpoint"
upload=("${source[@]}" kvssink name=kvs stream-name="$stream" streaming-type="$mode"
  mp4mux name=in trak-timescale=90000 ! filesink location="$out/in.mp4"
  "${video[@]}" ! tee name=v v. ! queue ! kvs. v. ! queue ! in.)
[ ${#audio[@]} = 0 ] || upload+=("${audio[@]}" ! tee name=a a. ! queue ! kvs. a. ! queue ! in.)
start=$(now)
gst-launch-1.0 -m --no-position "${upload[@]}" 2>&1 | shown "$out/upload.log" '^upload ' ||
  die "the upload failed: $(grep -A 3 ERROR "$out/upload.log" || tail -n 5 "$out/upload.log")"
upload_s=$(since "$start")
read -r fragments bytes < <(stored_fragments "$stream") || die "the service did not answer"
sent=$(grep -c "event-type=(string)RECEIVED" "$out/upload.log") || die "the service received no fragment"

say "[5/5] reading $fragments fragments back"
read=(kvssrc name=kvs stream-name="$stream" start-selector=earliest num-fragments="$fragments"
  mp4mux name=out trak-timescale=90000 ! filesink location="$out/out.mp4"
  kvs.video_0 ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! "$timestamper" ! out.)
[ ${#audio[@]} = 0 ] ||
  read+=(kvs.audio_0 ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! out.)
start=$(now)
gst-launch-1.0 -v --no-position "${read[@]}" 2>&1 |
  stamped "$out/read.log" 'GstQueue:.*:sink: caps' "$out/first" ||
  die "reading failed: $(grep -A 3 ERROR "$out/read.log" || tail -n 5 "$out/read.log")"
read_s=$(since "$start")
first_s=$(awk -v a="$start" '{ printf "%.3f", $1 - a }' "$out/first")
ffmpeg -v error -y -ss 1 -i "$out/out.mp4" -frames:v 1 "$out/snapshot.png" ||
  die "no snapshot could be taken of $out/out.mp4"

count() { ffprobe -v error -show_entries packet=stream_index -of csv=p=0 "$1" | wc -l; }
rate() { awk -v bytes="$bytes" -v s="$1" 'BEGIN { printf "%.1f", bytes / s / 1e6 }'; }
equal=yes
verdict=$("$root/pipelines/compare.sh" "$out/in.mp4" "$out/out.mp4") || equal=no
cat <<TABLE

frames in                 $(count "$out/in.mp4")
frames out                $(count "$out/out.mp4")
fragments sent            $sent
fragments persisted       $fragments
bytes persisted           $bytes
upload                    $upload_s s, $(rate "$upload_s") MB/s
time to first frame out   $first_s s
read back                 $read_s s, $(rate "$read_s") MB/s
video                     $out/out.mp4
snapshot                  $out/snapshot.png

$verdict
TABLE
[ "$equal" = yes ]
