"""Tiny GGUF files of Gemma 4 and Gemma 3 text models, with the names and keys that the community's converters write."""

import re

import gguf
import numpy as np

GLOBALS = {
    "embed_tokens.weight": "token_embd.weight", "lm_head.weight": "output.weight", "norm.weight": "output_norm.weight",
    "embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
    "per_layer_model_projection.weight": "per_layer_model_proj.weight",
    "per_layer_projection_norm.weight": "per_layer_proj_norm.weight",
}
OF_A_LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "post_feedforward_layernorm": "post_ffw_norm", "per_layer_input_gate": "inp_gate",
    "per_layer_projection": "proj", "post_per_layer_input_norm": "post_norm", "layer_scalar": "layer_output_scale",
}


def tensor_name(name):
    """The GGUF name of "layers.3.mlp.up_proj.weight", "norm.weight", ..."""
    layer = re.fullmatch(r"layers\.(\d+)\.(.+?)(\.weight)?", name)
    return f"blk.{layer[1]}.{OF_A_LAYER[layer[2]]}.weight" if layer else GLOBALS[name]


# --------------------------------------------------------------------------------------------
# Block types

# Byte offsets of the float16 scales in a block, and how large the second (subtracted) one is beside the first, so that
# random bytes give weights around zero: codes are 0..3, 0..15, 0..31 times a sub-scale of the same kind on both sides.
SCALES = {
    "Q2_K": (80, 82, 1.5), "Q3_K": (108, None, 0), "Q4_K": (0, 2, 7.5), "Q5_K": (0, 2, 15.5), "Q6_K": (208, None, 0),
    "IQ4_NL": (0, None, 0), "IQ4_XS": (0, None, 0),
}


def random_blocks(type_name, shape, spread, rng):
    """For types that the gguf package can decode and not encode: random codes and sub-scales, block scales such that
    the weights spread by about `spread`. Returns the packed rows."""
    kind = gguf.GGMLQuantizationType[type_name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    scale_at, offset_at, ratio = SCALES[type_name]
    rows, blocks = shape[0], shape[1] // elements
    packed = rng.integers(0, 256, (rows, blocks, size), np.uint8)

    def put(at, values):
        packed[:, :, at:at + 2] = np.asarray(values, np.float16)[..., None].view(np.uint8)

    def put_scales(size_of_one):
        factors = size_of_one * (1.0 + 0.1 * rng.standard_normal((rows, blocks)))
        put(scale_at, factors)
        if offset_at is not None:
            put(offset_at, factors * ratio)
    put_scales(2.0 ** -6)
    got = gguf.quants.dequantize(packed.reshape(rows, -1), kind).std()
    put_scales(2.0 ** -6 * spread / got)
    return packed.reshape(rows, -1)


def encode(values, type_name, rng):
    """Packs a float32 array. Returns (packed, what a reader sees)."""
    kind = gguf.GGMLQuantizationType[type_name]
    if type_name in SCALES:
        packed = random_blocks(type_name, values.shape, float(values.std()), rng)
    else:
        packed = gguf.quants.quantize(values, kind)
    return packed, gguf.quants.dequantize(packed, kind).reshape(values.shape).astype(np.float32)


# --------------------------------------------------------------------------------------------
# Metadata

def metadata(shape, gemma3, variant):
    """Key (without the architecture) -> value, as the converter writes it; `variant` changes some (None: left out)."""
    keys = {
        "block_count": shape.layers, "context_length": shape.max_positions, "embedding_length": shape.hidden,
        "attention.head_count": shape.query_heads, "attention.head_count_kv": shape.kv_heads,
        "attention.layer_norm_rms_epsilon": shape.epsilon, "attention.sliding_window": shape.window,
        "attention.key_length": shape.head_dim["full_attention"],
        "attention.value_length": shape.head_dim["full_attention"],
        "rope.freq_base": shape.theta["full_attention"], "rope.freq_base_swa": shape.theta["sliding_attention"],
        "feed_forward_length": shape.widths if len(set(shape.widths)) > 1 else shape.widths[0],
    }
    if shape.cap:
        keys["final_logit_softcapping"] = shape.cap
    if gemma3:
        if shape.factor != 1.0:
            keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": shape.factor}
    else:
        sliding = shape.head_dim["sliding_attention"]
        keys |= {
            "attention.key_length_swa": sliding, "attention.value_length_swa": sliding,
            "attention.sliding_window_pattern": [kind == "sliding_attention" for kind in shape.kinds],
            "attention.shared_kv_layers": shape.layers - shape.first_shared,
            "embedding_length_per_layer_input": shape.ple_width,
            "rope.dimension_count": shape.head_dim["full_attention"], "rope.dimension_count_swa": sliding,
        }
    return {key: value for key, value in (keys | variant).items() if value is not None}


def add_key(writer, key, value):
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


TURNS3 = ["<start_of_turn>", "<end_of_turn>"]
TURNS4 = ["<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>", "<|tool>", "<tool|>", "<|tool_call>",
          "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>', "<|image|>", "<|audio|>", "<|video|>"]
WORDS = ["th", "the", "\u2581the"]  # each a merge of two that stand before it


def add_vocabulary(writer, gemma3, size):
    """A small one that can spell everything and has the tokens of the chat format."""
    kinds = gguf.TokenType
    tokens = [("<pad>", kinds.CONTROL), ("<eos>", kinds.CONTROL), ("<bos>", kinds.CONTROL), ("<unk>", kinds.UNKNOWN)]
    tokens += [(turn, kinds.CONTROL) for turn in (TURNS3 if gemma3 else TURNS4)]
    tokens += [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    tokens += [(text, kinds.NORMAL) for text in ["\n", "\u2581", *map(chr, range(ord("!"), ord("~") + 1)), *WORDS]]
    assert len(tokens) <= size
    tokens += [(f"<unused{i}>", kinds.UNUSED) for i in range(size - len(tokens))]
    writer.add_tokenizer_model("llama" if gemma3 else "gemma4")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types([int(kind) for _, kind in tokens])
    if not gemma3:
        writer.add_token_merges(["t h", "th e", "\u2581 the"])
    add_special_ids(writer)


def add_special_ids(writer):
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def add_tokenizer(writer, tokenizer):
    """The vocabulary of a tokenizer.json of Gemma 4's kind, whose first tokens are pad, eos, bos, unk."""
    kinds, model = gguf.TokenType, tokenizer["model"]
    control = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types([int(kinds.UNKNOWN if token == "<unk>" else kinds.CONTROL if token in control else
                                kinds.BYTE if re.fullmatch("<0x..>", token) else kinds.NORMAL) for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    add_special_ids(writer)


# --------------------------------------------------------------------------------------------

def write(path, name, shape, gemma3, weights, types, rng_of, keys=None, vocabulary=False, rope_freqs=True, shards=1):
    """Writes `weights` (name without prefix -> float32; norms as multipliers). types(name) is the type of a matrix;
    vectors are F32. vocabulary: a small one, or that of a tokenizer.json. Returns what a reader sees, under the same
    names."""
    seen = {}
    writer = gguf.GGUFWriter(path, "gemma3" if gemma3 else "gemma4",
                             split_max_tensors=-(-(len(weights) + 1) // shards) if shards > 1 else 0)
    writer.add_type("model")
    writer.add_name(name)
    for key, value in metadata(shape, gemma3, keys or {}).items():
        add_key(writer, f"{writer.arch}.{key}", value)
    if isinstance(vocabulary, dict):
        add_tokenizer(writer, vocabulary)
    elif vocabulary:
        add_vocabulary(writer, gemma3, weights["embed_tokens.weight"].shape[0])
    if not gemma3 and rope_freqs:
        half, turning = shape.head_dim["full_attention"] // 2, int((shape.frequencies["full_attention"] != 0).sum())
        writer.add_tensor("rope_freqs.weight", np.array([1.0] * turning + [1e30] * (half - turning), np.float32))
    for key, values in weights.items():
        type_name = types(key) if values.ndim == 2 else "F32"
        packed, seen[key] = encode(values, type_name, rng_of(key))
        writer.add_tensor(tensor_name(key), packed, raw_dtype=gguf.GGMLQuantizationType[type_name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return seen
