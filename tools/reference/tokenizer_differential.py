#!/usr/bin/env python3
"""Compares `carat tokenize` with Hugging Face `tokenizers` on random strings; any difference is an error.

usage: tokenizer_differential.py CARAT GEMMA3_TOKENIZER.json GEMMA4_TOKENIZER.json [--count N] [--seed N] [--sample OUT.json]

Every string goes through both vocabularies, with control strings as tokens (--special) and as text. The strings are of all
scripts, emoji, control characters, white space of every kind, special strings whole and damaged, pieces of the vocabulary,
and long runs. --sample writes the strings and the answers of `tokenizers`: tests/data/tokenizer/random-strings.json
(--count 300 --seed 20260709); answers with control strings as tokens (gemma3_control, gemma4_control) only where they differ.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizers

# Where scripts begin and end; surrogates left out. The last three: private use, specials, the end of Unicode.
BLOCKS = [
    (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F),
    (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x74F), (0x780, 0x7BF), (0x900, 0x97F), (0x980, 0x9FF),
    (0xA00, 0xA7F), (0xA80, 0xAFF), (0xB80, 0xBFF), (0xC00, 0xC7F), (0xD00, 0xD7F), (0xD80, 0xDFF), (0xE00, 0xE7F),
    (0xE80, 0xEFF), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F),
    (0x13A0, 0x13FF), (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20CF),
    (0x2100, 0x23FF), (0x2500, 0x27BF), (0x2800, 0x28FF), (0x2E80, 0x2FDF), (0x3000, 0x303F), (0x3040, 0x30FF),
    (0x3130, 0x318F), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF),
    (0xFB00, 0xFDFF), (0xFE70, 0xFEFF), (0xFF00, 0xFFEF), (0x10000, 0x1007F), (0x10400, 0x1044F), (0x12000, 0x123FF),
    (0x13000, 0x1342F), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0xE000, 0xE0FF), (0xFFF0, 0xFFFF),
    (0x10FF00, 0x10FFFF),
]
EMOJI = ["\U0001F642", "\U0001F468\u200d\U0001F469\u200d\U0001F467", "\U0001F44D\U0001F3FD", "\u2764\ufe0f", "1\ufe0f\u20e3",
         "\U0001F1E9\U0001F1EA", "\U0001F3F4\U000E0067\U000E0062\U000E007F", "\U0001FAE0"]
SPACES = [" ", "\n", "\t", "\r", "\r\n", "\v", "\f", "\u0085", "\u00a0", "\u2003", "\u200b", "\u2028", "\u3000", "\ufeff", "\u2581"]
SEAMS = ["> </", ">\u2581</", "> <", " </", "a> </b", "\n \n", " \n ", "\t ", "  a", "\u2581 \u2581"]


class Strings:
    def __init__(self, seed, pieces, control, literals):
        self.random = random.Random(seed)
        self.pieces = pieces
        self.control_strings = control
        self.literals = literals

    def part(self):
        """One part of a string."""
        random = self.random
        kinds = [self.script, self.script, self.piece, self.piece, self.literal, self.control, self.space, self.run, self.seam,
                 self.digits, lambda: random.choice(EMOJI)]
        return random.choice(kinds)()

    def script(self):
        first, last = self.random.choice(BLOCKS)
        return "".join(chr(self.random.randint(first, last)) for _ in range(self.random.randint(1, 12)))

    def piece(self):
        return "".join(self.random.choice(self.pieces) for _ in range(self.random.randint(1, 6)))

    def literal(self):
        """A special string, often damaged."""
        text = self.random.choice(self.random.choice([self.control_strings, self.literals]))
        damage = self.random.randrange(6)
        if damage == 0:
            text = text[:self.random.randint(1, len(text))]
        elif damage == 1:
            text = text[self.random.randrange(len(text)):]
        elif damage == 2:
            text = text * 2
        elif damage == 3:
            text = text[:-1] + self.random.choice(self.control_strings)
        return text

    def control(self):
        return "".join(chr(self.random.choice([*range(0x20), *range(0x7F, 0xA0)])) for _ in range(self.random.randint(1, 4)))

    def space(self):
        return "".join(self.random.choice(SPACES) for _ in range(self.random.randint(1, 5)))

    def run(self):
        unit = self.random.choice([" ", "\n", "\t", "a", "=", "-", "\u2581", "\u65e5", "ab", "\u00e9", "\r", "0", "\U0001F642"])
        return unit * self.random.choice([2, 3, 7, 15, 16, 17, 30, 31, 32, 33, 62, 63, 100, 300])

    def seam(self):
        return self.random.choice(SEAMS)

    def digits(self):
        return "".join(self.random.choice("0123456789.,+-eE") for _ in range(self.random.randint(1, 20)))

    def next(self):
        long = self.random.randrange(200) == 0
        return "".join(self.part() for _ in range(self.random.randint(50, 400) if long else self.random.randint(1, 8)))


def ask_carat(carat, tokenizer_json, texts, control):
    """Token ids from the command, which needs no more of a model than its tokenizer.json."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "tokenizer.json").symlink_to(pathlib.Path(tokenizer_json).resolve())
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        command = [carat, "tokenize", folder, "--jsonl"] + (["--special"] if control else [])
        answer = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line)["ids"] for line in answer.stdout.splitlines()]


def ask_tokenizers(tokenizer, texts, control):
    tokenizer.encode_special_tokens = not control
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carat")
    parser.add_argument("gemma3")
    parser.add_argument("gemma4")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", metavar="OUT.json", help="write the strings and the answers of `tokenizers`")
    options = parser.parse_args()

    references = {"gemma3": tokenizers.Tokenizer.from_file(options.gemma3),
                  "gemma4": tokenizers.Tokenizer.from_file(options.gemma4)}
    pieces = sorted(piece.replace("\u2581", " ") for piece in references["gemma4"].get_vocab(with_added_tokens=False))
    added = [token for reference in references.values() for token in reference.get_added_tokens_decoder().values()]
    control = sorted({token.content for token in added if token.special})
    literals = sorted({token.content for token in added if not token.special})
    strings = Strings(options.seed, pieces, control, literals)
    texts = [strings.next() for _ in range(options.count)]

    sample = [{"text": text} for text in texts]
    differences = 0
    for name, path in (("gemma3", options.gemma3), ("gemma4", options.gemma4)):
        for control in (False, True):
            expected = ask_tokenizers(references[name], texts, control)
            answers = ask_carat(options.carat, path, texts, control)
            assert len(answers) == len(texts)
            for text, right, answer, record in zip(texts, expected, answers, sample):
                if not control:
                    record[name] = right
                elif right != record[name]:
                    record[name + "_control"] = right
                if answer != right:
                    differences += 1
                    if differences <= 10:
                        print(f"{name}, control {control}: {text!r}\n  tokenizers {right}\n  carat      {answer}")
            tokens = sum(map(len, expected))
            print(f"{name}, control strings as {'tokens' if control else 'text'}: {len(texts)} strings, {tokens} tokens")
    if options.sample:
        lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in sample)
        pathlib.Path(options.sample).write_text(f"[\n{lines}\n]\n")
    print(f"tokenizers {tokenizers.__version__}, seed {options.seed}: {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
