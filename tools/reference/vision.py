"""Makes reference dumps of the vision tower with Hugging Face transformers.

    python vision.py --out ../../tests/data/vision            # the set that the project carries
    python vision.py --out DIR --seed 11 [--only NAME]        # other weights and pictures

Each case becomes the tower of a tiny random checkpoint, as a Hugging Face folder or as an mmproj GGUF file, and per
input N.safetensors (patches of one picture or more, activations) and N.json (tolerances). transformers computes the
values in float32; tower64.py, written from the specification, computes them in float64; a case is only written if both
agree. README.md has the cases and the form of the files. Linears of the low-bit release round: pictures are searched for
that stay away from every tie, as mobile.py does with prompts.
"""

import argparse
import json
import math
import re
import shutil
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file
from transformers import Gemma4Config, Gemma4ForConditionalGeneration
from transformers.integrations.gemma_quant import apply_srq

import gguf_file
from text import generator, round_up
from tower64 import Tower64

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
torch.set_grad_enabled(False)

TEXT_WIDTH = 24
TIE_MARGIN = 12  # in the units of nearest_tie
BASE = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
            head_dim=16, patch_size=3, pooling_kernel_size=3, position_embedding_size=24, rms_norm_eps=1e-6,
            use_clipped_linears=True, standardize=False, rope_parameters={"rope_type": "axial", "rope_theta": 100.0})
# Four heads on two of K/V, heads wider than the stream, an odd patch; standardised, nothing clipped.
WIDE = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=12, hidden_size=36, patch_size=5,
            pooling_kernel_size=2, use_clipped_linears=False, standardize=True)
BLOCKS = dict(hidden_size=64, num_attention_heads=4, num_key_value_heads=4, intermediate_size=96)
# (columns, rows) of the pictures of each input. The second of `GRIDS` fills more than one block of keys.
GRIDS = [[(6, 3)], [(15, 12), (3, 9)]]

# types: (pattern of the HF name, GGUF type), the first that matches; `weights`: those of another case.
CASES = {
    "hf-f32": dict(form="hf", dtype="float32", grids=GRIDS),
    "hf-bf16": dict(form="hf", dtype="bfloat16", grids=[[(12, 6)]]),
    "hf-wide": dict(form="hf", dtype="float16", config=WIDE, grids=[[(8, 4), (2, 14)]]),
    "hf-mobile": dict(form="mobile", config=dict(use_clipped_linears=False), grids=[[(6, 3)]]),
    "gguf-f32": dict(form="gguf", weights="hf-f32", types=[("", "F32")], grids=[[(6, 3)]]),
    "gguf-bf16": dict(form="gguf", weights="hf-bf16", dtype="bfloat16", types=[("input_proj", "F32"), ("", "BF16")],
                      grids=[[(12, 6)]]),
    "gguf-f16": dict(form="gguf", types=[("", "F16")], scales=True, keys={"clip.vision.projector.scale_factor": 2},
                     config=dict(standardize=True, pooling_kernel_size=2, use_clipped_linears=False), grids=[[(8, 6)]]),
    "gguf-q8_0": dict(form="gguf", config=BLOCKS, types=[("input_proj", "F32"), ("", "Q8_0")], grids=[[(9, 12)]]),
    "gguf-blocks": dict(form="gguf", config=dict(BLOCKS, intermediate_size=256), grids=[[(9, 6)]], types=[
        ("input_proj", "F32"), ("q_proj", "Q4_0"), ("k_proj", "Q4_1"), ("v_proj", "Q5_0"), ("o_proj", "Q5_1"),
        ("gate", "IQ4_NL"), ("0.mlp.down", "Q6_K"), ("1.mlp.down", "Q4_K"), ("", "Q8_0")]),
}
LINEARS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
           "self_attn.o_proj": "attn_out", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
           "mlp.down_proj": "ffn_down"}
NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "input_layernorm": "ln1",
         "post_attention_layernorm": "attn_post_norm", "pre_feedforward_layernorm": "ln2",
         "post_feedforward_layernorm": "ffn_post_norm"}
GLOBALS = {"vision_tower.patch_embedder.input_proj.weight": "v.patch_embd.weight",
           "vision_tower.patch_embedder.position_embedding_table": "v.position_embd.weight",
           "vision_tower.std_bias": "v.std_bias", "vision_tower.std_scale": "v.std_scale",
           "embed_vision.embedding_projection.weight": "mm.input_projection.weight"}


def config_of(case):
    return {**BASE, **case.get("config", {})}


# --------------------------------------------------------------------------------------------
# Weights

def new_model(config):
    text = dict(vocab_size=32, vocab_size_per_layer_input=32, hidden_size=TEXT_WIDTH, intermediate_size=8,
                num_hidden_layers=1, layer_types=["full_attention"], num_attention_heads=1, num_key_value_heads=1,
                head_dim=4, global_head_dim=4, hidden_size_per_layer_input=0, num_kv_shared_layers=0)
    whole = Gemma4Config(text_config=text, vision_config=dict(config), audio_config=None)
    whole._attn_implementation = "eager"
    return Gemma4ForConditionalGeneration(whole).eval().float()


def tower_tensors(model):
    """Name behind "model." -> tensor of the tower and the projection; infinite bounds are none."""
    return {name.removeprefix("model."): value for name, value in model.state_dict().items()
            if re.match(r"model\.(vision_tower|embed_vision)\.", name) and not re.search("rotary_emb", name)}


def draw(name, shape, rng):
    z = rng.standard_normal(shape)
    if "std_bias" in name:
        return 4 * z
    if "std_scale" in name:
        return rng.uniform(0.05, 0.3, shape)
    if "q_norm" in name or "k_norm" in name:  # scores between uniform and one-hot
        return 0.75 * (1 + 0.3 * z)
    if "post_" in name:
        return 0.6 * (1 + 0.25 * z)
    if "norm" in name:
        return 1 + 0.3 * z
    return z * (0.5 if "table" in name else 1 / math.sqrt(shape[-1]))


def bounds(config, weights, values, grid, seed):
    """Finite bounds that clip some of what a picture makes; k and v, gate and up share theirs, as published."""
    seen, found = {}, {}
    Tower64(config, weights, watch=lambda name, x, y: seen.__setitem__(name, (x, y))).run(values, *grid)
    for name in seen:
        shared = name.replace("v_proj", "k_proj").replace("up_proj", "gate_proj")
        low, high = generator(seed, "bounds", shared).uniform(0.02, 0.08, 2)
        for side, z in zip(("input", "output"), seen[shared]):
            for end, share in (("min", low), ("max", 1 - high)):
                bound = torch.tensor(np.quantile(z, share), dtype=torch.bfloat16)
                found[f"{name}.{side}_{end}"] = bound.float().numpy()
    return found


def make_weights(name, case, shapes, seed):
    name, config = case.get("weights", name), config_of(case)
    dtype = getattr(torch, CASES[name].get("dtype", "float32"))
    weights = {}
    for key, shape in shapes.items():
        if not re.search("put_m(in|ax)$", key):
            value = torch.from_numpy(draw(key, shape, generator(seed, name, key)).astype(np.float32))
            weights[key] = value.to(dtype).float().numpy()
    if config["use_clipped_linears"]:
        grid = CASES[name]["grids"][0][0]
        weights |= bounds(config, weights, pixels(name, 99, grid, config, seed), grid, seed)
    if case["form"] == "mobile":
        weights = {k: v if "projection" in k else torch.from_numpy(v).bfloat16().float().numpy()
                   for k, v in weights.items()}
        return to_codes(name, config, weights, seed)
    return weights


def to_codes(name, config, weights, seed):
    """The linears of layers as 8-bit codes with a scale per row, and static scales of inputs and outputs, on the small
    side, so that clipping happens; k and v share theirs, and gate and up. One linear is not calibrated."""
    linears = [key.removesuffix(".weight") for key in weights if key.endswith(".linear.weight")]
    for key in linears:
        w = weights[key + ".weight"]
        scale = (np.abs(w).max(1, keepdims=True) / 127).astype(np.float32)
        weights |= {key + ".weight": np.rint(w / scale).astype(np.int8), key + ".weight_scale": scale}
        weights |= {f"{key}.{side}_activation_scale": np.float32(0) for side in ("input", "output")}
    seen, grid = {}, (6, 6)
    watch = lambda key, x, y: seen.__setitem__(key + ".linear", (x, y))
    Tower64(config, weights, watch=watch).run(pixels(name, 99, grid, config, seed), *grid)
    for key in linears:
        shared = key.replace("v_proj", "k_proj").replace("up_proj", "gate_proj")
        for side, z in zip(("input", "output"), seen[shared]):
            step = np.abs(z).max() * generator(seed, name, "step", shared, side).uniform(0.7, 0.95) / 127
            uncalibrated = key.endswith("1.self_attn.o_proj.linear")
            weights[f"{key}.{side}_activation_scale"] = np.float32(0 if uncalibrated else step)
    return weights


# --------------------------------------------------------------------------------------------
# Checkpoints

QUANTIZATION = {"quant_method": "gemma", "num_bits": 4, "module_quant_configs": {"vision_tower": {"num_bits": 8}},
                "modules_to_not_convert": ["model.vision_tower.patch_embedder", "model.embed_vision"]}


def stored(name, value, case):
    """As the file holds it: of the low-bit release codes, F32 scales and projection, and the others BF16."""
    tensor = torch.from_numpy(np.array(value))
    if case["form"] == "hf":
        return tensor.to(getattr(torch, case["dtype"]))
    return tensor if tensor.dtype == torch.int8 or "scale" in name or "projection" in name else tensor.bfloat16()


def write_hf(folder, case, model, weights):
    folder.mkdir()
    tensors = {"model." + k: stored(k, v, case) for k, v in weights.items()}
    save_torch_file(dict(sorted(tensors.items())), folder / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "gemma4", "text_config": {"model_type": "gemma4_text", "hidden_size": TEXT_WIDTH},
              "vision_config": model.config.vision_config.to_dict()}
    if case["form"] == "mobile":
        config["quantization_config"] = QUANTIZATION
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True, default=str) + "\n")


def gguf_name(name):
    layer = re.fullmatch(r"vision_tower\.encoder\.layers\.(\d+)\.(\w+\.\w+|\w+)\.(linear\.)?(\w+)", name)
    if not layer:
        return GLOBALS[name]
    return f"v.blk.{layer[1]}.{(LINEARS | NORMS)[layer[2]]}.{layer[4]}"


def write_gguf(path, case, weights, scales, seed):
    """Returns the weights as the file holds them."""
    c, seen = config_of(case), {}
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_vision_projector_type(gguf.VisionProjectorType.GEMMA4V)
    writer.add_vision_projection_dim(len(weights["embed_vision.embedding_projection.weight"]))
    writer.add_vision_image_size(224)
    writer.add_vision_patch_size(c["patch_size"])
    writer.add_vision_embedding_length(c["hidden_size"])
    writer.add_vision_feed_forward_length(c["intermediate_size"])
    writer.add_vision_block_count(c["num_hidden_layers"])
    writer.add_vision_head_count(c["num_attention_heads"])
    writer.add_vision_attention_layernorm_eps(c["rms_norm_eps"])
    writer.add_vision_image_mean([0.0, 0.0, 0.0])
    writer.add_vision_image_std([1.0, 1.0, 1.0])
    for key, value in case.get("keys", {}).items():
        writer.add_uint32(key, value)
    for name, value in weights.items():
        key, a = gguf_name(name), value.reshape(1) if value.ndim == 0 else value
        if key == "v.patch_embd.weight":  # a convolution kernel: [out, channel, dy, dx]
            p = c["patch_size"]
            a = a.reshape(-1, p, p, 3).transpose(0, 3, 1, 2)
        kind = next(t for pattern, t in case["types"] if re.search(pattern, name))
        if a.ndim == 1 or key == "v.position_embd.weight":
            kind = "F32"
        packed, read = gguf_file.encode(np.ascontiguousarray(a, np.float32), kind, generator(seed, "blocks", name))
        writer.add_tensor(key, packed, raw_dtype=gguf.GGMLQuantizationType[kind])
        seen[name] = (read.transpose(0, 2, 3, 1) if key == "v.patch_embd.weight" else read).reshape(value.shape)
    for i, scale in enumerate(scales or []):
        writer.add_tensor(f"v.blk.{i}.out_scale.weight", scale)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return seen


# --------------------------------------------------------------------------------------------
# Activations

def pixels(name, index, grid, config, seed):
    count = (grid[0] * grid[1], 3 * config["patch_size"] ** 2)
    return (generator(seed, name, "pixels", index, grid).integers(0, 256, count) * (1 / 255)).astype(np.float32)


def round_as_released(model, weights):
    """Puts transformers' static rounding around the linears whose weights are codes."""
    for name, module in model.model.named_modules():
        if name + ".weight_scale" in weights:
            scales = [torch.tensor(weights[f"{name}.{side}_activation_scale"]) for side in ("input", "output")]
            module.register_forward_pre_hook(lambda _, x, s=scales[0]: apply_srq(x[0], s) if s != 0 else None)
            module.register_forward_hook(lambda _, x, y, s=scales[1]: apply_srq(y, s) if s != 0 else None)


def activations(model, values, columns, rows, scales):
    """What transformers computes for one picture, by the names of tower64.py."""
    tower, out, handles = model.model.vision_tower, {}, []

    def keep(module, name, pick=lambda result: result):
        def hook(_, args, result):
            out[name] = pick(result[0] if isinstance(result, tuple) and name != "vision.pooled" else result)
        handles.append(module.register_forward_hook(hook))
    keep(tower.patch_embedder, "vision.embed")
    for i, layer in enumerate(tower.encoder.layers):
        if scales is not None:
            handles.append(layer.register_forward_hook(lambda _, args, result, s=scales[i]: result * torch.tensor(s)))
        keep(layer, f"vision.layer.{i}")
    keep(tower.pooler, "vision.pooled", lambda result: result[0][result[1]])
    if tower.config.standardize:
        keep(tower, "vision.standardized", lambda result: result.last_hidden_state if hasattr(result, "last_hidden_state") else result)
    keep(model.model.embed_vision, "vision.soft_tokens")
    n = np.arange(columns * rows)
    positions = torch.from_numpy(np.stack([n % columns, n // columns], -1))
    model.model.get_image_features(torch.from_numpy(values)[None], positions[None])
    for handle in handles:
        handle.remove()
    out = {k: (v[0] if v.dim() == 3 else v).numpy().copy() for k, v in out.items()}
    out["vision.encoder"] = out[f"vision.layer.{len(tower.encoder.layers) - 1}"]
    return out, positions.numpy().astype(np.int32)


def write_input(folder, name, case, index, grids, model, exact, scales, seed):
    config, parts, truths, inputs = config_of(case), [], [], []
    for grid in grids:
        for attempt in range(1000):
            values, exact.tie = pixels(case.get("weights", name), (index, attempt), grid, config, seed), math.inf
            exact.run(values, *grid)
            if exact.tie > TIE_MARGIN:
                break
        got, positions = activations(model, values, *grid, scales)
        parts.append(got)
        truths.append(exact.run(values, *grid))
        inputs.append({"pixel_values": values, "position_ids": positions})
        assert got.keys() == truths[-1].keys(), (got.keys(), truths[-1].keys())

    def joined(list_of, key):
        return np.concatenate([entry[key] for entry in list_of])
    values = {k: joined(parts, k) for k in parts[0]}
    noise = {k: float(np.abs(values[k] - joined(truths, k)).max()) for k in values}
    size = {k: float(np.abs(values[k]).max()) for k in values}
    for k in values:
        assert noise[k] < 2e-5 * size[k], f"{name} {index}: {k}: transformers and tower64 differ by {noise[k]}"
    tolerance = {k: round_up(max(16 * noise[k], 4e-6 * size[k])) for k in values}
    path = folder / f"{index}.safetensors"
    save_file({**{k: joined(inputs, k) for k in inputs[0]}, **values}, path)
    info = {"case": name, "grids": grids, "seed": seed, "noise": {k: round_up(v) for k, v in noise.items()},
            "tolerance": tolerance}
    (folder / f"{index}.json").write_text(json.dumps(info, indent=1) + "\n")
    print(f"{name} {index}: {grids}, noise {noise['vision.soft_tokens']:.1e}, "
          f"tolerance {tolerance['vision.soft_tokens']:.1e}")


def write_case(out, name, case, seed):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = config_of(case)
    model = new_model(config)
    tensors = tower_tensors(model)
    weights = make_weights(name, case, {k: tuple(v.shape) for k, v in tensors.items()}, seed)
    scales = None
    if case.get("scales"):  # a number for the first layer, one for each column for the second
        rng = generator(seed, name, "scales")
        scales = [rng.uniform(0.6, 1.4, count).astype(np.float32) for count in (1, config["hidden_size"])]
    if case["form"] != "gguf":
        write_hf(folder / "model", case, model, weights)
    else:
        weights = write_gguf(folder / "mmproj.gguf", case, weights, scales, seed)
    for key, tensor in tensors.items():
        if key in weights:
            factor = weights.get(key + "_scale", 1)  # of codes
            tensor.copy_(torch.from_numpy(np.asarray(weights[key] * factor, np.float32).copy()))
    round_as_released(model, weights)
    exact = Tower64(config, weights, scales)
    for index, grids in enumerate(case["grids"]):
        write_input(folder, name, case, index, grids, model, exact, scales, seed)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    for name, case in CASES.items():
        if args.only in (None, name):
            write_case(args.out, name, case, args.seed)


if __name__ == "__main__":
    main()
