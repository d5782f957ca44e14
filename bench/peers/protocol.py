"""What the adapters have in common: they take what `carat bench` takes, and print the same JSON as far as they can.

A peer that is not on this machine ends its adapter with exit code ABSENT and one line that says what was looked for.
"""

import argparse
import json
import sys

ABSENT = 69  # "service unavailable", of sysexits.h


def absent(reason):
    print(reason, file=sys.stderr)
    sys.exit(ABSENT)


def counts(text):
    return [int(word) for word in text.split(",")]


def parse_arguments(description, add_more=None):
    """model; prefill, depth: lists of tokens; decode: tokens per depth; threads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--prefill", type=counts, default=[128, 512])
    parser.add_argument("--depth", type=counts, default=[0])
    parser.add_argument("--decode", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, choices=[1], default=1, help="one: bench/compare makes the rounds")
    parser.add_argument("--json", action="store_true", help="what is printed anyway")
    if add_more:
        add_more(parser)
    arguments = parser.parse_args()
    arguments.prefill = [tokens for tokens in arguments.prefill if tokens > 0]
    if arguments.decode == 0:
        arguments.depth = []
    return arguments


def report(prefill, decode, **more):
    """prefill: tokens -> tokens/s, up to the first token of the answer; decode: depth -> tokens/s."""
    print(json.dumps({
        "prefill": [{"tokens": tokens, "tokens_per_s": speed} for tokens, speed in prefill.items()],
        "decode": [{"depth": depth, "tokens_per_s": speed} for depth, speed in decode.items()],
        **more,
    }))
