#!/usr/bin/env bash
# The first command: installs what is missing, builds Carat, fetches small real weights, and lets them continue a text.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh build
scripts/build.sh release carat_cli
model=$(scripts/fetch_demo_weights.sh)
carat=build/release/bin/carat

cat <<TEXT

Gemma 3 270M, 4 bits, is a *pre-trained* model, and the smallest of its family. It was never taught to chat: it continues a text.
\$ $carat run $model --raw "It is a truth universally acknowledged, that" --temperature 0 --max-tokens 60

TEXT
"$carat" run "$model" --raw "It is a truth universally acknowledged, that" --temperature 0 --max-tokens 60 </dev/null
cat <<TEXT


That was real text from a real file. What Carat is for is Gemma 4 E2B and E4B, whose files you have to fetch yourself
(the hub has them under the Gemma terms; any GGUF or the original safetensors folder loads as it is):

  $carat run gemma-4-E2B-it-Q4_K_M.gguf                          a chat; /help lists its commands
  $carat run gemma-4-E2B-it-Q4_K_M.gguf "Why is the sky blue?"   one answer on stdout
  $carat inspect gemma-4-E2B-it-Q4_K_M.gguf                      what is in the file
  $carat doctor                                                  what this machine can do
  $carat --help                                                  everything else
TEXT
