#!/usr/bin/env python3
"""Writes tests/data/quant/blocks.json: random blocks of every GGUF type that Carat reads, and the weights that the
`gguf` package (0.19.0, NumPy only) reads from them, as bytes of little-endian float32 in hexadecimal.

    pip install gguf==0.19.0
    tools/reference/blocks.py tests/data/quant/blocks.json
"""

import json
import sys

import gguf
import numpy as np

# Byte offsets of the f16 fields (scale, minimum) of each block type.
F16_FIELDS = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0],
    "F16": [0], "BF16": [],
}  # fmt: skip

# A scale of each kind: ordinary, negative, zero, smallest subnormal, largest.
SCALES = np.array([0.0173, -0.42, 0.0, 2.0**-24, 65504.0, 1.0, -0.0, 3.0e-5], dtype=np.float16)


def random_blocks(name: str, rng: np.random.Generator) -> np.ndarray:
    block_elements, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    count = {1: 256, 32: 16, 256: 8}[block_elements]
    blocks = rng.integers(0, 256, size=(count, block_bytes), dtype=np.uint8)
    if name == "F16":  # keep NaNs out: their payload is nobody's business
        values = np.concatenate([SCALES, rng.normal(0, 1, count - len(SCALES)).astype(np.float16)])
        return values.view(np.uint8).reshape(count, 2)
    if name == "BF16":
        values = rng.normal(0, 1, count).astype(np.float32)
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(count, 2)
    for i in range(count):
        for field in F16_FIELDS[name]:
            scale = SCALES[(i + field) % len(SCALES)]
            blocks[i, field : field + 2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    return blocks


def main() -> None:
    rng = np.random.default_rng(3)
    types = {}
    for name in F16_FIELDS:
        blocks = random_blocks(name, rng).reshape(1, -1)
        values = gguf.dequantize(blocks, gguf.GGMLQuantizationType[name]).astype(np.float32)
        types[name] = {"blocks": blocks.tobytes().hex(), "values": values.tobytes().hex()}
    with open(sys.argv[1], "w", encoding="ascii") as out:
        json.dump({"made_by": "tools/reference/blocks.py", "types": types}, out, indent=1)
        out.write("\n")


main()
