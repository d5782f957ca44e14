#!/usr/bin/env bash
# Runs one fuzz target, or each of them, for some seconds. Findings are left in out/fuzz/TARGET/; the corpus grows in
# build/fuzz-corpus/TARGET, starting from fuzz/corpus/TARGET.
#
# usage: scripts/fuzz.sh TARGET|all [SECONDS]     (default: 3600 seconds each; TARGET such as fuzz_gguf)
# The preset that is built is CARAT_FUZZ_PRESET, or fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?usage: scripts/fuzz.sh TARGET|all [SECONDS]}
seconds=${2:-3600}
preset=${CARAT_FUZZ_PRESET:-fuzz}

if [ "$target" = all ]; then
  targets=()
  for source in fuzz/fuzz_*.cc; do targets+=("$(basename "$source" .cc)"); done
else
  targets=("$target")
fi
scripts/build.sh "$preset" "${targets[@]}"

failed=0
for target in "${targets[@]}"; do
  corpus=build/fuzz-corpus/$target
  findings=out/fuzz/$target
  mkdir -p "$corpus" "$findings"
  seeds=()
  [ -d "fuzz/corpus/$target" ] && seeds=("fuzz/corpus/$target")
  echo "== $target, $seconds s"
  log=$findings/log
  if ! "build/$preset/bin/$target" "$corpus" "${seeds[@]}" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=25 \
      -artifact_prefix="$findings/" -print_final_stats=1 >"$log" 2>&1; then
    failed=1
    echo "FINDING by $target: see $findings/" >&2
    tail -n 40 "$log" >&2
  else
    grep -E 'Done [0-9]+ runs|stat::number_of_executed_units|stat::new_units_added|stat::peak_rss_mb' "$log" | sed 's/^/   /'
  fi
done
exit $failed
