"""Makes reference dumps of the text decoder with Hugging Face transformers.

    python text.py --out ../../tests/data/golden              # the small set that the project carries
    python text.py --out DIR --set all [--seed 11]            # every case; other seeds make other weights and prompts
    python text.py --out DIR --only NAME

Each case becomes a tiny random checkpoint in a published form and, per prompt, N.safetensors (input_ids, activations,
greedy_ids) and N.json (tolerances). transformers computes the values in float32; decoder64.py, written from the
specification, computes them in float64; a case is only written if both agree and choose the same tokens. Two runs
on one machine with the same seed and the versions of requirements.txt write the same bytes. README.md has the cases
(they stand in text_cases.py) and the form of the files.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from safetensors.torch import load_file
from safetensors.torch import save_file as save_torch_file
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, Gemma4Config, Gemma4ForCausalLM,
                          Gemma4ForConditionalGeneration, Gemma4TextConfig)

import gguf_file
from decoder64 import Decoder64
from text_cases import CASES, GLOBAL, SLIDING, config_of

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)  # the order of sums, and so the bytes, must not depend on the number of cores
torch.set_grad_enabled(False)

GREEDY = 16

# --------------------------------------------------------------------------------------------
# What a case is, in numbers

@dataclasses.dataclass
class Shape:
    """The hyper-parameters under plain names, for decoder64.py and gguf_file.py."""
    layers: int
    hidden: int
    query_heads: int
    kv_heads: int
    head_dim: dict
    kinds: list
    first_shared: int
    widths: list
    window: int
    ple_width: int
    epsilon: float
    cap: float
    theta: dict
    factor: float
    frequencies: dict
    query_scale: float
    value_norm: bool
    max_positions: int


def shape_of(case):
    c = config_of(case)
    gemma3 = case["kind"] == "gemma3"
    layers, shared = c["num_hidden_layers"], c.get("num_kv_shared_layers", 0)
    head_dim = {SLIDING: c["head_dim"], GLOBAL: c["head_dim"] if gemma3 else c["global_head_dim"]}
    frequencies = {}
    for kind, rope in c["rope_parameters"].items():
        half = head_dim[kind] // 2
        turning = math.floor(rope.get("partial_rotary_factor", 1.0) * half)
        f = rope["rope_theta"] ** (-np.arange(half) / half) / rope.get("factor", 1.0)
        frequencies[kind] = np.where(np.arange(half) < turning, f, 0.0)
    wide = 2 if c.get("use_double_wide_mlp") else 1
    return Shape(
        layers=layers, hidden=c["hidden_size"], query_heads=c["num_attention_heads"], kv_heads=c["num_key_value_heads"],
        head_dim=head_dim, kinds=c["layer_types"], first_shared=layers - shared,
        widths=[c["intermediate_size"] * (wide if i >= layers - shared else 1) for i in range(layers)],
        window=c["sliding_window"], ple_width=c.get("hidden_size_per_layer_input", 0), epsilon=c["rms_norm_eps"],
        cap=c.get("final_logit_softcapping") or 0.0,
        theta={kind: rope["rope_theta"] for kind, rope in c["rope_parameters"].items()},
        factor=c["rope_parameters"][GLOBAL].get("factor", 1.0), frequencies=frequencies,
        query_scale=c["query_pre_attn_scalar"] ** -0.5 if gemma3 else 1.0, value_norm=not gemma3,
        max_positions=c["max_position_embeddings"])


def generator(*key):
    """Random numbers that depend on the key alone, not on what else was made before."""
    return np.random.default_rng(list(hashlib.sha256(repr(key).encode()).digest()))


# --------------------------------------------------------------------------------------------
# Weights

def draw(name, shape, rng):
    """A healthy random weight; norms as multipliers. No multiplier is near 1 throughout, so none can be forgotten."""
    z = rng.standard_normal(shape)
    if name.endswith("layer_scalar"):
        return rng.uniform(0.7, 1.35, shape)
    if name == "norm.weight":  # random signs: with a tied head and a positive norm, a model repeats its last token
        return rng.choice([-1.5, 1.5], shape) * (1.0 + 0.25 * z)
    if name.endswith("k_norm.weight"):  # scores between uniform and one-hot
        return 1.5 * shape[0] ** -0.5 * (1.0 + 0.25 * z)
    if ".post_" in name:  # what a block adds is smaller than the stream, or rounding noise would grow with the depth
        return 0.55 * (1.0 + 0.25 * z)
    if name.endswith("norm.weight"):
        return 1.0 + 0.35 * z
    if name == "embed_tokens_per_layer.weight":
        return 0.2 * z
    if name in ("embed_tokens.weight", "lm_head.weight"):
        return 0.45 * z
    return z / math.sqrt(shape[-1])


def new_model(case):
    c = config_of(case)
    if case.get("untied"):
        c["tie_word_embeddings"] = False
    if case["kind"] == "gemma3":
        return Gemma3ForCausalLM(Gemma3TextConfig(**c)).eval()
    text = Gemma4TextConfig(**c)
    if case["kind"] == "gemma4-text":
        return Gemma4ForCausalLM(text).eval()
    config = Gemma4Config(text_config=text, vision_config=None, audio_config=None,
                          tie_word_embeddings=not case.get("untied", False))
    return Gemma4ForConditionalGeneration(config).eval()


def is_norm(name):
    return name.endswith("norm.weight")


def plain_name(name):
    return re.sub(r"^model\.(language_model\.)?", "", name)


def weight_shapes(model, case):
    """Plain name -> shape of every tensor of the checkpoint, in the order of transformers."""
    shapes = {plain_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    if not case.get("untied"):
        shapes.pop("lm_head.weight", None)
    return shapes


def dead_shapes(case):
    """K and V tensors of layers that share: published files have them, nothing may read them."""
    s, shapes = shape_of(case), {}
    for i in range(s.first_shared, s.layers):
        d = s.head_dim[s.kinds[i]]
        for part in ("k_proj", "v_proj"):
            shapes[f"layers.{i}.self_attn.{part}.weight"] = (s.kv_heads * d, s.hidden)
        shapes[f"layers.{i}.self_attn.k_norm.weight"] = (d,)
    return shapes


def set_weights(model, weights, gemma3):
    """weights: plain names, norms as multipliers (Gemma 3 of transformers holds them minus 1)."""
    for name, tensor in model.state_dict().items():
        key = plain_name(name)
        if key == "lm_head.weight" and key not in weights:
            continue
        value = torch.from_numpy(weights[key])
        tensor.copy_(value - 1.0 if gemma3 and is_norm(key) else value)
    model.tie_weights()


# --------------------------------------------------------------------------------------------
# Checkpoints

def write_hf(folder, case, model, weights):
    """Returns the model as transformers loads it from the folder, and the weights that it then has."""
    gemma3 = case["kind"] == "gemma3"
    set_weights(model, {k: v.astype(np.float32) for k, v in weights.items()}, gemma3)
    dtype = getattr(torch, case["dtype"])
    options = {"max_shard_size": case["shards"]} if case.get("shards") else {}
    model.to(dtype).save_pretrained(folder, **options)
    if case.get("dead_kv"):
        path = sorted(folder.glob("*.safetensors"))[-1]
        prefix = "model." if case["kind"] == "gemma4-text" else "model.language_model."
        dead = {prefix + k: torch.from_numpy(weights[k]).to(dtype) for k in dead_shapes(case)}
        tensors = load_file(path) | dead
        save_torch_file(dict(sorted(tensors.items())), path, metadata={"format": "pt"})
        index = folder / "model.safetensors.index.json"
        if index.exists():
            data = json.loads(index.read_text())
            data["weight_map"] |= {name: path.name for name in dead}
            index.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")
    edit_config(folder / "config.json", case)
    (folder / "generation_config.json").unlink(missing_ok=True)
    loaded = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    seen = {plain_name(k): v.numpy() for k, v in loaded.state_dict().items()}
    if not case.get("untied"):
        seen.pop("lm_head.weight", None)
    # Gemma 3's 1 + w is what the float64 decoder adds in float64.
    return loaded, {k: v.astype(np.float64) + 1.0 if gemma3 and is_norm(k) else v for k, v in seen.items()}


def edit_config(path, case):
    config = json.loads(path.read_text())
    text = config.get("text_config", config)
    if case.get("published"):
        if case["kind"] == "gemma3":
            rope = text.pop("rope_parameters")
            scaling = {k: rope[GLOBAL][k] for k in ("rope_type", "factor")} if "factor" in rope[GLOBAL] else None
            text |= {"rope_theta": rope[GLOBAL]["rope_theta"], "rope_local_base_freq": rope[SLIDING]["rope_theta"],
                     "rope_scaling": scaling, "sliding_window_pattern": 6}
            text.pop("layer_types")
        else:
            text.pop("per_layer_config")
            text |= {"global_head_dim": config_of(case)["global_head_dim"],
                     "num_global_key_value_heads": None}
    for key in case.get("drop", []):
        del text[key]
    config.pop("transformers_version", None)
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def write_gguf(folder, name, case, model, weights, seed):
    gemma3 = case["kind"] == "gemma3"

    def type_of(key):
        return next(t for pattern, t in case["types"] if re.search(pattern, key))
    options = {k: case[k] for k in ("keys", "vocabulary", "rope_freqs", "shards") if k in case}
    seen = gguf_file.write(folder / "model.gguf", name, shape_of(case), gemma3,
                           {k: v.astype(np.float32) for k, v in weights.items()}, type_of,
                           lambda key: generator(seed, name, "blocks", key), **options)
    set_weights(model, seen, gemma3)
    model.set_attn_implementation("eager")
    return model, seen


# --------------------------------------------------------------------------------------------
# Activations

def backbone(model):
    return getattr(model.model, "language_model", model.model)


def logits_of(model, ids):
    return model(torch.tensor(np.asarray(ids)[None], dtype=torch.long), use_cache=False).logits[0].numpy()


def activations(model, ids, run=None):
    """What transformers computes, by the names of decoder64.py. run(model, ids): logits, if not those of a plain pass."""
    text, out = backbone(model), {}

    def keep(name):
        def hook(module, args, result):
            out[name] = result[0].numpy().copy()
        return hook
    modules = {"embed": text.embed_tokens, "final_norm": text.norm}
    modules |= {f"layer.{i}": layer for i, layer in enumerate(text.layers)}
    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    if getattr(text, "hidden_size_per_layer_input", 0):
        project = text.project_per_layer_inputs

        def watched(*args, **options):
            result = project(*args, **options)
            out["ple"] = result[0].numpy().copy()
            return result
        text.project_per_layer_inputs = watched
    out["logits"] = (run or logits_of)(model, ids).copy()
    for handle in handles:
        handle.remove()
    if "ple" in out:
        del text.project_per_layer_inputs
    return out


def continuation(logits_function, ids):
    """GREEDY tokens (none stops it), and the smallest lead of the best logit over the second."""
    ids, lead = list(ids), math.inf
    for _ in range(GREEDY):
        row = logits_function(ids)[-1]
        second, best = np.sort(row)[-2:]
        lead = min(lead, float(best - second))
        ids.append(int(row.argmax()))
    return ids[-GREEDY:], lead


def choose_prompt(name, index, length, vocabulary, model, seed):
    """The first random prompt whose continuation is varied and no close call that rounding could turn."""
    for attempt in range(300):
        ids = generator(seed, name, "prompt", index, attempt).integers(0, vocabulary, length)
        ids[0] = 2
        new, lead = continuation(lambda all_ids: logits_of(model, all_ids), ids)
        if length == 1 or (lead > 0.02 and len(set(new)) > GREEDY // 3):
            return ids, new, lead
    raise RuntimeError(f"{name} {index}: no prompt with a clear continuation")


def round_up(x):
    """To two significant digits."""
    if x == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(x)) - 1)
    return float(f"{math.ceil(x / unit) * unit:.1e}")


def write_prompt(folder, name, index, length, model, exact, seed):
    ids, new, lead = choose_prompt(name, index, length, model.config.get_text_config().vocab_size, model, seed)
    values, truth = activations(model, ids), exact.run(ids)
    assert values.keys() == truth.keys()
    noise = {k: float(np.abs(values[k] - truth[k]).max()) for k in truth}
    size = {k: float(np.abs(truth[k]).max()) for k in truth}
    # Another order of float32 sums lands near the noise; a mistake lands thousands of times higher.
    tolerance = {k: round_up(max(16 * noise[k], 4e-6 * size[k])) for k in truth}
    for k in truth:
        assert noise[k] < 2e-5 * size[k], f"{name} {index}: {k}: transformers and decoder64 differ by {noise[k]}"
    assert lead > 4 * tolerance["logits"]
    assert continuation(lambda all_ids: exact.run(all_ids)["logits"], ids)[0] == new
    tensors = {"input_ids": ids.astype(np.int32), **values, "greedy_ids": np.array(new, np.int32)}
    save_file(tensors, folder / f"{index}.safetensors")
    (folder / f"{index}.safetensors").chmod(0o644)
    info = {"case": name, "prompt": index, "tokens": length, "seed": seed, "smallest_lead": float(f"{lead:.2g}"),
            "spread": float(f"{values['logits'].std():.3g}"), "noise": {k: round_up(v) for k, v in noise.items()},
            "tolerance": tolerance}
    (folder / f"{index}.json").write_text(json.dumps(info, indent=1) + "\n")
    print(f"{name} {index}: {length} tokens, logits spread {info['spread']}, noise {noise['logits']:.1e}, "
          f"tolerance {tolerance['logits']:.1e}, lead {lead:.2g}")


def write_case(out, name, case, seed):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = new_model(case)
    shapes = weight_shapes(model, case) | (dead_shapes(case) if case.get("dead_kv") else {})
    weights = {k: draw(k, shape, generator(seed, name, k)) for k, shape in shapes.items()}
    if case["form"] == "hf":
        model, seen = write_hf(folder / "model", case, model, weights)
    else:
        model, seen = write_gguf(folder, name, case, model, weights, seed)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    exact = Decoder64(shape_of(case), seen)
    for index, length in enumerate(case["prompts"]):
        write_prompt(folder, name, index, length, model, exact, seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", choices=["small", "big", "all"], default="small")
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    for name, case in CASES.items():
        if args.only == name or (args.only is None and args.set in ("all", case.get("set", "small"))):
            write_case(args.out, name, case, args.seed)


if __name__ == "__main__":
    main()
