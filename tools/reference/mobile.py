"""Makes reference dumps of Google's low-bit releases: transformers' own quantiser, and compressed-tensors.

    python mobile.py --out ../../tests/data/golden              # the small set that the project carries
    python mobile.py --out DIR --seed 11 [--only NAME]          # other weights and prompts

Each case becomes a tiny random checkpoint in the published layout and one prompt: 1.safetensors (input_ids, activations,
greedy_ids) and 1.json (tolerances) as text.py writes them; linears/1.safetensors: single linears as integers; where the
checkpoint has scales for it, int8_cache/1.safetensors: activations of another prompt with K and V rounded as they enter
the cache (transformers ignores these scales). `ops` goes to ../quant/codes.safetensors of the output folder: rounding, linears and
embeddings alone. Two runs with the same seed and the versions of requirements.txt write the same bytes. Cases stand at
the end; README.md says what each is there to catch.

Static rounding makes these models jump: one code one step off moves logits by about 1. So a prompt is only taken if no
rounding of its pass, nor of its greedy continuation, comes near a tie, as far as float32 noise reaches.
"""

import argparse
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors.torch import load_file, save_file
from transformers import DynamicCache, Gemma4Config, Gemma4ForConditionalGeneration
from transformers.integrations.gemma_quant import QuantizedEmbedding, QuantizedLinear, _unpack_int2, _unpack_int4, apply_srq

import text
from text import activations, draw, generator, plain_name, round_up
from text_cases import BASE4, GLOBAL, SLIDING

text.GREEDY = 24
PREFIX = "model.language_model."
TIE_MARGIN = 8  # in units of 2^-24 of the larger of a value, in steps, and 32; float32 noise is 1 to 3

# --------------------------------------------------------------------------------------------
# Checkpoints

def random_codes(rng, shape, bits):
    """All codes occur, the lowest too, whose negative does not exist."""
    if bits == 2:
        return torch.from_numpy(rng.choice([-2, -1, 0, 1], p=[0.12, 0.34, 0.16, 0.38], size=shape))
    codes = np.rint(rng.standard_normal(shape) * (2.6 if bits == 4 else 38.0))
    return torch.from_numpy(np.clip(codes, -(1 << (bits - 1)), (1 << (bits - 1)) - 1).astype(np.int64))


def pack(codes, bits, rng):
    """[N, K] signed codes -> bytes; what is behind the last code of a row is random, as readers must not care."""
    if bits == 8:
        return codes.to(torch.int8)
    rows, columns = codes.shape
    per = 8 // bits
    fields = rng.integers(0, 1 << bits, (rows, -(-columns // per) * per))
    fields[:, :columns] = codes.numpy() + (1 << (bits - 1))
    weights = 1 << (bits * np.arange(per))
    return torch.from_numpy((fields.reshape(rows, -1, per) * weights).sum(2).astype(np.uint8))


def schedule(quantization, module):
    """Bits of a module as the reference finds them: the leftmost match, the first pattern at the same place."""
    best = (math.inf, quantization["num_bits"])
    for pattern, options in quantization["module_quant_configs"].items():
        found = re.search(pattern, module)
        if found and found.start() < best[0]:
            best = (found.start(), options["num_bits"])
    return best[1]


def scales_of(case, codes, groups, size, rng):
    scale = size / codes.double().std().item() * np.exp(0.25 * rng.standard_normal((len(codes), groups)))
    if case.get("powers"):
        scale = np.exp2(np.rint(np.log2(scale)))
    return torch.from_numpy(scale.astype(np.float32))


def random_checkpoint(name, case, seed):
    """Tensors of an uncalibrated checkpoint, by name, and its config."""
    config = Gemma4Config(text_config=BASE4 | case["config"] | {"tie_word_embeddings": False}, vision_config=None,
                          audio_config=None, tie_word_embeddings=False)
    quantization, tensors = case["quantization"], {}
    model = Gemma4ForConditionalGeneration(config)
    layers = config.text_config.num_hidden_layers
    for module, layer in model.named_modules():
        embedding = isinstance(layer, torch.nn.Embedding)
        kept = any(module.endswith(kept) for kept in quantization["modules_to_not_convert"])
        if not (embedding or isinstance(layer, torch.nn.Linear)) or kept:
            continue
        rng = generator(seed, name, module)
        rows, columns = layer.weight.shape
        groups = layers if module.endswith("per_layer") else 1
        bits = schedule(quantization, module)
        codes = random_codes(rng, (rows, columns), bits)
        packed = pack(codes, bits, rng)
        scale = scales_of(case, codes, groups, (groups / columns) ** 0.5, rng)
        if embedding:
            tensors |= {f"{module}.embedding_quantized": packed, f"{module}.embedding_scale": scale}
        else:
            zero = torch.zeros((), dtype=torch.float32)
            tensors |= {f"{module}.weight": packed, f"{module}.weight_scale": scale,
                        f"{module}.input_activation_scale": zero, f"{module}.output_activation_scale": zero.clone()}
    if case.get("head_is_copy"):
        tensors["lm_head.weight"] = tensors[PREFIX + "embed_tokens.embedding_quantized"].clone()
        tensors["lm_head.weight_scale"] = tensors[PREFIX + "embed_tokens.embedding_scale"].clone()
    for key, value in (dict(model.named_parameters()) | dict(model.named_buffers())).items():
        module = key.rpartition(".")[0]
        if f"{module}.weight" in tensors or f"{module}.embedding_quantized" in tensors or key not in model.state_dict():
            continue
        weight = draw(plain_name(key), tuple(value.shape), generator(seed, name, key))
        if plain_name(key) == "norm.weight":
            weight = weight * 3.0  # this head has rows of length 1
        tensors[key] = torch.from_numpy(weight.astype(np.float32)).to(torch.bfloat16)
    return tensors, config


def write_checkpoint(folder, tensors, config, quantization, shards=1):
    """shards: codes and scales of one matrix end up in different files."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        files = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
        place = {key: files[i % shards] for i, key in enumerate(names)}
        for file in files:
            save_file({key: tensors[key] for key in names if place[key] == file}, folder / file, metadata={"format": "pt"})
        index = {"metadata": {}, "weight_map": place}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    values = config.to_dict() | {"quantization_config": quantization}
    values.pop("architectures", None)
    values.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
    for path in folder.iterdir():
        path.chmod(0o644)


def load_checkpoint(folder):
    """The reference model. It takes every embedding scale for [V, 1] and drops the table's: they are put in by hand."""
    model = Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                           ignore_mismatched_sizes=True).eval()
    tensors = {}
    for path in folder.glob("*.safetensors"):
        tensors |= load_file(path)
    scale = tensors.get(PREFIX + "embed_tokens_per_layer.embedding_scale")
    if scale is not None:
        model.model.language_model.embed_tokens_per_layer.embedding_scale = torch.nn.Parameter(scale, requires_grad=False)
        for key, value in model.state_dict().items():
            assert torch.equal(value.double(), tensors[key].double()), f"{key} was not loaded as it is"
    return model

# --------------------------------------------------------------------------------------------
# Calibration

class WatchedCache(DynamicCache):
    """A cache that lets `see(layer, "k" or "v", values)` replace what enters it."""

    def __init__(self, config, see):
        super().__init__(config=config)
        self.see = see

    def update(self, k, v, layer, *args, **options):
        return super().update(self.see(layer, "k", k), self.see(layer, "v", v), layer, *args, **options)


def forward(model, ids, cache=None):
    tokens = torch.tensor(np.asarray(ids)[None], dtype=torch.long)
    return model(tokens, use_cache=cache is not None, cache=cache).logits[0]


def quantized(model):
    return {key: module for key, module in model.named_modules() if isinstance(module, QuantizedLinear)}


def watch(model, see):
    return [module.register_forward_hook(lambda m, x, y, key=key: see(key, m, x[0][0], y[0]))
            for key, module in quantized(model).items()]


def calibrate(name, case, tensors, folder, seed):
    """Scales from the largest magnitudes of a run, on the small side, so that clipping happens. As in the releases, k
    and v share theirs, and gate and up; q has its own; the head has none."""
    model = load_checkpoint(folder)
    largest, cached = {}, {}

    def see(key, module, x, y):
        fused = key.replace("v_proj", "k_proj").replace("up_proj", "gate_proj")
        for side, value in (("input", x), ("output", y)):
            largest[fused, side] = max(largest.get((fused, side), 0.0), value.abs().max().item())

    def enter(layer, side, value):
        cached[layer, side] = value.abs().max().item()
        return value
    vocabulary = case["config"]["vocab_size"]
    handles = watch(model, see)
    forward(model, generator(seed, name, "calibration").integers(0, vocabulary, 64),
            WatchedCache(model.config.text_config, enter))
    for handle in handles:
        handle.remove()
    for key in tensors:
        found = re.fullmatch(r"(.*)\.(input|output)_activation_scale", key)
        if not found or found.group(1) == "lm_head":
            continue
        fused = found.group(1).replace("v_proj", "k_proj").replace("up_proj", "gate_proj")
        step = largest[fused, found.group(2)] * generator(seed, name, "step", fused, found.group(2)).uniform(0.7, 0.95) / 127
        # What enters down_proj is exact only where an engine's tanh is 1 exactly: no ties of ours.
        if case.get("powers") and not key.endswith("down_proj.input_activation_scale"):
            step = 2.0 ** round(math.log2(step))
        if any(re.search(pattern, key) for pattern in case.get("uncalibrated", [])):
            step = 0.0
        tensors[key] = torch.tensor(step, dtype=torch.float32)
    if not case.get("cache_scales"):
        return
    kinds, shared = case["config"]["layer_types"], case["config"]["num_kv_shared_layers"]
    for i, kind in enumerate(kinds):
        own = len(kinds) - shared
        owner = i if i < own else max(j for j in range(own) if kinds[j] == kind)
        for side in "kv":
            step = 0.9 * cached[owner, side] / 127
            tensors[f"{PREFIX}layers.{i}.self_attn.{side}_cache_scale"] = torch.tensor(step, dtype=torch.float32)

# --------------------------------------------------------------------------------------------
# Prompts and dumps

def tie_distance(value, scale):
    """How far roundings stay from ties, in the units of TIE_MARGIN. Exact ties, the same for everybody, are counted."""
    steps = value.double().numpy() / float(scale)
    steps = np.abs(steps[np.abs(steps) < 128.5])
    units = np.abs(steps - np.floor(steps) - 0.5) / (np.maximum(steps, 32) * 2.0 ** -24)
    tie_distance.exact += int((units == 0).sum())
    return float(units[units > 0].min(initial=math.inf))


tie_distance.exact = 0


def safety(model, ids, cache_scales=None):
    nearest = math.inf

    def see(key, module, x, y):
        nonlocal nearest
        raw = x
        if module.input_activation_scale != 0:
            nearest = min(nearest, tie_distance(x, module.input_activation_scale))
            raw = apply_srq(x, module.input_activation_scale)
        if module.output_activation_scale != 0:
            raw = torch.nn.functional.linear(raw, module._dequantize_weights(x.dtype))
            nearest = min(nearest, tie_distance(raw, module.output_activation_scale))

    def enter(layer, side, value):
        nonlocal nearest
        nearest = min(nearest, tie_distance(value, cache_scales[layer, side]))
        return apply_srq(value, cache_scales[layer, side])
    handles = watch(model, see)
    forward(model, ids, None if cache_scales is None else WatchedCache(model.config.text_config, enter))
    for handle in handles:
        handle.remove()
    return nearest


def choose_prompt(name, case, model, seed):
    vocabulary, length = case["config"]["vocab_size"], case["tokens"]
    for attempt in range(20000):
        ids = [2] + generator(seed, name, "prompt", attempt).integers(0, vocabulary, length - 1).tolist()
        new, lead = [], math.inf
        while len(new) < text.GREEDY and safety(model, ids + new) > TIE_MARGIN:
            for _ in range(8):  # between two looks at the ties
                best, second = forward(model, ids + new)[-1].topk(2).values.tolist()
                lead = min(lead, best - second)
                new.append(int(forward(model, ids + new)[-1].argmax()))
        if len(new) == text.GREEDY and safety(model, ids + new) > TIE_MARGIN and lead > 0.02 and len(set(new)) > 8:
            return ids, new
    raise RuntimeError(f"{name}: no prompt that stays away from ties")


def in_double(model):
    for module in model.modules():
        if isinstance(module, QuantizedEmbedding):
            module.output_dtype = torch.float64
    return model.double()


def write_tensors(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: torch.as_tensor(np.ascontiguousarray(value)) for key, value in tensors.items()}, path)
    path.chmod(0o644)


def write_dump(path, tensors, info):
    write_tensors(Path(f"{path}.safetensors"), tensors)
    Path(f"{path}.json").write_text(json.dumps(info, indent=1) + "\n")


def codes_of(module):
    """[N, K] integer weights of a linear."""
    unpack = {2: _unpack_int2, 4: _unpack_int4, 8: lambda packed, _: packed}[module.num_bits]
    return unpack(module.weight, module.in_features).to(torch.int64)


def integers_of(module, x, y):
    """A linear as integers: in, qx, qw, acc, raw, qy, out (qx and acc, qy: where there is a scale)."""
    qw, s_in, s_out = codes_of(module), module.input_activation_scale, module.output_activation_scale
    raw = torch.nn.functional.linear(apply_srq(x, s_in), module._dequantize_weights(x.dtype))
    tensors = {"in": x, "qw": qw.int(), "raw": raw, "out": y}
    if s_in != 0:
        qx = torch.clamp(torch.round(x / s_in), -128, 127).to(torch.int64)
        tensors |= {"qx": qx.int(), "acc": (qx @ qw.T).int()}
    if s_out != 0:
        tensors["qy"] = torch.round(y / s_out).int()
    return {key: value.numpy().copy() for key, value in tensors.items()}


def linears_of(model, ids, wanted):
    tensors = {}

    def see(key, module, x, y):
        if re.search(wanted, key):
            tensors.update({f"{key}:{part}": value for part, value in integers_of(module, x, y).items()})
    handles = watch(model, see)
    forward(model, ids)
    for handle in handles:
        handle.remove()
    return tensors


def dump_prompt(folder, name, case, seed, load):
    """What text.py writes, with the distance from float64 as the measure of noise."""
    model = load()
    if case.get("ct"):
        ids, new, _ = text.choose_prompt(name, 0, case["tokens"], case["config"]["vocab_size"], model, seed)
    else:
        ids, new = choose_prompt(name, case, model, seed)
    values = activations(model, ids)
    tie_distance.exact = 0
    assert case.get("ct") or (safety(model, ids) > TIE_MARGIN and (tie_distance.exact > 100) == bool(case.get("powers")))
    linears = None if case.get("ct") else linears_of(model, ids, case["linears"])
    truth = activations(in_double(model), ids)
    noise = {key: float(np.abs(values[key] - truth[key]).max()) for key in truth}
    size = {key: float(np.abs(truth[key]).max()) for key in truth}
    tolerance = {key: round_up(max(16 * noise[key], 1e-5 * max(1.0, size[key]))) for key in truth}
    for key in truth:
        assert noise[key] < 5e-5 * max(1.0, size[key]), f"{name}: {key} differs from float64 by {noise[key]}"
    info = {"case": name, "seed": seed, "tokens": len(ids), "spread": round(float(values["logits"].std()), 3),
            "noise": {key: round_up(value) for key, value in noise.items()}, "tolerance": tolerance}
    write_dump(folder / "1", {"input_ids": np.array(ids, np.int32), **values, "greedy_ids": np.array(new, np.int32)}, info)
    print(f"{name}: logits spread {info['spread']}, noise {noise['logits']:.1e}, tolerance {tolerance['logits']:.1e}")
    if linears:
        write_dump(folder / "linears" / "1", linears, {"modules": case["linears"]})
    return tolerance


def dump_int8_cache(folder, name, case, seed, tensors, tolerance):
    model = load_checkpoint(folder / "model")
    scales = {(i, side): tensors[f"{PREFIX}layers.{i}.self_attn.{side}_cache_scale"]
              for i in range(case["config"]["num_hidden_layers"]) for side in "kv"}
    vocabulary = case["config"]["vocab_size"]
    for attempt in range(20000):
        ids = [2] + generator(seed, name, "int8", attempt).integers(0, vocabulary, case["tokens"] - 1).tolist()
        if safety(model, ids, scales) > TIE_MARGIN:
            break
    cache = WatchedCache(model.config.text_config, lambda layer, side, value: apply_srq(value, scales[layer, side]))
    values = activations(model, ids, lambda model, ids: forward(model, ids, cache).numpy())
    moved = float(np.abs(values["logits"] - forward(model, ids).numpy()).max())
    assert moved > 100 * tolerance["logits"]
    write_dump(folder / "int8_cache" / "1", {"input_ids": np.array(ids, np.int32), **values},
               {"moves_logits_by": round(moved, 2), "tolerance": tolerance})


def make_gemma(out, name, case, seed):
    folder = out / name
    tensors, config = random_checkpoint(name, case, seed)
    write_checkpoint(folder / "model", tensors, config, case["quantization"])
    calibrate(name, case, tensors, folder / "model", seed)
    shutil.rmtree(folder)
    write_checkpoint(folder / "model", tensors, config, case["quantization"], case.get("shards", 1))
    tolerance = dump_prompt(folder, name, case, seed, lambda: load_checkpoint(folder / "model"))
    if case.get("cache_scales"):
        dump_int8_cache(folder, name, case, seed, tensors, tolerance)


def make_compressed(out, name, case, seed):
    folder, tensors = out / name, {}
    config = Gemma4Config(text_config=BASE4 | case["config"], vision_config=None, audio_config=None)
    for key, value in Gemma4ForConditionalGeneration(config).state_dict().items():
        rng, module = generator(seed, name, key), key.rpartition(".")[0]
        if key == "lm_head.weight":
            continue
        if value.dim() == 2 and "embed_tokens" not in key:
            rows, columns = value.shape
            codes = random_codes(rng, (rows, columns), 4)
            tensors[f"{module}.weight_packed"] = pack_to_int32(codes.to(torch.int8), 4)
            scale = scales_of(case, codes, columns // 32, columns ** -0.5, rng)
            tensors[f"{module}.weight_scale"] = scale.to(torch.bfloat16)
            tensors[f"{module}.weight_shape"] = torch.tensor([rows, columns])
        else:
            weight = draw(plain_name(key), tuple(value.shape), rng).astype(np.float32)
            tensors[key] = torch.from_numpy(weight).to(torch.bfloat16)
    tensors["lm_head.weight"] = tensors[PREFIX + "embed_tokens.weight"].clone()  # there, as published, but tied
    write_checkpoint(folder / "model", tensors, config, case["quantization"])

    def load():
        model = Gemma4ForConditionalGeneration.from_pretrained(folder / "model", dtype=torch.float32,
                                                               attn_implementation="eager").eval()
        forward(model, [2])  # the package unpacks at the first use
        return model
    dump_prompt(folder, name, case, seed, load)


def make_ops(out, name, case, seed):
    """srq.I:x, scale, q, y; linear.I: as integers, packed, w_scale, s_in, s_out; byte.2, byte.4: the codes of every byte;
    embedding.I:packed, scale, ids, factor, rows."""
    tensors = {}
    for i, scale in enumerate([0.5, 0.0123, 3.7e-5, 217.3]):
        rng, scale = generator(seed, name, "srq", i), np.float32(scale)
        ties = ((np.arange(-131, 131) + 0.5) * float(scale)).astype(np.float32)
        x = np.concatenate([ties, np.nextafter(ties, np.float32(np.inf)),
                            (rng.standard_normal(64) * 60).astype(np.float32) * scale,
                            np.array([0.0, -0.0, 1e-42, 1e30, -1e30, np.inf, -np.inf], np.float32)])
        q = torch.clamp(torch.round(torch.from_numpy(x) / torch.tensor(scale)), -128, 127)
        tensors |= {f"srq.{i}:x": x, f"srq.{i}:scale": np.array([scale]), f"srq.{i}:q": q.numpy().astype(np.int32),
                    f"srq.{i}:y": apply_srq(torch.from_numpy(x), torch.tensor(scale)).numpy()}
    for i, (bits, rows, columns, tokens, s_in, s_out) in enumerate(case["linears"]):
        rng = generator(seed, name, "linear", i)
        module = QuantizedLinear(columns, rows, num_bits=bits)
        module.weight.data = pack(random_codes(rng, (rows, columns), bits), bits, rng)
        module.weight_scale.data = torch.from_numpy(2.0 ** rng.integers(-7, -3, (rows, 1))).float()
        module.input_activation_scale.data, module.output_activation_scale.data = torch.tensor(s_in), torch.tensor(s_out)
        x = torch.from_numpy((rng.standard_normal((tokens, columns)) * (s_in or 0.02) * 60).astype(np.float32))
        if columns >= 768:  # all products of one sign, as large as they get
            module.weight.data = pack(torch.full((rows, columns), -(1 << (bits - 1))), bits, rng)
            x = torch.full((tokens, columns), -200 * s_in)
        tensors |= {f"linear.{i}:{part}": value for part, value in integers_of(module, x, module(x)).items()}
        tensors |= {f"linear.{i}:packed": module.weight.numpy(), f"linear.{i}:w_scale": module.weight_scale.numpy()[:, 0],
                    f"linear.{i}:s_in": np.array([s_in], np.float32), f"linear.{i}:s_out": np.array([s_out], np.float32)}
    every_byte = torch.arange(256, dtype=torch.uint8)[:, None]
    tensors |= {"byte.2": _unpack_int2(every_byte, 4).int().numpy(), "byte.4": _unpack_int4(every_byte, 2).int().numpy()}
    for i, (bits, rows, columns, groups) in enumerate(case["embeddings"]):
        rng = generator(seed, name, "embedding", i)
        factor = columns ** 0.5
        table = QuantizedEmbedding(rows, columns, torch.float32, embed_scale=factor, num_bits=bits)
        table.embedding_quantized.data = pack(random_codes(rng, (rows, columns), bits), bits, rng)
        table.embedding_scale.data = torch.from_numpy(np.exp(rng.standard_normal((rows, groups))).astype(np.float32))
        tensors |= {f"embedding.{i}:packed": table.embedding_quantized.numpy(),
                    f"embedding.{i}:scale": table.embedding_scale.numpy(),
                    f"embedding.{i}:factor": np.array([factor], np.float32),
                    f"embedding.{i}:ids": np.arange(rows, dtype=np.int32),
                    f"embedding.{i}:rows": table(torch.arange(rows)).numpy()}
    write_tensors(out.parent / "quant" / "codes.safetensors", tensors)

# --------------------------------------------------------------------------------------------
# Cases

def gemma(mlp, ple=4, extra=()):
    rules = {r"^lm_head$": 2, r"language_model\.embed_tokens$": 2, r"language_model\.embed_tokens_per_layer$": ple,
             r"language_model\.layers\.\d+\.per_layer_input_gate$": 8, r"language_model\.layers\.\d+\.per_layer_projection$": 8,
             r"language_model\.layers\.\d+\.self_attn\.": 4, r"audio_tower(?!.*lconv1d\.linear_start)": 2, r"vision_tower": 8}
    rules |= mlp | dict(extra)
    return {"quant_method": "gemma", "num_bits": 4, "quantize_embeddings": True,
            "module_quant_configs": {key: {"num_bits": rules[key]} for key in sorted(rules)},
            "modules_to_not_convert": ["model.vision_tower.patch_embedder", "model.embed_vision", "per_layer_model_projection"]}


E2B = dict(hidden_size=28, vocab_size=96, vocab_size_per_layer_input=96, intermediate_size=20, num_hidden_layers=4,
           num_kv_shared_layers=2, layer_types=[SLIDING, GLOBAL, SLIDING, GLOBAL], num_attention_heads=3, head_dim=8,
           global_head_dim=12, hidden_size_per_layer_input=8)
MLP = {r"language_model\.layers\.[01]\.mlp\.": 4, r"language_model\.layers\.\d+\.mlp\.": 2}
CASES = {
    "mobile-e2b": (make_gemma, dict(
        config=E2B, quantization=gemma(MLP), tokens=9, head_is_copy=True, cache_scales=True,
        uncalibrated=[r"layers\.1\.mlp\.gate.*input", r"layers\.1\.mlp\.up.*input", r"layers\.2\.self_attn\.o.*output"],
        linears=r"layers\.[01]\.(self_attn|mlp\.down|mlp\.gate|per_layer_projection)|lm_head")),
    "mobile-e4b": (make_gemma, dict(
        config=E2B | dict(num_attention_heads=4, num_key_value_heads=2, use_double_wide_mlp=False),
        quantization=gemma({r"language_model\.layers\.\d+\.mlp\.": 4}, ple=2), tokens=8, head_is_copy=True,
        cache_scales=True, linears=r"layers\.1\.self_attn")),
    "mobile-odd": (make_gemma, dict(
        config=E2B | dict(hidden_size=29, intermediate_size=19, head_dim=6, global_head_dim=10, hidden_size_per_layer_input=7,
                          num_key_value_heads=1, vocab_size=64, vocab_size_per_layer_input=64),
        quantization=gemma(MLP, ple=2, extra={r"language_model\.layers\.1\.self_attn\.": 2}.items()), tokens=8, shards=2,
        linears=r"layers\.[12]\.(self_attn|mlp)|lm_head")),
    "mobile-ties": (make_gemma, dict(
        config=E2B, quantization=gemma(MLP), tokens=8, head_is_copy=True, powers=True, linears=r"layers\.[02]\.(self_attn|mlp)")),
    "w4a16": (make_compressed, dict(
        ct=True, tokens=10,
        config=E2B | dict(hidden_size=32, intermediate_size=32, num_attention_heads=4, global_head_dim=16,
                          hidden_size_per_layer_input=32, vocab_size=64, vocab_size_per_layer_input=64),
        quantization={"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
                      "kv_cache_scheme": None, "ignore": ["lm_head", "re:.*vision_tower.*"], "config_groups": {"group_0": {
                          "targets": ["Linear"], "input_activations": None, "output_activations": None,
                          "format": "pack-quantized", "weights": {
                              "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32,
                              "dynamic": False, "actorder": None}}}})),
    "ops": (make_ops, dict(
        linears=[(4, 5, 33, 3, 0.02, 0.5), (2, 5, 35, 3, 0.02, 0.125), (8, 3, 21, 2, 0.02, 1.0), (4, 12, 64, 3, 2.0 ** -6, 0.25),
                 (2, 12, 64, 3, 2.0 ** -6, 0.0625), (8, 6, 64, 3, 2.0 ** -6, 2.0), (4, 4, 48, 2, 0.0, 0.5),
                 (2, 4, 48, 2, 0.02, 0.0), (4, 3, 1, 2, 0.02, 0.5), (2, 3, 1, 2, 0.02, 0.125), (8, 2, 768, 1, 0.02, 40.0),
                 (4, 2, 769, 1, 0.02, 2.5), (2, 2, 770, 1, 0.02, 0.7)],
        embeddings=[(2, 5, 30, 1), (4, 5, 35, 5), (2, 5, 42, 6), (8, 3, 9, 1)])),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    for name, (make, case) in CASES.items():
        if args.only in (None, name):
            shutil.rmtree(args.out / name, ignore_errors=True)
            make(args.out, name, case, args.seed)


if __name__ == "__main__":
    main()
