"""Log-probabilities of a page of English under Gemma 3 270M, in float64 from the dequantised weights: what the file means.

    python real_weights.py gemma-3-270m-q4_k_m.gguf ../../tests/data/gemma3-270m

The folder holds page.txt (the opening of Jane Austen's Pride and Prejudice, 1813) and receives log_probs.json. The tokens
in it are llama.cpp's for this page; they stay as they are. Takes a minute and 4 GB of memory.
"""

import argparse
import hashlib
import json
from pathlib import Path

import gguf
import numpy as np

from decoder64 import Decoder64
from gguf_file import GLOBALS, OF_A_LAYER
from text import Shape
from text_cases import GLOBAL, SLIDING


def weights_of(path):
    """Plain names -> float32 arrays. GGUF has the norms of Gemma 3 as multipliers, as Decoder64 wants them."""
    named, layer_part = {v: k for k, v in GLOBALS.items()}, {v: k for k, v in OF_A_LAYER.items()}
    weights = {}
    for tensor in gguf.GGUFReader(path).tensors:
        shape = [int(n) for n in tensor.shape][::-1]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        if tensor.name.startswith("blk."):
            _, number, part, _ = tensor.name.split(".")
            weights[f"layers.{number}.{layer_part[part]}.weight"] = values
        else:
            weights[named[tensor.name]] = values
    return weights


def shape_270m():
    def frequencies(theta):
        return theta ** (-np.arange(128) / 128)
    return Shape(
        layers=18, hidden=640, query_heads=4, kv_heads=1, head_dim={SLIDING: 256, GLOBAL: 256},
        kinds=[GLOBAL if i % 6 == 5 else SLIDING for i in range(18)], first_shared=18, widths=[2048] * 18, window=512,
        ple_width=0, epsilon=1e-6, cap=0.0, theta={SLIDING: 1e4, GLOBAL: 1e6}, factor=1.0,
        frequencies={SLIDING: frequencies(1e4), GLOBAL: frequencies(1e6)}, query_scale=256 ** -0.5, value_norm=False,
        max_positions=32768)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    path = args.folder / "log_probs.json"
    tokens = json.loads(path.read_text())["tokens"]
    logits = Decoder64(shape_270m(), weights_of(args.gguf)).run(np.array(tokens))["logits"][:-1]
    largest = logits.max(-1)
    norm = largest + np.log(np.exp(logits - largest[:, None]).sum(-1))
    log_probs = logits[np.arange(len(logits)), tokens[1:]] - norm
    data = {"model": args.gguf.name, "sha256": hashlib.sha256(args.gguf.read_bytes()).hexdigest(), "tokens": tokens,
            "perplexity": float(np.exp(-log_probs.mean())), "log_probs": [round(float(p), 6) for p in log_probs]}
    text = json.dumps(data)
    path.write_text(text.replace(', "', ',\n "') + "\n")
    print(f"{len(log_probs)} tokens, perplexity {data['perplexity']:.4f}")


if __name__ == "__main__":
    main()
