#!/usr/bin/env python3
"""Runs clang-tidy 19 over the sources that a build compiles, some at a time, and remembers which were clean."""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def sources(build):
    """Paths of our own sources in the build's compile commands, without generated ones, each once."""
    commands = json.loads((build / "compile_commands.json").read_text())
    found = {pathlib.Path(c["directory"], c["file"]).resolve() for c in commands}
    return sorted(p for p in found if p.is_relative_to(ROOT) and not p.is_relative_to(ROOT / "build"))


def digest_of_headers():
    """A change of any header or of the configuration makes every file worth another look."""
    digest = hashlib.sha256((ROOT / ".clang-tidy").read_bytes())
    for folder in ("include", "src", "tests", "fuzz"):
        for header in sorted((ROOT / folder).rglob("*.h")):
            digest.update(header.read_bytes())
    return digest.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/dev")
    parser.add_argument("--seconds", type=float, default=0, help="start no file after this time; 0: no bound")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="only these")
    args = parser.parse_args()

    chosen = [f.resolve() for f in args.files] or sources(args.build)
    cache = args.build / "clang-tidy-clean"
    cache.mkdir(parents=True, exist_ok=True)
    headers = digest_of_headers()
    stamps = {f: cache / hashlib.sha256((headers + str(f)).encode() + f.read_bytes()).hexdigest() for f in chosen}
    todo = [f for f in chosen if not stamps[f].exists()]
    started = time.monotonic()

    def check(source):
        if args.seconds and time.monotonic() - started > args.seconds:
            return source, None, ""
        run = subprocess.run(
            ["clang-tidy-19", "--quiet", "--extra-arg=-Wno-unknown-warning-option", "-p", str(args.build), str(source)], capture_output=True, text=True, cwd=ROOT)
        return source, run.returncode, run.stdout + ("" if run.returncode == 0 else run.stderr)

    failed = skipped = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for source, code, output in pool.map(check, todo):
            if code is None:
                skipped += 1
            elif code == 0:
                stamps[source].touch()
            else:
                failed += 1
                print(output, flush=True)
    late = f", {skipped} left for a run with more time" if skipped else ""
    print(f"clang-tidy: {len(chosen) - failed - skipped} of {len(chosen)} files clean, {failed} with findings{late}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
