#!/usr/bin/env python3
"""llama.cpp and ik_llama.cpp by their program llama-bench, as peers for bench/compare.

usage: llama_bench.py MODEL [what carat bench takes] --from VARIABLE [--ik] [--options="..."]

The environment variable VARIABLE names the program. --options are for it: ik_llama.cpp decodes faster with
"-rtr 1 -muge 1 -mqkv 1", which repacks the weights at the start, and reads prompts faster without.

llama-bench computes the logits of a prompt's last token, but chooses no token: its prefill ends just before the first
token.
"""

import json
import os
import shlex
import subprocess
import sys

import protocol


def add_more(parser):
    parser.add_argument("--from", dest="variable", default="LLAMA_BENCH", metavar="VARIABLE")
    parser.add_argument("--ik", action="store_true", help="a depth is said as ik_llama.cpp wants it")
    parser.add_argument("--options", default="")


def main():
    arguments = protocol.parse_arguments(__doc__, add_more)
    program = os.environ.get(arguments.variable)
    if not program:
        protocol.absent(f"{arguments.variable} does not name a llama-bench")
    if not arguments.model.endswith(".gguf"):
        protocol.absent(f"{arguments.model} is not a GGUF file")
    command = [program, "-m", arguments.model, "-t", str(arguments.threads), "-fa", "1", "-r", "1", "-o", "json"]
    command += shlex.split(arguments.options)
    command += ["-p", ",".join(map(str, arguments.prefill)) or "0"]
    command += tests_of_decoding(arguments)
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{shlex.join(command)}: exit code {run.returncode}\n{run.stderr}")

    prefill, decode = {}, {}
    for row in json.loads(run.stdout):
        depth = row["n_prompt"] if arguments.ik else row.get("n_depth", 0)
        if row["n_gen"] > 0:
            decode[depth] = row["avg_ts"]
        elif depth == 0 or arguments.ik:
            prefill[row["n_prompt"]] = row["avg_ts"]
    protocol.report(prefill, {depth: decode[depth] for depth in arguments.depth})


def tests_of_decoding(arguments):
    tokens = str(arguments.decode)
    if not arguments.depth:
        return ["-n", "0"]
    if not arguments.ik:  # prompts are read at each depth as well
        return ["-n", tokens, "-d", ",".join(map(str, sorted({0, *arguments.depth})))]
    words = ["-n", tokens if 0 in arguments.depth else "0"]
    for depth in arguments.depth:
        if depth > 0:
            words += ["-gp", f"{depth},{tokens}"]
    return words


main()
