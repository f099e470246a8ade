#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs the Debian packages that building and running needs, and says which.
#
#   tests/setup.sh            what the quickstart needs
#   tests/setup.sh --tests    what the whole test suite needs as well
#
# Packages that are there already are left alone: then nothing needs root or a network.
set -euo pipefail

packages=(
  build-essential pkg-config curl ca-certificates ffmpeg python3-gi gir1.2-gstreamer-1.0
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
)
if [ "${1:-}" = --tests ]; then
  packages+=(mkvtoolnix python3-venv gir1.2-gst-plugins-base-1.0)
fi

if ! command -v cargo >/dev/null; then
  echo "setup: no cargo in PATH: install Rust (https://rustup.rs), then run this again" >&2
  exit 1
fi
if ! command -v dpkg-query >/dev/null; then
  echo "setup: this is no Debian: install the counterparts of these, then run this again:" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
    missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: not root, and no sudo: install these as root, then run this again:" >&2
    echo "  apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get -qq update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
