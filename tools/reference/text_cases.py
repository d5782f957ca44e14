"""The cases of text.py. README.md says what each is there to catch.

Keys of a case:
  kind     "gemma4" (names of the multimodal release), "gemma4-text", "gemma3"
  config   differences from the base configuration of the kind
  form     "hf" or "gguf"
  prompts  lengths; the first token is 2 (bos), the others are random ids of the whole vocabulary
  dead_kv  the unused K/V tensors of sharing layers are in the file
  set      "small" (carried by the project) or "big"
of form "hf":   dtype; shards = largest shard; published = keys of config.json as the releases have them; drop = keys
                left out because they equal the default
of form "gguf": types = list of (pattern, type), first match wins; keys = changed metadata (None: left out);
                vocabulary, rope_freqs, shards, untied as the names say
"""

SLIDING, GLOBAL = "sliding_attention", "full_attention"

ROPE4 = {SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
         GLOBAL: {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25}}
ROPE3 = {SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
         GLOBAL: {"rope_type": "default", "rope_theta": 1000000.0}}
BASE4 = dict(vocab_size=64, vocab_size_per_layer_input=64, hidden_size=32, intermediate_size=32,
             use_double_wide_mlp=True, num_hidden_layers=6, num_kv_shared_layers=3,
             layer_types=[SLIDING, SLIDING, GLOBAL] * 2, num_attention_heads=4, num_key_value_heads=1, head_dim=8,
             global_head_dim=16, sliding_window=4, hidden_size_per_layer_input=8, final_logit_softcapping=20.0,
             max_position_embeddings=512, rope_parameters=ROPE4, rms_norm_eps=1e-6)
BASE3 = dict(vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=7, num_attention_heads=4,
             num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, sliding_window=4,
             max_position_embeddings=512, layer_types=[SLIDING] * 5 + [GLOBAL, SLIDING], rope_parameters=ROPE3,
             rms_norm_eps=1e-6)

CASES = {
    "hf-e2b": dict(
        kind="gemma4", form="hf", dtype="float32", published=True, dead_kv=True, prompts=[13, 4],
        config=dict(hidden_size=22, vocab_size=50, vocab_size_per_layer_input=50, intermediate_size=14,
                    num_attention_heads=3, head_dim=6, global_head_dim=12, hidden_size_per_layer_input=6)),
    "hf-e4b-shards": dict(
        kind="gemma4", form="hf", dtype="bfloat16", shards="30KB", prompts=[12, 5],
        config=dict(num_kv_shared_layers=2, layer_types=[SLIDING, GLOBAL] * 3, hidden_size=24, num_key_value_heads=2,
                    use_double_wide_mlp=False, sliding_window=5)),
    "hf-text-f16": dict(  # layer_types absent: 5:1, and the last layer global whatever comes out
        kind="gemma4-text", form="hf", dtype="float16", prompts=[11], drop=["layer_types", "num_kv_shared_layers"],
        config=dict(hidden_size=26, vocab_size=61, vocab_size_per_layer_input=61, intermediate_size=17,
                    num_hidden_layers=7, num_kv_shared_layers=0, layer_types=[SLIDING] * 5 + [GLOBAL, GLOBAL],
                    num_attention_heads=6, num_key_value_heads=3, head_dim=6, global_head_dim=14,
                    hidden_size_per_layer_input=0,
                    final_logit_softcapping=None, use_double_wide_mlp=False, sliding_window=4, rms_norm_eps=1e-5)),
    "hf-gemma3-linear": dict(
        kind="gemma3", form="hf", dtype="bfloat16", published=True, prompts=[12],
        config=dict(hidden_size=28, head_dim=12, query_pre_attn_scalar=20, num_key_value_heads=2, intermediate_size=20,
                    rope_parameters={SLIDING: ROPE3[SLIDING],
                                     GLOBAL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}})),
    "gguf-f32-split": dict(  # the last two owners are global, sliding: not the order of the releases
        kind="gemma4", form="gguf", types=[("", "F32")], shards=3, dead_kv=True, prompts=[12],
        config=dict(num_hidden_layers=6, num_kv_shared_layers=2,
                    layer_types=[GLOBAL, SLIDING, GLOBAL, SLIDING, SLIDING, GLOBAL], hidden_size=20,
                    intermediate_size=12, num_attention_heads=3, head_dim=6, global_head_dim=14, hidden_size_per_layer_input=4)),
    "gguf-bf16-scalars": dict(  # every key a scalar, no vocabulary, no rope_freqs, no key that has a default
        kind="gemma4", form="gguf", types=[("k_proj|down_proj", "F16"), ("", "BF16")], prompts=[12], rope_freqs=False,
        keys={"attention.sliding_window_pattern": 3, "rope.freq_base_swa": None, "rope.dimension_count": None,
              "rope.dimension_count_swa": None},
        config=dict(use_double_wide_mlp=False, num_key_value_heads=2, final_logit_softcapping=30.0,
                    intermediate_size=16)),
    "gguf-q8_0-arrays": dict(  # every key that may be an array is one
        kind="gemma4", form="gguf", types=[("", "Q8_0")], vocabulary=True, dead_kv=True, prompts=[11],
        keys={"attention.head_count_kv": [1] * 4, "attention.head_count": [4] * 4},
        config=dict(vocab_size=384, vocab_size_per_layer_input=384, num_hidden_layers=4, num_kv_shared_layers=2,
                    layer_types=[SLIDING, GLOBAL] * 2, hidden_size=64, head_dim=8, global_head_dim=16, hidden_size_per_layer_input=32)),
    "gguf-blocks32": dict(  # a type of its own for every role; a head of its own
        kind="gemma4", form="gguf", prompts=[11], untied=True,
        types=[("q_proj", "Q4_0"), ("k_proj", "Q5_0"), ("v_proj", "Q5_1"), ("o_proj", "Q4_1"), ("gate_proj", "IQ4_NL"),
               ("up_proj", "Q5_0"), ("down_proj", "Q4_1"), ("per_layer_input_gate", "F32"),
               ("per_layer_projection", "Q5_1"), ("embed_tokens_per_layer", "Q5_0"),
               ("per_layer_model_projection", "BF16"), ("lm_head", "Q8_0"), ("embed_tokens", "Q4_0")],
        config=dict(hidden_size=64, head_dim=8, global_head_dim=16, hidden_size_per_layer_input=32, num_hidden_layers=4,
                    num_kv_shared_layers=2, layer_types=[SLIDING, GLOBAL] * 2)),
    "gguf-blocks256": dict(  # a layer's slice of a PLE row is a quarter of a block
        kind="gemma4", form="gguf", prompts=[8],
        types=[(r"layers\.0\..*gate_proj", "Q2_K"), (r"layers\.0\..*up_proj", "Q3_K"),
               (r"layers\.1\..*gate_proj", "Q4_K"), (r"layers\.1\..*up_proj", "IQ4_XS"), ("gate_proj", "Q6_K"),
               ("up_proj", "Q2_K"), ("down_proj", "IQ4_NL"), ("q_proj", "Q4_K"), ("k_proj", "Q3_K"), ("v_proj", "Q6_K"),
               ("per_layer_projection", "Q4_0"),
               (r"layers\.0\..*per_layer_input_gate", "Q5_K"), ("per_layer_input_gate", "Q2_K"),
               (r"layers\.[02]\..*o_proj", "F16"), ("o_proj", "Q5_0"), ("per_layer_model_projection", "Q3_K"),
               ("embed_tokens_per_layer", "Q5_K"), ("embed_tokens", "Q6_K")],
        config=dict(hidden_size=256, head_dim=16, global_head_dim=32, num_attention_heads=1,
                    vocab_size=48, vocab_size_per_layer_input=48, hidden_size_per_layer_input=64,
                    num_hidden_layers=4, num_kv_shared_layers=2, layer_types=[SLIDING, GLOBAL] * 2)),
    "gguf-gemma3-mix": dict(  # as the 270M file: no key for the pattern and the local RoPE base; no soft cap
        kind="gemma3", form="gguf", vocabulary=True, prompts=[12], keys={"rope.freq_base_swa": None},
        types=[("embed_tokens", "Q8_0"), ("v_proj|down_proj", "Q8_0"), ("o_proj", "Q4_0"), ("", "Q5_0")],
        config=dict(vocab_size=384, hidden_size=64, head_dim=8, query_pre_attn_scalar=8)),

    # The big set: real depths and windows, long prompts.
    "big-e2b-depth": dict(
        set="big", kind="gemma4", form="hf", dtype="bfloat16", published=True, dead_kv=True, shards="1MB",
        prompts=[70, 1],
        config=dict(num_hidden_layers=35, num_kv_shared_layers=20, layer_types=([SLIDING] * 4 + [GLOBAL]) * 7,
                    num_attention_heads=8, head_dim=16, global_head_dim=32, hidden_size=96, sliding_window=16)),
    "big-e4b-depth": dict(
        set="big", kind="gemma4", form="gguf", types=[("", "Q8_0")], vocabulary=True, shards=2, prompts=[70],
        config=dict(num_hidden_layers=42, num_kv_shared_layers=18, layer_types=([SLIDING] * 5 + [GLOBAL]) * 7,
                    num_attention_heads=8, num_key_value_heads=2, head_dim=32, global_head_dim=64, hidden_size=96,
                    intermediate_size=96, hidden_size_per_layer_input=32, sliding_window=16, vocab_size=512,
                    vocab_size_per_layer_input=512, use_double_wide_mlp=False)),
    "big-window": dict(
        set="big", kind="gemma4", form="hf", dtype="float32", prompts=[600],
        config=dict(num_hidden_layers=4, num_kv_shared_layers=2, layer_types=[SLIDING, GLOBAL] * 2, sliding_window=512,
                    head_dim=32, global_head_dim=64, num_attention_heads=2, max_position_embeddings=1024)),
    "big-gemma3-270m": dict(
        set="big", kind="gemma3", form="gguf", types=[("embed|o_proj|down", "Q8_0"), ("", "Q5_0")], prompts=[64],
        keys={"rope.freq_base_swa": None},
        config=dict(num_hidden_layers=18, layer_types=([SLIDING] * 5 + [GLOBAL]) * 3, hidden_size=128, head_dim=32,
                    query_pre_attn_scalar=32, intermediate_size=256, vocab_size=600, sliding_window=16)),
}


def config_of(case):
    """All arguments of the text configuration."""
    return {**(BASE3 if case["kind"] == "gemma3" else BASE4), **case["config"]}
