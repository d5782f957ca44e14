#!/usr/bin/env bash
# clang-format and clang-tidy over the tree. A file that was clean is not looked at again by clang-tidy until it, a
# header of ours, or the configuration changes.
#
# usage: scripts/lint.sh [format|tidy]... (default: both) ; LINT_SECONDS bounds clang-tidy's time
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- format tidy

lint_format() {
  git ls-files -z '*.cc' '*.h' | xargs -0 clang-format-19 --dry-run -Werror
  echo "format: clean"
}

# Everything that any preset compiles, fuzz targets and benchmarks too. Configured only: nothing needs to be built.
lint_tidy() {
  cmake --preset asan -B build/tidy -DCARAT_BUILD_BENCH=ON >/dev/null
  python3 scripts/clang_tidy.py --build build/tidy --seconds "${LINT_SECONDS:-0}"
}

for what in "$@"; do
  case "$what" in
    format | tidy) "lint_$what" ;;
    *) echo "usage: scripts/lint.sh [format|tidy]..." >&2; exit 2 ;;
  esac
done
