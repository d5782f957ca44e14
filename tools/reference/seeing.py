"""Makes tiny random models that see, and what transformers makes of prompts with pictures and videos.

    python seeing.py --out ../../tests/data/vision [--only CASE] [--seed 20]

A folder CASE per model: model/ is a complete checkpoint with tokenizer and processors, gguf/ the same weights in
two files; N.json a conversation, N.safetensors what the model computes of it, N-I.png its pictures. The README says
what the files hold.
"""

import argparse
import contextlib
import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import (Gemma4Config, Gemma4ForConditionalGeneration, Gemma4ImageProcessor, Gemma4Processor,
                          Gemma4VideoProcessor)
from transformers.models.gemma4 import modeling_gemma4
from transformers.video_utils import VideoMetadata

import chat_model
import gguf_file
import text
import vision
from text_cases import BASE4, GLOBAL, SLIDING

GREEDY = 12
LAST_ROWS = 8  # of activations in long dumps
CONTROL = [*chat_model.CONTROL4, "<|image>", "<image|>", "<|audio>", "<audio|>"]
WORDS = ["user", "model", "What", "▁is", "▁the", "▁picture", "▁shown", "▁here"]

VISION = dict(hidden_size=24, intermediate_size=44, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3,
              head_dim=8, patch_size=4, pooling_kernel_size=3, position_embedding_size=240, use_clipped_linears=True,
              standardize=False)
TEXT = {**BASE4, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 4, "num_kv_shared_layers": 2,
        "layer_types": [SLIDING, GLOBAL] * 2, "sliding_window": 16, "final_logit_softcapping": 30.0,
        "max_position_embeddings": 8192}

# Parts of messages: words, ("picture", width, height) or ("video", frames, rate, width, height). tower: with what
# happens inside the tower; last_rows: of the decoder's activations, the last rows only.
CASES = {
    "model-causal": dict(
        vision=VISION, text=TEXT, dtype="bfloat16", gguf=True, budget=70, frames=4, prompts=[
            dict(note="one picture, words behind it", tower=True,
                 messages=[("user", [("picture", 101, 67), "What is shown here?"])]),
            dict(note="two pictures of different size, words between them", last_rows=True,
                 messages=[("user", [("picture", 300, 70), "and", ("picture", 50, 130), "differ how?"])]),
            dict(note="4 of 23 frames of a video", last_rows=True,
                 messages=[("user", [("video", 23, 2.5, 61, 40), "What happens?"])]),
            dict(note="two turns, a picture in the middle of the second", last_rows=True,
                 messages=[("user", ["Name a bird."]), ("assistant", ["The wren."]),
                           ("user", ["Look at", ("picture", 90, 125), "and name another."])]),
            dict(note="a picture and a video, at the rate of NTSC", last_rows=True,
                 messages=[("user", ["First", ("picture", 33, 33), "then", ("video", 75, 30000 / 1001, 24, 190)])]),
        ]),
    "model-bf16": dict(  # other shapes in every place, and what the releases do not use
        vision={**VISION, "patch_size": 5, "pooling_kernel_size": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                "head_dim": 12, "use_clipped_linears": False, "standardize": True, "position_embedding_size": 300},
        text={**TEXT, "num_key_value_heads": 2, "use_double_wide_mlp": False, "hidden_size": 28, "sliding_window": 40},
        dtype="bfloat16", budget=140, frames=3, prompts=[
            dict(note="a picture as one strip", tower=True, last_rows=True,
                 messages=[("user", [("picture", 1200, 5), "What is shown here?"])]),
            dict(note="a video of fewer frames than are asked for", last_rows=True,
                 messages=[("user", ["Watch", ("video", 2, 12.5, 2, 300)])]),
            dict(note="the same picture twice, and another",
                 messages=[("user", [("picture", 40, 31)]), ("assistant", ["A picture."]),
                           ("user", ["and", ("same", 0), "?", ("picture", 31, 40)])], last_rows=True),
        ]),
}


# --------------------------------------------------------------------------------------------
# Pictures and messages

def picture(w, h, rng):
    """Shading, a disc, stripes and noise: [h, w, 3] bytes."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    u, v = x / max(w - 1, 1), y / max(h - 1, 1)
    a = np.stack([255 * u, 255 * (1 - v), 128 + 100 * np.sin(6 * (u + v) + rng.uniform(0, 6))], -1)
    a[(u - rng.uniform(0.3, 0.7)) ** 2 + (v - rng.uniform(0.3, 0.7)) ** 2 < 0.06] = rng.integers(0, 256, 3)
    a[:, :w // 5] += 90 * np.sign(np.sin(y[:, :w // 5] * rng.uniform(0.5, 2)))[..., None]
    n = h // 4
    a[h - n:] += rng.normal(0, 50, a[h - n:].shape)
    return np.clip(a, 0, 255).astype(np.uint8)


def video(frames, w, h, rng):
    """The disc of a picture comes and goes; each frame differs from all others: [frames, h, w, 3]."""
    first, last = (picture(w, h, rng).astype(np.float64) for _ in range(2))
    return np.stack([(first + (last - first) * (0.5 + 0.5 * math.sin(0.3 * t))).astype(np.uint8) for t in range(frames)])


class Prompt:
    """A conversation: its messages, its text with placeholders expanded, and what the processors make of its media."""

    def __init__(self, case, item, tokenizer, rng):
        shape = {key: case["vision"][key] for key in ("patch_size", "pooling_kernel_size")}
        self.image_processor = Gemma4ImageProcessor(**shape, max_soft_tokens=case["budget"])
        self.pictures, self.frames, self.facts, self.inputs = [], None, {}, {}
        self.images, messages, expanded = [], [], "<bos>"
        for role, parts in item["messages"]:
            content = []
            expanded += f"<|turn>{'model' if role == 'assistant' else role}\n"
            for part in parts:
                if isinstance(part, str):
                    content.append({"type": "text", "text": part})
                    expanded += part
                elif part[0] == "video":
                    content.append({"type": "video"})
                    expanded += self.add_video(case, shape, part, rng)
                else:
                    content.append({"type": "image"})
                    expanded += self.add_picture(part, rng)
            messages.append({"role": role, "content": content})
            expanded += "<turn|>\n"
        self.facts["messages"] = messages
        self.ids = tokenizer.encode(expanded + "<|turn>model\n", add_special_tokens=False).ids
        if self.images:
            self.inputs |= {key: torch.cat([image[key] for image in self.images])
                            for key in ("pixel_values", "image_position_ids")}

    def add_picture(self, part, rng):
        pixels = self.pictures[part[1]] if part[0] == "same" else picture(part[1], part[2], rng)
        self.pictures.append(pixels)
        image = self.image_processor(torch.from_numpy(pixels.transpose(2, 0, 1).copy()), return_tensors="pt",
                                     input_data_format="channels_first")
        self.images.append(image)
        patches = int((image["image_position_ids"][..., 0] >= 0).sum())
        return "<|image>" + "<|image|>" * (patches // self.image_processor.pooling_kernel_size ** 2) + "<image|>"

    def add_video(self, case, shape, part, rng):
        _, total, rate, w, h = part
        frames = video(total, w, h, rng)
        # Carat takes all of a clip that has fewer frames than are asked for; transformers refuses it.
        processor = Gemma4VideoProcessor(**shape, max_soft_tokens=case["budget"], num_frames=min(case["frames"], total))
        got = processor([torch.from_numpy(frames.transpose(0, 3, 1, 2).copy())], return_tensors="pt",
                        video_metadata=[VideoMetadata(total_num_frames=total, fps=rate)], return_metadata=True)
        meta = got.pop("video_metadata")[0]
        count = got.pop("num_soft_tokens_per_video")
        indices = [int(i) for i in meta.frames_indices]
        self.frames = frames[indices]
        self.inputs |= dict(got)
        self.facts["video"] = {"total_frames": total, "fps": rate, "indices": indices,
                               "soft_tokens_per_frame": int(count[0])}
        names = argparse.Namespace(boi_token="<|image>", eoi_token="<image|>", video_token="<|video|>")
        return Gemma4Processor.replace_video_token(
            names, {"num_soft_tokens_per_video": count, "video_metadata": [meta]}, 0)

    def types(self, config):
        kinds = {config.image_token_id: 1, config.video_token_id: 2}
        return np.array([kinds.get(i, 0) for i in self.ids], np.int32)


# --------------------------------------------------------------------------------------------
# Models

def draw(name, shape, rng):
    z = rng.standard_normal(shape)
    if "position_embedding_table" in name:
        return 0.5 * z
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return 0.8 * (1 + 0.3 * z)
    if name.endswith("std_bias"):
        return 4 * z
    if name.endswith("std_scale"):
        return rng.uniform(0.05, 0.3, shape)
    if name.endswith("norm.weight"):
        return 1 + 0.3 * z
    return z / math.sqrt(shape[-1])


def new_model(name, case, tokenizer, seed):
    size = tokenizer.get_vocab_size()
    ids = {token: tokenizer.token_to_id(token) for token in CONTROL}
    config = Gemma4Config(
        text_config={**case["text"], "vocab_size": size, "vocab_size_per_layer_input": size, "bos_token_id": 2,
                     "eos_token_id": 1, "pad_token_id": 0},
        vision_config=dict(case["vision"]), audio_config=None, boi_token_id=ids["<|image>"], eoi_token_id=ids["<image|>"],
        image_token_id=ids["<|image|>"], video_token_id=ids["<|video|>"], boa_token_id=ids["<|audio>"],
        eoa_token_index=ids["<audio|>"], audio_token_id=ids["<|audio|>"])
    config._attn_implementation = "eager"
    model = Gemma4ForConditionalGeneration(config).eval()
    for key, tensor in model.state_dict().items():
        if key.endswith(("_min", "_max")) or key == "lm_head.weight":
            continue
        plain, rng = text.plain_name(key), text.generator(seed, name, key)
        seen = plain.startswith(("vision_tower", "embed_vision"))
        value = (draw if seen else text.draw)(plain, tuple(tensor.shape), rng)
        if plain == "embed_tokens.weight":  # small rows are never the likeliest: answers are readable and do not stop
            pieces = [tokenizer.id_to_token(i) for i in range(size)]
            value[[i for i, piece in enumerate(pieces) if piece.startswith("<") and len(piece) > 1]] *= 0.1
        tensor.copy_(torch.from_numpy(value))
    model.tie_weights()
    if case["vision"]["use_clipped_linears"]:
        set_bounds(model, case)
    # What is computed with is what the checkpoint holds; frequencies are not stored and stay as they are.
    for tensor in model.state_dict().values():
        tensor.copy_(tensor.to(getattr(torch, case["dtype"])))
    return model


def set_bounds(model, case):
    """Bounds that clamp a few percent of what flows through each linear; k and v share theirs, gate and up, too."""
    linears = {n: m for n, m in model.named_modules() if isinstance(m, modeling_gemma4.Gemma4ClippableLinear)}
    flow, handles = {}, []
    for name, module in linears.items():
        handles.append(module.linear.register_forward_hook(
            lambda _, inputs, output, name=name: flow.update({name: (inputs[0], output)})))
    pixels = picture(120, 90, text.generator("bounds")).transpose(2, 0, 1).copy()
    shape = {key: case["vision"][key] for key in ("patch_size", "pooling_kernel_size")}
    got = Gemma4ImageProcessor(**shape, max_soft_tokens=70)(torch.from_numpy(pixels), return_tensors="pt",
                                                           input_data_format="channels_first")
    model.model.get_image_features(got["pixel_values"], got["image_position_ids"])
    for handle in handles:
        handle.remove()
    for name, module in linears.items():
        owner = name.replace("v_proj", "k_proj").replace("up_proj", "gate_proj")
        rng = text.generator("bounds", owner)
        for side, values in zip(("input", "output"), flow[owner]):
            limits = torch.quantile(values.flatten(), torch.tensor([rng.uniform(0.01, 0.05), rng.uniform(0.95, 0.99)],
                                                                   dtype=values.dtype))
            for end, limit in zip(("min", "max"), limits):
                getattr(module, f"{side}_{end}").fill_(limit.bfloat16().item())


def write_model(folder, model, case, tokenizer_text):
    copy.deepcopy(model).to(getattr(torch, case["dtype"])).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_text + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text("{# Only says that the model knows turns: nobody renders this. #}\n")
    size = {**{key: case["vision"][key] for key in ("patch_size", "pooling_kernel_size")},
            "max_soft_tokens": case["budget"]}
    processors = {"image_processor": {"image_processor_type": "Gemma4ImageProcessor", **size},
                  "processor_class": "Gemma4Processor",
                  "video_processor": {"num_frames": case["frames"], "video_processor_type": "Gemma4VideoProcessor", **size}}
    (folder / "processor_config.json").write_text(json.dumps(processors, indent=1) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": False, "eos_token_id": [1]}, indent=1) + "\n")
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    for path in folder.iterdir():
        path.chmod(0o644)


def write_gguf(folder, name, model, case, tokenizer_text):
    """The same weights, every one exact, as the community's converters write them: text and tower apart."""
    weights = {text.plain_name(key): value.numpy() for key, value in model.state_dict().items()}
    tower = {key: value for key, value in weights.items() if key.startswith(("vision_tower", "embed_vision"))}
    decoder = {key: value for key, value in weights.items() if key not in tower and key != "lm_head.weight"}
    tokenizer = json.loads(tokenizer_text)
    text_case = {"kind": "gemma4", "config": {**case["text"], "vocab_size": len(tokenizer["model"]["vocab"])}}
    folder.mkdir()
    read = gguf_file.write(folder / "model.gguf", name, text.shape_of(text_case), False, decoder, lambda _: "BF16",
                           lambda _: None, vocabulary=tokenizer)
    tower_case = {"config": case["vision"], "types": [("input_proj", "F32"), ("", "BF16")]}
    read |= vision.write_gguf(folder / "mmproj-model.gguf", tower_case, tower, None, None)
    assert read.keys() == tower.keys() | decoder.keys()
    assert all((read[key] == weights[key]).all() for key in read)


# --------------------------------------------------------------------------------------------
# Activations

@contextlib.contextmanager
def recording(model, out):
    tower, decoder, handles = model.model.vision_tower, model.model.language_model, []

    def keep(module, name, part=lambda result: result[0] if isinstance(result, tuple) else result):
        handles.append(module.register_forward_hook(
            lambda _, inputs, result: out.setdefault(name, []).append(part(result))))
    keep(tower.patch_embedder, "vision.embed")
    for i, layer in enumerate(tower.encoder.layers):
        keep(layer, "vision.encoder" if i + 1 == len(tower.encoder.layers) else f"vision.layer.{i}")
    keep(tower.pooler, "vision.pooled", lambda result: result[0][result[1]])
    if tower.config.standardize:
        keep(tower, "vision.standardized", lambda result: result.last_hidden_state)
    keep(model.model.embed_vision, "vision.soft_tokens")
    for i, layer in enumerate(decoder.layers):
        keep(layer, f"layer.{i}")
    keep(decoder.norm, "final_norm")
    handles.append(decoder.register_forward_pre_hook(
        lambda _, args, options: out.setdefault("embed", []).append(options["inputs_embeds"]), with_kwargs=True))
    project = decoder.project_per_layer_inputs

    def watched(*args, **options):
        out["ple"] = [project(*args, **options)]
        return out["ple"][0]
    decoder.project_per_layer_inputs = watched
    try:
        yield
    finally:
        del decoder.project_per_layer_inputs
        for handle in handles:
            handle.remove()


def logits_of(model, prompt, ids):
    """Of a prompt that was continued."""
    kinds = np.concatenate([prompt.types(model.config), np.zeros(len(ids) - len(prompt.ids), np.int32)])
    inputs = {key: value.to(model.dtype) if value.is_floating_point() else value for key, value in prompt.inputs.items()}
    return model(torch.tensor([ids]), mm_token_type_ids=torch.from_numpy(kinds[None]).long(), use_cache=False,
                 **inputs).logits[0]


def activations(model, prompt, tower):
    """By the names of the dumps; what happens inside the tower only if asked for."""
    out = {}
    with recording(model, out):
        logits = logits_of(model, prompt, prompt.ids)
    positions = prompt.inputs.get("image_position_ids")
    values = {}
    for name, parts in out.items():
        if name == "vision.soft_tokens" or (tower and name in ("vision.pooled", "vision.standardized")):
            values[name] = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
        elif not name.startswith("vision."):
            values[name] = parts[0][0]
        elif tower:
            values[name] = parts[0][positions[..., 0] >= 0]
    values["logits"] = logits
    return {name: value.numpy().copy() for name, value in values.items()}


@contextlib.contextmanager
def in_float64(model):
    """Also where transformers goes back to float32. Angles stay float32: their rounding is part of the definition."""
    to_float, softmax = torch.Tensor.float, torch.nn.functional.softmax
    rotary = [m for m in model.modules() if type(m).__name__.endswith("RotaryEmbedding")]

    def as_before(forward):
        def angles(x, *args, **options):
            torch.Tensor.float, patched = to_float, torch.Tensor.float
            try:
                return tuple(t.double() for t in forward(to_float(x), *args, **options))
            finally:
                torch.Tensor.float = patched
        return angles
    for module in rotary:
        module.forward = as_before(module.forward)
    model.double()
    torch.Tensor.float = torch.Tensor.double
    torch.nn.functional.softmax = lambda x, dim=None, dtype=None, **options: softmax(x, dim=dim)
    try:
        yield
    finally:
        torch.Tensor.float, torch.nn.functional.softmax = to_float, softmax
        for module in rotary:
            del module.forward
        model.float()


def continuation(model, prompt):
    ids, lead = list(prompt.ids), math.inf
    for _ in range(GREEDY):
        best = logits_of(model, prompt, ids)[-1].topk(2)
        lead = min(lead, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    return ids[-GREEDY:], lead


def settled(model, case, item, tokenizer, name, index, seed):
    """The first prompt, of several draws of its pictures, whose continuation no rounding can turn."""
    for attempt in range(60):
        prompt = Prompt(case, item, tokenizer, text.generator(seed, name, "pictures", index, attempt))
        new, lead = continuation(model, prompt)
        if lead > 0.03 and len(set(new)) > 2:
            return prompt, new, lead
    raise RuntimeError(f"{name} {index}: no draw with a clear continuation")


# --------------------------------------------------------------------------------------------
# Files

def real_patches(prompt):
    """Of all pictures, without padding: values as bytes (times float32(1/255)), and positions."""
    positions, values = prompt.inputs["image_position_ids"], prompt.inputs["pixel_values"].numpy()
    bytes_ = np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    assert (bytes_ * np.float32(1 / 255) == values).all()
    real = (positions[..., 0] >= 0).numpy()
    return bytes_[real], positions.numpy()[real].astype(np.int32)


def write_prompt(folder, model, case, item, tokenizer, name, index, seed):
    prompt, new, lead = settled(model, case, item, tokenizer, name, index, seed)
    values = activations(model, prompt, item.get("tower", False))
    with in_float64(model):
        truth = activations(model, prompt, item.get("tower", False))
    noise = {key: float(np.abs(values[key] - truth[key]).max()) for key in values}
    size = {key: float(np.abs(truth[key]).max()) for key in values}
    for key in values:
        assert noise[key] < 3e-5 * size[key], f"{name} {index}: {key}: {noise[key]} of {size[key]}"
    tolerance = {key: text.round_up(max(16 * noise[key], 4e-6 * size[key])) for key in values}
    assert lead > 4 * tolerance["logits"]
    if item.get("last_rows"):
        values = {key: value if key.startswith("vision.") else value[-LAST_ROWS:] for key, value in values.items()}
    tensors = {"input_ids": np.array(prompt.ids, np.int32), "mm_token_type_ids": prompt.types(model.config),
               "greedy_ids": np.array(new, np.int32), **values}
    if prompt.frames is None:
        tensors["pixel_bytes"], tensors["position_ids"] = real_patches(prompt)
    if prompt.frames is not None:
        tensors["video.frames"] = prompt.frames
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / f"{index}.safetensors")
    (folder / f"{index}.safetensors").chmod(0o644)
    facts = {"note": item["note"], "rows_kept": f"last {LAST_ROWS}" if item.get("last_rows") else "all",
             "budget": case["budget"], **prompt.facts}
    if prompt.pictures:
        facts["pictures"] = [f"{index}-{i}.png" for i in range(len(prompt.pictures))]
        for path, pixels in zip(facts["pictures"], prompt.pictures):
            Image.fromarray(pixels).save(folder / path, optimize=True)
    facts |= {"greedy_text": tokenizer.decode(new), "smallest_greedy_gap": float(f"{lead:.2g}"),
              "noise": {key: text.round_up(value) for key, value in noise.items()}, "tolerance": tolerance}
    (folder / f"{index}.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{name} {index}: {len(prompt.ids)} tokens, lead {lead:.2g}, tolerance of logits {tolerance['logits']:.1e}, "
          f"{facts['greedy_text']!r}", flush=True)


def write_case(out, name, case, seed):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer_text = json.dumps(chat_model.tokenizer_json(CONTROL, WORDS), ensure_ascii=False, separators=(",", ":"))
    tokenizer = Tokenizer.from_str(tokenizer_text)
    model = new_model(name, case, tokenizer, seed)
    write_model(folder / "model", model, case, tokenizer_text)
    if case.get("gguf"):
        write_gguf(folder / "gguf", name, model, case, tokenizer_text)
    for index, item in enumerate(case["prompts"]):
        write_prompt(folder, model, case, item, tokenizer, name, index, seed)


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
