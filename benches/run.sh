#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Measures the figures of the README, each beside its peer on the same machine, and prints one
# table: benches/run.sh [--quick]. Takes about ten minutes and 8 GB of disk; --quick moves a tenth
# of the bytes, for trying the script itself.
set -euo pipefail
. "$(dirname "$0")/../pipelines/lib.sh"
"$root/tests/setup.sh" --tests
cd "$root"
cargo build --locked --release
worker=$(cargo bench --locked --bench worker --no-run --message-format=json |
  grep -oE '"executable":"[^"]+/worker-[^"]+"' | cut -d'"' -f4)
exec /usr/bin/python3 benches/figures.py "$target/release/kvs-server" "$worker" "$@"
