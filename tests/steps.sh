# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
# Sourced: runs named steps one after the other, keeps going, and sums up what they counted.
# Wants $logs, the folder for the steps' output.

table=()
passed=0 failed=0 skipped=0

# step NAME COMMAND...: a step that prints test counts adds them, any other counts as one test.
step() {
  local name=$1 log=$logs/$1.log from=$SECONDS status ok bad out counts
  shift
  echo "== $name: $*"
  "$@" >"$log" 2>&1 </dev/null
  status=$?
  # "test result: ok. 3 passed; 0 failed; 1 ignored" (cargo), "3 passed, 1 failed in 2 s" (pytest)
  counts=$(grep -E '^(test result:|=+ .*(passed|failed)|[0-9]+ (passed|failed))' "$log")
  sum() { grep -oE "[0-9]+ ($1)" <<<"$counts" | awk '{n += $1} END {print n + 0}'; }
  ok=$(sum passed) bad=$(sum 'failed|error|errors') out=$(sum 'ignored|skipped')
  if [ $((ok + bad)) = 0 ]; then
    if [ $status = 0 ]; then ok=1; else bad=1; fi
  elif [ $status != 0 ] && [ "$bad" = 0 ]; then
    bad=1
  fi
  passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + out))
  table+=("$(printf '%-16s %6d %6d %7d %5d s' "$name" "$ok" "$bad" "$out" $((SECONDS - from)))")
  grep -E 'SKIPPED' "$log" | sort -u
  if [ $status != 0 ]; then
    echo "-- $name failed (exit $status); from $log:"
    grep -E '^(test .* FAILED|error|---- )|panicked at' "$log" | head -n 40
    tail -n 60 "$log"
  fi
}

# Prints the table and the closing line; fails when any step did.
closing() {
  printf '\n%-16s %6s %6s %7s %7s\n' step passed failed skipped time
  printf '%s\n' "${table[@]}"
  printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" = 0 ]
}
