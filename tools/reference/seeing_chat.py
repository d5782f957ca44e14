"""Makes the tiny chat model with eyes that tests of `carat run -i` talk to.

    python seeing_chat.py --out ../../tests/data/chat-models

gemma4-sees/ is a Hugging Face folder like those of chat_model.py. Its vision tower is random; projection and decoder
were trained for some minutes to say what colour pictures have, and how a video changes. The script ends by checking
all answers, with the weights as they were saved, and draws a picture of each colour.
"""

import argparse
import itertools
import json
import random
import shutil
import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import Gemma4ForConditionalGeneration, Gemma4ImageProcessor, Gemma4VideoProcessor

import chat_model
import seeing
from text_cases import BASE4, GLOBAL, SLIDING

COLOURS = {"red": (210, 30, 35), "green": (30, 160, 60), "blue": (35, 60, 200), "yellow": (240, 215, 40),
           "black": (15, 15, 15), "white": (245, 245, 245)}
SIZES = [(32, 24), (24, 32), (40, 40), (64, 18), (15, 60)]
FRAMES = 4
CONTROL = [*chat_model.CONTROL4, "<|image>", "<image|>", "<|audio>", "<audio|>"]
WORDS = ["user", "model", "What", "▁colour", "▁colours", "▁is", "▁it", "▁are", "▁they", "▁happens", "▁turns", "▁and",
         "And", "▁this", "▁picture", "Describe", "Hello", *COLOURS, *("▁" + c for c in COLOURS), *(c.capitalize() for c in COLOURS)]
VISION = {**seeing.VISION, "num_hidden_layers": 1, "position_embedding_size": 216}
TEXT = {**BASE4, "hidden_size": 32, "intermediate_size": 48, "use_double_wide_mlp": False, "num_hidden_layers": 4,
        "num_kv_shared_layers": 2, "layer_types": [SLIDING, GLOBAL] * 2, "head_dim": 12, "global_head_dim": 16,
        "sliding_window": 16, "final_logit_softcapping": 30.0, "max_position_embeddings": 4096}
CASE = {"vision": VISION, "text": TEXT, "dtype": "bfloat16", "budget": 70, "frames": FRAMES}

# --------------------------------------------------------------------------------------------
# Pictures, and what the random tower makes of them


def drawn(colour, size, rng):
    """A flat colour with some grain, as a camera has it."""
    pixels = np.array(COLOURS[colour]) + rng.integers(-12, 13, 3) + rng.normal(0, 6, (size[1], size[0], 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


class Seen:
    """Pictures of every colour and size as the tower gives them to the projection, made once: its weights stay."""

    def __init__(self, model, copies):
        rng = np.random.default_rng(1)
        self.copies, self.kept = copies, {}
        for colour, size, copy, scaling in itertools.product(COLOURS, SIZES, range(copies), ("image", "video")):
            pixels = torch.from_numpy(drawn(colour, size, rng).transpose(2, 0, 1).copy())
            values, positions = patches(pixels, scaling)
            out = model.model.vision_tower(pixel_values=values, pixel_position_ids=positions)
            self.kept[colour, size, copy, scaling] = out.last_hidden_state.reshape(-1, VISION["hidden_size"])

    def any(self, colour, size, scaling, order):
        return self.kept[colour, size, order.randrange(self.copies), scaling]


def patches(pixels, scaling):
    size = dict(patch_size=VISION["patch_size"], pooling_kernel_size=VISION["pooling_kernel_size"], max_soft_tokens=70)
    if scaling == "image":
        got = Gemma4ImageProcessor(**size)(pixels, return_tensors="pt", input_data_format="channels_first")
        return got["pixel_values"], got["image_position_ids"]
    got = Gemma4VideoProcessor(**size, do_sample_frames=False)([pixels[None]], return_tensors="pt")
    return got["pixel_values_videos"], got["video_position_ids"]


# --------------------------------------------------------------------------------------------
# Conversations: text with "<picture>" for each of the pictures and "<video>" for one that changes between two colours

USER, MODEL = "<|turn>user\n{}<turn|>\n", "<|turn>model\n"


def conversations():
    """(prompt, answer, colours of the pictures, colours of the video's halves)."""
    yield "<bos>" + USER.format("Hello") + MODEL, "Hello!", [], None
    for a in COLOURS:
        for question in ("<picture>What colour is it?", "What colour is it?<picture>"):
            yield "<bos>" + USER.format(question) + MODEL, f"{a.capitalize()}.", [a], None
        yield "<bos>" + USER.format("<picture>Describe this picture.") + MODEL, f"It is {a}.", [a], None
    for a, b in itertools.product(COLOURS, repeat=2):
        first = "<bos>" + USER.format("<picture>What colour is it?") + MODEL + f"{a.capitalize()}.<turn|>\n"
        yield first + USER.format("<picture>And this?") + MODEL, f"{b.capitalize()}.", [a, b], None
        both = "<bos>" + USER.format("<picture><picture>What colours are they?") + MODEL
        yield both, f"{a.capitalize()} and {b}.", [a, b], None
        yield "<bos>" + USER.format("<video>What happens?") + MODEL, f"{a.capitalize()} turns {b}.", [], (a, b)


def frames_of(halves):
    return [halves[0]] * (FRAMES // 2) + [halves[1]] * (FRAMES // 2)


def example(tokenizer, conversation, soft_of):
    """Ids, which of them are said, and for each picture and frame in turn the number of its soft tokens."""
    prompt, answer, colours, halves = conversation
    for colour in colours:
        prompt = prompt.replace("<picture>", "<|image>" + "<|image|>" * soft_of(colour) + "<image|>", 1)
    if halves:
        text = " ".join(f"00:{2 * i:02} <|image>" + "<|video|>" * soft_of(colour) + "<image|>"
                        for i, colour in enumerate(frames_of(halves)))
        prompt = prompt.replace("<video>", text)
    return chat_model.encode(tokenizer, [(prompt, 0), (answer + "<turn|>", 1)])


# --------------------------------------------------------------------------------------------
# Training

def embedded(model, ids, soft):
    """Embeddings of a batch, with soft tokens [M, D] of the tower projected into their places."""
    decoder = model.model.language_model
    places = (ids == model.config.image_token_id) | (ids == model.config.video_token_id)
    plain = ids.masked_fill(places, 0)
    embeds = decoder.embed_tokens(plain)
    if soft:
        embeds = embeds.masked_scatter(places[..., None].expand_as(embeds), model.model.embed_vision(torch.cat(soft)))
    return embeds, decoder.get_per_layer_inputs(plain)


def train(model, tokenizer, seen, steps):
    order, everything = random.Random(1), list(conversations())
    kinds = [[c for c in everything if test(c)] for test in (
        lambda c: len(c[2]) == 1, lambda c: len(c[2]) == 2, lambda c: c[3] is not None,
        lambda c: not c[2] and not c[3])]
    parameters = [p for name, p in model.named_parameters() if "vision_tower" not in name]
    optimizer = torch.optim.AdamW(parameters, lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps, pct_start=0.1)
    model.train()
    for step in range(steps):
        examples, soft = [], []
        for kind in order.choices(kinds, weights=[4, 4, 4, 1], k=12):
            conversation = order.choice(kind)
            size, own = order.choice(SIZES), []

            def soft_of(colour, scaling="video" if conversation[3] else "image", own=own, size=size):
                own.append(seen.any(colour, size, scaling, order))
                return len(own[-1])
            examples.append(example(tokenizer, conversation, soft_of))
            soft += own
        ids, labels = chat_model.batch_of(examples)
        embeds, per_layer = embedded(model, ids, soft)
        hidden = model.model.language_model(inputs_embeds=embeds, per_layer_inputs=per_layer, use_cache=False)
        rows = labels[:, 1:] != -100
        logits = model.lm_head(hidden.last_hidden_state[:, :-1][rows])
        cap = TEXT["final_logit_softcapping"]
        loss = torch.nn.functional.cross_entropy(cap * torch.tanh(logits / cap), labels[:, 1:][rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)


def check(folder, tokenizer):
    """Every answer, pictures through processors and tower, with the weights as saved. Returns the smallest lead."""
    model = Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    rng, lead = np.random.default_rng(2), float("inf")
    for conversation, size in itertools.product(conversations(), SIZES[:3]):
        inputs = types.SimpleNamespace(images=[], frames=[])

        def soft_of(colour, halves=conversation[3], size=size, inputs=inputs):
            pixels = torch.from_numpy(drawn(colour, size, rng).transpose(2, 0, 1).copy())
            got = patches(pixels, "video" if halves else "image")
            (inputs.frames if halves else inputs.images).append(got)
            return int((got[1][..., 0] >= 0).sum()) // VISION["pooling_kernel_size"] ** 2
        ids, said = example(tokenizer, conversation, soft_of)
        options = {}
        if inputs.images:
            options = {"pixel_values": torch.cat([v for v, _ in inputs.images]),
                       "image_position_ids": torch.cat([p for _, p in inputs.images])}
        if inputs.frames:
            options = {"pixel_values_videos": torch.cat([v for v, _ in inputs.frames]),
                       "video_position_ids": torch.cat([p for _, p in inputs.frames]),
                       "num_frames_per_video": torch.tensor([len(inputs.frames)])}
        kinds = [{model.config.image_token_id: 1, model.config.video_token_id: 2}.get(i, 0) for i in ids]
        logits = model(torch.tensor([ids]), mm_token_type_ids=torch.tensor([kinds]), use_cache=False,
                       **options).logits[0, :-1]
        rows = [row for row in range(len(ids) - 1) if said[row + 1]]
        top = logits[rows].topk(2)
        assert top.indices[:, 0].tolist() == [ids[row + 1] for row in rows], f"not learnt: {conversation}"
        lead = min(lead, (top.values[:, 0] - top.values[:, 1]).min().item())
    return lead


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=450)
    args = parser.parse_args()
    folder = args.out / "gemma4-sees"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer_text = json.dumps(chat_model.tokenizer_json(CONTROL, WORDS), ensure_ascii=False, separators=(",", ":"))
    tokenizer = Tokenizer.from_str(tokenizer_text)
    torch.manual_seed(1)
    model = seeing.new_model("gemma4-sees", CASE, tokenizer, 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # small, as for any training
            if "language_model" in name and parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.02)
    seen = Seen(model, 3)
    with torch.enable_grad():
        train(model, tokenizer, seen, args.steps)
    seeing.write_model(folder, model, CASE, tokenizer_text)
    stop = [tokenizer.token_to_id(token) for token in ("<eos>", "<turn|>", "<|tool_response>")]
    (folder / "generation_config.json").write_text(json.dumps(
        {"do_sample": True, "temperature": 1.0, "top_k": 64, "top_p": 0.95, "eos_token_id": stop}, indent=1) + "\n")
    for colour in COLOURS:
        Image.fromarray(drawn(colour, SIZES[0], np.random.default_rng(3))).save(folder / f"{colour}.png")
    print(f"smallest lead {check(folder, tokenizer):.2f}")


if __name__ == "__main__":
    main()
