#!/usr/bin/env python3
"""Hugging Face transformers in bfloat16 as a peer for bench/compare.

usage: transformers_bf16.py MODEL [what carat bench takes]

Needs the Python packages torch and transformers (5.24 was tried). MODEL is not read: the weights are random, in the shapes of Gemma 4
E2B, on which alone the speed depends. Of the table of per-layer embeddings there are 8,192 rows instead of
262,144, and the tokens are of those: one row is read per token however many there are. Memory is therefore 4.6 GB less
than a real E2B would take.
"""

import time

import protocol

ROWS_OF_PLE_TABLE = 8192


def e2b_config():
    from transformers import Gemma4TextConfig
    return Gemma4TextConfig(
        vocab_size=262144, vocab_size_per_layer_input=ROWS_OF_PLE_TABLE, hidden_size=1536, intermediate_size=6144,
        num_hidden_layers=35, num_attention_heads=8, num_key_value_heads=1, head_dim=256, global_head_dim=512,
        hidden_size_per_layer_input=256, num_kv_shared_layers=20, use_double_wide_mlp=True, sliding_window=512,
        layer_types=["full_attention" if i % 5 == 4 else "sliding_attention" for i in range(35)],
        max_position_embeddings=131072, final_logit_softcapping=30.0, tie_word_embeddings=True)


def random_model(torch):
    """The weights are copies of a few random numbers: making billions would take minutes."""
    from transformers import Gemma4ForCausalLM
    with torch.device("meta"):
        model = Gemma4ForCausalLM(e2b_config()).to(torch.bfloat16)
    model.to_empty(device="cpu")
    torch.manual_seed(1)
    numbers = (torch.randn(1_000_003) * 0.02).to(torch.bfloat16)
    with torch.no_grad():
        for tensor in model.parameters():
            flat = tensor.view(-1)
            for begin in range(0, flat.numel(), numbers.numel()):
                part = flat[begin:begin + numbers.numel()]
                part.copy_(numbers[:part.numel()])
        for tensor in model.buffers():
            tensor.fill_(1)
    model.tie_weights()
    return model.eval()


def main():
    arguments = protocol.parse_arguments(__doc__)
    try:
        import torch
        import transformers
        transformers.Gemma4ForCausalLM
    except (ImportError, AttributeError) as error:
        protocol.absent(f"this Python has no torch, or no transformers with Gemma 4: {error}")
    torch.set_num_threads(arguments.threads)
    model = random_model(torch)

    def read(count, cache=None):
        """Reads `count` tokens; returns the most likely next one and the cache."""
        ids = (torch.arange(count) * 7919 + 1000).remainder(ROWS_OF_PLE_TABLE).unsqueeze(0)
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[0, -1].argmax(), out.past_key_values

    prefill, decode = {}, {}
    with torch.inference_mode():
        read(32)
        for tokens in arguments.prefill:
            start = time.perf_counter()
            read(tokens)
            prefill[tokens] = tokens / (time.perf_counter() - start)
        for depth in arguments.depth:
            _, cache = read(max(depth, 1))
            start = time.perf_counter()
            for _ in range(arguments.decode):
                _, cache = read(1, cache)
            decode[depth] = arguments.decode / (time.perf_counter() - start)
    protocol.report(prefill, decode)


main()
