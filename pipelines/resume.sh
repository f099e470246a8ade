#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Reads a stream in two runs, the second going on where the first ended: pipelines/resume.sh
#
# After each fragment kvssrc posts a message with a continuation token. Whoever keeps it with the
# last fragment that was dealt with loses nothing and sees nothing twice, whatever happens between.
# You should see that both runs together have each frame of the stream exactly once.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
stream=resume folder=$(mktemp -d)
build
service
say "uploading six seconds"
upload_test_pattern "$stream" 6

# read_part FILE PROPERTIES...: reads into FILE; prints the last continuation token.
read_part() {
  local file=$1
  shift
  gst-launch-1.0 -m kvssrc stream-name="$stream" "$@" ! matroskamux ! filesink location="$file" |
    grep -oE 'continuation-token=\(string\)[^,;]+' | tail -n 1 | sed 's/.*)//'
}
hashes() {
  ffprobe -v error -show_packets -show_data_hash sha256 -show_entries packet=data_hash \
    -of csv=p=0 "$1"
}

token=$(read_part "$folder/first.mkv" start-selector=earliest num-fragments=2)
say "two fragments are read; going on from the token $token"
read_part "$folder/rest.mkv" start-selector=continuation-token continuation-token="$token" \
  on-silence=eos >/dev/null
read_part "$folder/all.mkv" start-selector=earliest on-silence=eos >/dev/null

first=$(hashes "$folder/first.mkv" | wc -l) rest=$(hashes "$folder/rest.mkv" | wc -l)
diff <(hashes "$folder/first.mkv"; hashes "$folder/rest.mkv") <(hashes "$folder/all.mkv") ||
  die "the two parts are not the whole"
rm -rf "$folder"
echo "$first frames, then $rest frames: each frame of the stream exactly once"
[ "$first" -gt 0 ] && [ "$rest" -gt 0 ]
