#!/usr/bin/env bash
# Configures and builds one preset (ccache is used if it is there).
#
# usage: scripts/build.sh PRESET [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:?usage: scripts/build.sh PRESET [TARGET...]}
shift

if [ -z "${CMAKE_CXX_COMPILER_LAUNCHER:-}" ] && command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi
# Configuring takes seconds and the build repeats it when it must, so only a new folder needs it.
if [ ! -f "build/$preset/build.ninja" ]; then
  cmake --preset "$preset"
fi
exec cmake --build --preset "$preset" ${1:+--target "$@"}
