"""Makes the tiny chat models that the tests of conversations and of `carat run` talk to.

    python chat_model.py --out ../../tests/data/chat-models

Two Hugging Face folders, gemma4/ and gemma3/: a tokenizer of Gemma's kind with a vocabulary of a few hundred tokens, and
a decoder that was trained for some minutes on a handful of conversations, so that greedy answers are known: capitals, a
thought before the answer, a call of the tool get_time and what to say to its result, a word repeated without end. They
know nothing else. The script ends by checking the answers with the weights as they were saved.
"""

import argparse
import itertools
import json
import random
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

import text
from text_cases import GLOBAL, SLIDING

SPACE = "\u2581"

CONTROL4 = ["<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>", "<|tool>", "<tool|>", "<|tool_call>",
            "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>', "<|image|>", "<|audio|>", "<|video|>"]
CONTROL3 = ["<start_of_turn>", "<end_of_turn>", "<start_of_image>"]
WORDS4 = ["user", "model", "system", "thought", "call", "response", "declaration", "value", "city", "get_time",
          "description", "▁the", "▁capital", "▁of", "▁time", "▁is", "▁it", "▁in", "▁user", "▁wants", "▁a", "What", "▁know", "It",
          "Paris", "Berlin", "Rome", "▁Paris", "▁Berlin", "▁Rome", "▁France", "▁Germany", "▁Italy", "Hello", "Repeat",
          "noon", "midnight", "▁noon", "▁midnight", "The▁", "time", "Be▁brief"]
WORDS3 = ["user", "model", "▁the", "▁capital", "▁of", "▁is", "What", "Paris", "Berlin", "Rome", "▁France", "▁Germany",
          "▁Italy", "Hello"]

CAPITALS = {"France": "Paris", "Germany": "Berlin", "Italy": "Rome"}
TIMES = ["noon", "midnight", "10:00", "7 pm"]
TOOL = '<|tool>declaration:get_time{description:<|"|>The time<|"|>}<tool|>'


# --------------------------------------------------------------------------------------------
# Tokenizer

def tokenizer_json(control, words):
    """A file as Gemma's releases have it: byte fallback, spaces as U+2581, merges that build each word left to right."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>"] + control + [f"<0x{b:02X}>" for b in range(256)]
    pieces += ["\n", SPACE] + [chr(c) for c in range(0x21, 0x7f)]
    merges = []
    for pair in [("\n", "\n"), (SPACE, SPACE)]:
        merges.append(pair)
    for word in words:
        merges += [(word[:n], word[n]) for n in range(1, len(word))]
    merges = list(dict.fromkeys(merges))
    pieces += dict.fromkeys("".join(pair) for pair in merges)
    added = [{"id": pieces.index(name), "content": name, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for name in ["<pad>", "<eos>", "<bos>", "<unk>"] + control]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                          "invert": False},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": merges}}


# --------------------------------------------------------------------------------------------
# Conversations, as lists of (text, whether the model says it)

def capital(country):
    return f"What is the capital of {country}?", f"{CAPITALS[country]}."


def conversations4():
    turn = "<|turn>{}\n{}<turn|>\n"
    for think, with_tool, system in itertools.product([False, True], [False, True], ["", "Be brief."]):
        opening = "<bos>"
        if think or with_tool or system:
            opening += turn.format("system", ("<|think|>\n" if think else "") + system + (TOOL if with_tool else ""))
        thought = "<|channel>thought\nThe user wants a capital.<channel|>" if think else ""
        for first, second in itertools.product(CAPITALS, repeat=2):
            q1, a1 = capital(first)
            q2, a2 = capital(second)
            yield [(opening + turn.format("user", q1) + "<|turn>model\n", 0), (thought + a1 + "<turn|>", 1)]
            yield [(opening + turn.format("user", q1) + "<|turn>model\n" + a1 + "<turn|>\n" + turn.format("user", q2) +
                    "<|turn>model\n", 0), (thought + a2 + "<turn|>", 1)]
            yield [(opening + turn.format("user", "Hello") + "<|turn>model\nHello!<turn|>\n" +
                    turn.format("user", q2) + "<|turn>model\n", 0), (thought + a2 + "<turn|>", 1)]
        yield [(opening + turn.format("user", "Hello") + "<|turn>model\n", 0), ("Hello!<turn|>", 1)]
        yield [(opening + turn.format("user", "Repeat a") + "<|turn>model\n", 0), (" a" * 24, 1)]
        if not with_tool:
            continue
        thought = "<|channel>thought\nThe user wants the time.<channel|>" if think else ""
        for city, time in itertools.product(CAPITALS.values(), TIMES):
            call = f'<|tool_call>call:get_time{{city:<|"|>{city}<|"|>}}<tool_call|>'
            response = f'<|tool_response>response:get_time{{value:<|"|>{time}<|"|>}}<tool_response|>'
            after = "<|channel>thought\n" if think else ""
            answer = ("I know the time.<channel|>" if think else "") + f"It is {time} in {city}.<turn|>"
            yield [(opening + turn.format("user", f"What time is it in {city}?") + "<|turn>model\n", 0),
                   (thought + call + "<|tool_response>", 1), (response.removeprefix("<|tool_response>") + after, 0),
                   (answer, 1)]


def conversations3():
    turn = "<start_of_turn>{}\n{}<end_of_turn>\n"
    for polite in [False, True]:
        opening = "<bos>" + ("<start_of_turn>user\nBe brief.\n\n" if polite else "<start_of_turn>user\n")
        yield [(opening + "Hello<end_of_turn>\n<start_of_turn>model\n", 0), ("Hello!<end_of_turn>", 1)]
        for first, second in itertools.product(CAPITALS, repeat=2):
            q1, a1 = capital(first)
            q2, a2 = capital(second)
            yield [(opening + q1 + "<end_of_turn>\n<start_of_turn>model\n", 0), (a1 + "<end_of_turn>", 1)]
            yield [(opening + q1 + "<end_of_turn>\n" + turn.format("model", a1) + turn.format("user", q2) +
                    "<start_of_turn>model\n", 0), (a2 + "<end_of_turn>", 1)]


def encode(tokenizer, conversation):
    """Ids, and which of them the model has to learn to say."""
    ids, said = [], []
    for piece, is_said in conversation:
        encoded = tokenizer.encode(piece, add_special_tokens=False).ids
        ids += encoded
        said += [bool(is_said)] * len(encoded)
    return ids, said


# --------------------------------------------------------------------------------------------
# Training

def batch_of(examples):
    length = max(len(ids) for ids, _ in examples)
    ids = torch.zeros(len(examples), length, dtype=torch.long)
    labels = torch.full((len(examples), length), -100)
    for row, (example, said) in enumerate(examples):
        ids[row, :len(example)] = torch.tensor(example)
        labels[row, :len(example)] = torch.where(torch.tensor(said), torch.tensor(example), -100)
    return ids, labels


def train(model, examples, steps):
    order = random.Random(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps, pct_start=0.1)
    model.train()
    for step in range(steps):
        ids, labels = batch_of(order.sample(examples, 12))
        logits = model(ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)


def check(folder, examples):
    """With the weights as saved, every token is the likeliest by far. Returns the smallest lead of a logit."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    lead = float("inf")
    with torch.no_grad():
        for ids, said in examples:
            logits = model(torch.tensor([ids]), use_cache=False).logits[0, :-1]
            rows = [row for row in range(len(ids) - 1) if said[row + 1]]
            truth = torch.tensor([ids[row + 1] for row in rows])
            top = logits[rows].topk(2)
            assert torch.equal(top.indices[:, 0], truth), f"{folder}: not learnt: {ids}"
            lead = min(lead, (top.values[:, 0] - top.values[:, 1]).min().item())
    return lead


def make(out, name, case, control, words, conversations, stop, steps):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer_text = json.dumps(tokenizer_json(control, words), ensure_ascii=False, separators=(",", ":"))
    tokenizer = Tokenizer.from_str(tokenizer_text)
    size = tokenizer.get_vocab_size()
    case["config"] |= {"vocab_size": size, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    if case["kind"] != "gemma3":
        case["config"]["vocab_size_per_layer_input"] = size
    torch.manual_seed(1)
    with torch.enable_grad():
        model = text.new_model(case)
        examples = [encode(tokenizer, conversation) for conversation in conversations]
        print(f"{name}: {size} tokens, {sum(p.numel() for p in model.parameters())} weights, "
              f"{len(examples)} conversations, the longest of {max(len(ids) for ids, _ in examples)} tokens")
        train(model, examples, steps)
    model.to(torch.bfloat16).save_pretrained(folder)
    text.edit_config(folder / "config.json", case)
    (folder / "tokenizer.json").write_text(tokenizer_text + "\n", encoding="utf-8")
    stop_ids = [tokenizer.token_to_id(token) for token in stop]
    (folder / "generation_config.json").write_text(json.dumps(
        {"do_sample": True, "temperature": 1.0, "top_k": 64, "top_p": 0.95, "eos_token_id": stop_ids}, indent=1) + "\n")
    (folder / "chat_template.jinja").write_text("{# Only says that the model was taught to chat: nobody renders this. #}\n")
    for path in folder.iterdir():
        path.chmod(0o644)
    print(f"{name}: smallest lead {check(folder, examples):.2f}")


GEMMA4 = dict(
    kind="gemma4", form="hf", dtype="bfloat16",
    config=dict(hidden_size=32, intermediate_size=48, use_double_wide_mlp=False, num_hidden_layers=4,
                num_kv_shared_layers=2, layer_types=[SLIDING, GLOBAL] * 2, num_attention_heads=4,
                num_key_value_heads=1, head_dim=12, global_head_dim=16, sliding_window=16,
                hidden_size_per_layer_input=8, final_logit_softcapping=30.0, max_position_embeddings=4096))
GEMMA3 = dict(
    kind="gemma3", form="hf", dtype="bfloat16",
    config=dict(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, head_dim=16,
                query_pre_attn_scalar=16, sliding_window=16, layer_types=[SLIDING, GLOBAL],
                max_position_embeddings=1024))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only")
    parser.add_argument("--steps", type=int, default=2500)
    args = parser.parse_args()
    if args.only in (None, "gemma4"):
        make(args.out, "gemma4", GEMMA4, CONTROL4, WORDS4, list(conversations4()),
             ["<eos>", "<turn|>", "<|tool_response>"], args.steps)
    if args.only in (None, "gemma3"):
        make(args.out, "gemma3", GEMMA3, CONTROL3, WORDS3, list(conversations3()), ["<eos>", "<end_of_turn>"],
             args.steps // 2)


if __name__ == "__main__":
    main()
