#!/usr/bin/env bash
# The second command: installs what is missing, builds everything, and runs all tests. Fails if anything failed.
# The steps, in this order; naming some runs only those:
#
#   data      test data that cannot be committed: the demo weights, the tokenizers (cached)
#   dev       optimised build with GCC, all tests
#   asan      Clang with AddressSanitizer and UndefinedBehaviorSanitizer, all tests
#   tsan      Clang with ThreadSanitizer, all tests; not among those that run by default
#   aarch64   cross build, the unit tests under qemu-user
#   lint      clang-format
#   clang_tidy  clang-tidy over the whole tree; takes as long as all others, and is not among those that run by default
#   fuzz      every fuzz target for some seconds (`scripts/fuzz.sh TARGET` for an hour)
#   mutants   damaged model files for a minute
#
# usage: scripts/test.sh [STEP...]
set -uo pipefail
cd "$(dirname "$0")/.."

all_steps=(data dev asan aarch64 lint fuzz mutants)
steps=("$@")
[ $# -gt 0 ] || steps=("${all_steps[@]}")

fuzz_seconds_in_total=60
mutant_seconds=60
jobs=$(nproc)

export CARAT_TEST_DATA=${CARAT_TEST_DATA:-$PWD/build/test-data}
# Data that this script fetches must be there: a test that would skip for want of it fails instead.
export CARAT_REQUIRE_DATA=1

step_data() {
  mkdir -p "$CARAT_TEST_DATA" && scripts/fetch_demo_weights.sh && scripts/fetch_tokenizer.sh "$CARAT_TEST_DATA"
}

build_and_test() { scripts/build.sh "$1" && ctest --preset "$1" -j "$jobs" --progress; }
step_dev() { build_and_test dev; }
step_asan() { build_and_test asan; }
step_tsan() { build_and_test tsan; }
# An emulated processor is slow, and the host's builds have seen the fetched data already.
step_aarch64() { CARAT_REQUIRE_DATA='' build_and_test aarch64; }

step_lint() { scripts/lint.sh format; }
step_clang_tidy() { scripts/lint.sh tidy; }

step_fuzz() {
  local targets
  targets=$(find fuzz -name 'fuzz_*.cc' | wc -l)
  CARAT_FUZZ_PRESET=asan scripts/fuzz.sh all $((fuzz_seconds_in_total / (targets > 0 ? targets : 1)))
}

step_mutants() {
  scripts/build.sh asan carat_mutants && build/asan/bin/carat_mutants --count 20000 --seconds "$mutant_seconds"
}

results=()
failed=0
run_step() {
  local name=$1 started=$SECONDS verdict=ok
  printf '\n=== %s\n' "$name"
  "${@:2}" || { verdict=FAILED; failed=1; }
  results+=("$(printf '%-8s %-6s %4d s' "$name" "$verdict" $((SECONDS - started)))")
}

for step in "${steps[@]}"; do
  declare -F "step_$step" >/dev/null || { echo "test.sh: no step '$step'; there are: ${all_steps[*]} tsan clang_tidy" >&2; exit 2; }
done
run_step setup scripts/setup.sh test
for step in "${steps[@]}"; do run_step "$step" "step_$step"; done

printf '\n'
printf '%s\n' "${results[@]}"
printf 'in all %d s: %s\n' "$SECONDS" "$([ $failed -eq 0 ] && echo passed || echo FAILED)"
exit $failed
