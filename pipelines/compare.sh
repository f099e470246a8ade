#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Compares every frame of two media files: pipelines/compare.sh IN OUT
#
# A file is what ffprobe can read, or a list of frames (*.frames) that launch.py wrote.
# Equal means: the same number of frames per track in the same order, the same SHA-256 of every
# payload, and every time equal within 1 ms after one common shift of all tracks, so that neither
# drift nor a loss of lip sync can pass. Prints one line and exits 0, or prints what differs first
# and exits 1.
set -euo pipefail
[ $# = 2 ] || { echo "usage: pipelines/compare.sh IN OUT" >&2; exit 2; }

# One line per frame: track, time in s, hash.
frames() {
  local kind
  if [[ $1 == *.frames ]]; then
    cat "$1"
    return
  fi
  for kind in v a; do
    ffprobe -v error -select_streams "$kind:0" -show_packets -show_data_hash sha256 \
      -show_entries packet=pts_time,data_hash -of csv=print_section=0 "$1" | sed "s/^/$kind,/; s/SHA256://"
  done
}

awk -F, -v in_name="$1" -v out_name="$2" '
  FNR == 1 { side++ }
  { n = ++count[side, $1]; total[side]++; time[side, $1, n] = $2; hash[side, $1, n] = $3 }
  function differs(text) { if (bad++ < 5) print "  " text }
  END {
    split("v a", kinds, " "); name["v"] = "video"; name["a"] = "audio"
    low = 1e18; high = -1e18
    if (!total[1]) { print "no frames in " in_name; exit 1 }
    for (k = 1; k <= 2; k++) {
      kind = kinds[k]; frames = count[1, kind] + 0
      if (frames != count[2, kind] + 0)
        differs(name[kind] ": " frames " frames went in, " count[2, kind] + 0 " came out")
      for (n = 1; n <= frames; n++) {
        if (hash[1, kind, n] != hash[2, kind, n])
          differs(name[kind] " frame " n " at " time[1, kind, n] " s: the payload differs")
        shift = time[2, kind, n] - time[1, kind, n]
        if (shift < low) low = shift
        if (shift > high) high = shift
      }
    }
    # Every frame is within 1 ms of the middle shift exactly when the span is at most 2 ms.
    off = (high - low) / 2 * 1000
    if (off > 1)
      differs(sprintf("times are up to %.3f ms off", off))
    if (bad) { print bad " differences between " in_name " and " out_name; exit 1 }
    printf "all %d frames equal (%d video, %d audio), times within %.2f ms\n",
      total[1], count[1, "v"], count[1, "a"], off
  }' <(frames "$1") <(frames "$2")
