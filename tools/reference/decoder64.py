"""The text decoder of Gemma 4 and Gemma 3 in float64, one prompt at a time, without a cache.

Written from the specification, not from transformers: text.py runs both, so a case is only written if two independent
implementations agree, and their distance is the rounding noise that the tolerances are made of.
"""

import math

import numpy as np


def rms_norm(x, weight, epsilon):
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    return y if weight is None else y * weight


def gelu_tanh(z):
    return 0.5 * z * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)))


def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotate(x, frequencies):
    """Rotary embedding in halves: x [T, heads, d], frequencies [d/2]."""
    angle = np.arange(x.shape[0])[:, None, None] * frequencies
    low, high = np.split(x, 2, -1)
    return np.concatenate([low * np.cos(angle) - high * np.sin(angle), high * np.cos(angle) + low * np.sin(angle)], -1)


class Decoder64:
    """weights: names without the prefix of the checkpoint ("layers.0.mlp.up_proj.weight"); norms as multipliers."""

    def __init__(self, shape, weights):
        self.shape = shape
        self.w = {name: np.asarray(value, np.float64) for name, value in weights.items()}

    def run(self, ids):
        """All activations by name, in the order in which they are computed."""
        s, w = self.shape, self.w
        x = w["embed_tokens.weight"][ids] * math.sqrt(s.hidden)
        out = {"embed": x}
        ple = self.per_layer_inputs(ids, x) if s.ple_width else None
        if ple is not None:
            out["ple"] = ple
        kv = {}  # of the last owner of each kind
        for i in range(s.layers):
            x = self.layer(i, x, None if ple is None else ple[:, i], kv)
            out[f"layer.{i}"] = x
        out["final_norm"] = rms_norm(x, w["norm.weight"], s.epsilon)
        logits = out["final_norm"] @ w.get("lm_head.weight", w["embed_tokens.weight"]).T
        out["logits"] = s.cap * np.tanh(logits / s.cap) if s.cap else logits
        return out

    def per_layer_inputs(self, ids, x):
        s, w = self.shape, self.w
        table = w["embed_tokens_per_layer.weight"][ids] * math.sqrt(s.ple_width)
        context = x @ w["per_layer_model_projection.weight"].T / math.sqrt(s.hidden)
        cut = (len(ids), s.layers, s.ple_width)
        context = rms_norm(context.reshape(cut), w["per_layer_projection_norm.weight"], s.epsilon)
        return (context + table.reshape(cut)) / math.sqrt(2.0)

    def layer(self, i, x, ple, kv):
        s, w, at = self.shape, self.w, f"layers.{i}."

        def norm(name, value):
            return rms_norm(value, w[f"{at}{name}.weight"], s.epsilon)

        def linear(name, value):
            return value @ w[f"{at}{name}.weight"].T
        x = x + norm("post_attention_layernorm", self.attention(i, norm("input_layernorm", x), kv))
        m = norm("pre_feedforward_layernorm", x)
        m = linear("mlp.down_proj", gelu_tanh(linear("mlp.gate_proj", m)) * linear("mlp.up_proj", m))
        x = x + norm("post_feedforward_layernorm", m)
        if ple is not None:
            g = linear("per_layer_projection", gelu_tanh(linear("per_layer_input_gate", x)) * ple)
            x = x + norm("post_per_layer_input_norm", g)
        return x * w.get(at + "layer_scalar", 1.0)

    def attention(self, i, a, kv):
        s, w, at, kind = self.shape, self.w, f"layers.{i}.self_attn.", self.shape.kinds[i]
        tokens, d = len(a), s.head_dim[kind]

        def heads(name):
            return (a @ w[f"{at}{name}_proj.weight"].T).reshape(tokens, -1, d)
        q = rotate(rms_norm(heads("q"), w[at + "q_norm.weight"], s.epsilon), s.frequencies[kind])
        if i < s.first_shared:
            k = rotate(rms_norm(heads("k"), w[at + "k_norm.weight"], s.epsilon), s.frequencies[kind])
            kv[kind] = k, rms_norm(heads("v"), None, s.epsilon) if s.value_norm else heads("v")
        k, v = (np.repeat(t, q.shape[1] // t.shape[1], 1) for t in kv[kind])
        scores = np.einsum("qhd,khd->hqk", q, k) * s.query_scale
        distance = np.arange(tokens)[:, None] - np.arange(tokens)[None]
        visible = (distance >= 0) & (distance < (s.window if kind == "sliding_attention" else tokens))
        mixed = np.einsum("hqk,khd->qhd", softmax(np.where(visible, scores, -np.inf)), v)
        return mixed.reshape(tokens, -1) @ w[at + "o_proj.weight"].T
