#!/usr/bin/env python3
"""LiteRT-LM as a peer for bench/compare.

usage: litert_lm.py MODEL [what carat bench takes]

LITERT_LM names its program (of the Python package litert-lm), and LITERT_LM_MODEL the .litertlm file that it reads in place
of MODEL: it takes no other format. What the file's cache holds bounds prompt and answer.

Packed weights are kept on disk beside the model, as its own default would have it on a phone; the first run of all
makes them and is not counted. Prefill is the prompt's length by the time to the first token: what the program itself
calls prefill speed leaves out the last token's way through the upper layers. It cannot decode behind nothing: a depth of
0 is one of 1.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import protocol

FIGURES = ("Decode speed", "Init time", "Time to first token")


def benchmark(program, model, prompt, decode, threads):
    """The figures of one pass after a pass to warm up."""
    command = [program, "benchmark", model, "-p", str(prompt), "-d", str(decode), "--backend", "cpu",
               "--cpu-thread-count", str(threads), "--cache", "disk", "--runs", "1"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = {name: re.search(re.escape(name) + r":\s*([\d.]+)", run.stdout) for name in FIGURES}
    if run.returncode != 0 or not all(found.values()):
        sys.exit(f"{shlex.join(command)}: exit code {run.returncode}\n{run.stdout}\n{run.stderr}")
    return {name: float(match[1]) for name, match in found.items()}


def main():
    arguments = protocol.parse_arguments(__doc__)
    program, model = os.environ.get("LITERT_LM"), os.environ.get("LITERT_LM_MODEL")
    if not program or not model:
        protocol.absent("LITERT_LM does not name a litert-lm, or LITERT_LM_MODEL no .litertlm file")
    if not pathlib.Path(model).exists():
        protocol.absent(f"there is no {model}")
    prefill, decode, loads = {}, {}, []
    for tokens in arguments.prefill:
        figures = benchmark(program, model, tokens, 2, arguments.threads)
        prefill[tokens] = tokens / figures["Time to first token"]
        loads.append(figures["Init time"])
    for depth in arguments.depth:
        figures = benchmark(program, model, max(depth, 1), arguments.decode, arguments.threads)
        decode[depth] = figures["Decode speed"]
        loads.append(figures["Init time"])
    protocol.report(prefill, decode, load_s=min(loads))


main()
