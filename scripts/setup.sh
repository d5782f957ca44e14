#!/usr/bin/env bash
# Installs the Debian 12 packages that are missing: those to build and run Carat, and with `test` those of its tests too.
# Looks first, so that a later run is instant and needs no network. As root, or with sudo.
#
# usage: scripts/setup.sh [build|test]
set -euo pipefail

# "package" or "package:command" (satisfied by the command alone, whoever installed it).
build_packages=(
  g++:g++ cmake:cmake ninja-build:ninja
  nlohmann-json3-dev libcli11-dev libfmt-dev libedit-dev
  libjpeg62-turbo-dev libpng-dev libwebp-dev libgif-dev ffmpeg:ffmpeg
  python3:python3 python3-pip:pip3 ca-certificates)
test_packages=(
  libgtest-dev libsimde-dev
  clang-19:clang++-19 libclang-rt-19-dev clang-format-19:clang-format-19 clang-tidy-19:clang-tidy-19
  g++-aarch64-linux-gnu:aarch64-linux-gnu-g++ qemu-user:qemu-aarch64
  npm:npm)
# What the aarch64 preset links, for its target.
arm64_packages=(libjpeg62-turbo-dev libpng-dev libwebp-dev libgif-dev)

wanted=("${build_packages[@]}")
wanted_arm64=()
case "${1:-build}" in
  build) ;;
  test) wanted+=("${test_packages[@]}"); wanted_arm64=("${arm64_packages[@]}") ;;
  *) echo "usage: scripts/setup.sh [build|test]" >&2; exit 2 ;;
esac

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]; }

missing=()
for entry in "${wanted[@]}"; do
  package=${entry%%:*}
  if [ "$package" != "$entry" ] && command -v "${entry#*:}" >/dev/null; then continue; fi
  if command -v dpkg-query >/dev/null && is_installed "$package"; then continue; fi
  missing+=("$package")
done
for package in "${wanted_arm64[@]}"; do
  if command -v dpkg-query >/dev/null && is_installed "$package:arm64"; then continue; fi
  missing+=("$package:arm64")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "setup: not a Debian system; what Debian 12 calls these is missing: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}" >&2
[ ${#wanted_arm64[@]} -eq 0 ] || "${as_root[@]}" dpkg --add-architecture arm64
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
