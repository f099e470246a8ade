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
  video=(d. ! queue ! "$parse" ! progressreport update-freq=1 silent=true)
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
    ! h264parse ! progressreport update-freq=1 silent=true)
  audio=(audiotestsrc is-live=true num-buffers=1000 samplesperbuffer=480 wave=ticks
    ! "audio/x-raw,rate=48000,channels=1" ! avenc_aac ! aacparse)
fi

rm -rf "$out"
mkdir -p "$out"
say "[3/5] starting kvs-server, data in $out/data"
start_server "$out"

# launch NAME PIPELINE...: plays it, with the frames on the pads of the element kvs in NAME.frames.
launch() {
  local name=$1
  shift
  /usr/bin/python3 "$root/pipelines/launch.py" kvs "$out/$name.frames" "$@" >"$out/$name.summary"
}
# of NAME KEY: what launch said about a run.
of() { sed -n "s/^$2=//p" "$out/$1.summary"; }

say "[4/5] uploading ${file:-a live test pattern of 10 s} to $endpoint"
upload=("${source[@]}" kvssink name=kvs stream-name="$stream" streaming-type="$mode"
  "${video[@]}" ! kvs.)
[ ${#audio[@]} = 0 ] || upload+=("${audio[@]}" ! kvs.)
launch upload "${upload[@]}" || die "the upload failed, see above"
read -r fragments bytes < <(stored_fragments "$stream") || die "the service did not answer"
[ "$fragments" -gt 0 ] || die "the service has stored no fragment"

say "[5/5] reading $fragments fragments back"
unbounded=(queue max-size-time=0 max-size-bytes=0 max-size-buffers=0)
read=(kvssrc name=kvs stream-name="$stream" start-selector=earliest num-fragments="$fragments"
  mp4mux name=out ! filesink location="$out/out.mp4"
  kvs.video_0 ! "${unbounded[@]}" ! "$timestamper" ! out.)
[ ${#audio[@]} = 0 ] || read+=(kvs.audio_0 ! "${unbounded[@]}" ! out.)
launch read "${read[@]}" || die "reading failed, see above"
ffmpeg -v error -y -ss 1 -i "$out/out.mp4" -frames:v 1 "$out/snapshot.png" ||
  die "no snapshot could be taken of $out/out.mp4"

rate() { awk -v bytes="$bytes" -v s="$1" 'BEGIN { printf "%.1f", bytes / s / 1e6 }'; }
equal=yes
verdict=$("$root/pipelines/compare.sh" "$out/upload.frames" "$out/read.frames") || equal=no
cat <<TABLE

frames in                 $(of upload frames)
frames out                $(of read frames)
fragments sent            $(of upload received)
fragments persisted       $fragments
bytes persisted           $bytes
upload                    $(of upload seconds) s, $(rate "$(of upload seconds)") MB/s
time to first frame out   $(of read first_s) s
read back                 $(of read seconds) s, $(rate "$(of read seconds)") MB/s
video                     $out/out.mp4
snapshot                  $out/snapshot.png

$verdict
TABLE
[ "$equal" = yes ]
