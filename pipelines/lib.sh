# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
# Sourced by the scripts of this folder: builds, starts a kvs-server on loopback that ends with the
# script, and asks it what it stores.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
export GST_PLUGIN_PATH=$target/release${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Installs what is missing and builds plugin and server.
build() {
  "$root/tests/setup.sh" || die "packages are missing, see above"
  command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
  (cd "$root" && cargo build --locked --release) || die "the build failed, see above"
}

# start_server FOLDER: sets $endpoint and $server_pid. All settings of this script's pipelines come
# from the environment, so that the pipelines stay as short as on a command line.
start_server() {
  local folder=$1 log=$1/kvs-server.log
  mkdir -p "$folder"
  : >"$log"
  "$target/release/kvs-server" --listen 127.0.0.1:0 --data-dir "$folder/data" >"$log" 2>&1 &
  server_pid=$!
  trap stop_server EXIT
  trap 'exit 130' INT TERM
  local deadline=$((SECONDS + 20))
  until endpoint=$(grep -oEm1 'http://127\.0\.0\.1:[0-9]+' "$log"); do
    kill -0 "$server_pid" 2>/dev/null || die "kvs-server ended: $(tail -n 3 "$log")"
    [ $SECONDS -lt $deadline ] || die "kvs-server does not listen: $(tail -n 3 "$log")"
    read -rt 0.05 <> <(:) || :
  done
  export CONTROL_PLANE_URI=$endpoint
}

# Asks the server to end, and waits for it.
stop_server() {
  [ -n "${server_pid:-}" ] || return 0
  kill "$server_pid" 2>/dev/null && wait "$server_pid" 2>/dev/null
  unset server_pid CONTROL_PLANE_URI
}

# call OPERATION JSON: one call of the service's API; prints the answer.
call() {
  curl --silent --show-error --fail-with-body --data "$2" \
    --header 'content-type: application/json' "$endpoint/$1"
}

# stored_fragments STREAM: number and bytes of the fragments that the service has persisted.
stored_fragments() {
  local token='' answer count=0 bytes=0 counts
  local range='{"StartTimestamp": 0, "EndTimestamp": 4102444800}'
  local select='"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange"'
  local query="\"StreamName\": \"$1\", \"MaxResults\": 1000, \"FragmentSelector\": {$select: $range}"
  while :; do
    answer=$(call listFragments "{$query$token}") || return 1
    counts=$(grep -oE '"FragmentSizeInBytes":[0-9]+' <<<"$answer" |
      awk -F: '{ n++; sum += $2 } END { printf "%d %d", n, sum }')
    count=$((count + ${counts% *})) bytes=$((bytes + ${counts#* }))
    token=$(grep -oE '"NextToken":"[^"]+"' <<<"$answer") || break
    token=", $token"
  done
  echo "$count $bytes"
}

# service: the one that CONTROL_PLANE_URI names, else a new kvs-server on loopback.
service() {
  if [ -n "${CONTROL_PLANE_URI:-}" ]; then
    endpoint=$CONTROL_PLANE_URI
  else
    local folder
    folder=$target/pipelines/$(basename "$0" .sh)
    rm -rf "$folder"
    start_server "$folder"
    say "started kvs-server at $endpoint, data in $folder/data"
  fi
}

# upload_test_pattern STREAM SECONDS: a live picture with a running clock, in real time.
upload_test_pattern() {
  gst-launch-1.0 -q videotestsrc is-live=true num-buffers=$(($2 * 30)) pattern=ball \
    ! "video/x-raw,width=640,height=360,framerate=30/1" \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! h264parse \
    ! kvssink stream-name="$1"
}
