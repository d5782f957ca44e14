"""The vision tower in float64, written from docs/MODEL.md and not from transformers: the second opinion of vision.py."""

import numpy as np


def rms(x, weight, epsilon):
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    return y if weight is None else y * weight


def gelu(z):
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z ** 3)))


def turn(x, positions, base):
    """RoPE of one axis on x [N, heads, width]; the angles are float32 by definition."""
    half = x.shape[-1] // 2
    frequencies = np.float32(1) / np.float32(base) ** (np.arange(half, dtype=np.float32) / np.float32(half))
    angles = (positions.astype(np.float32)[:, None, None] * frequencies).astype(np.float64)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)


def nearest_tie(steps):
    """How far roundings stay from ties, in units of 2^-24 of the larger of a value and 32: float32 noise is 1 to 3."""
    steps = np.abs(steps[np.abs(steps) < 128.5])
    return float((np.abs(steps - np.floor(steps) - 0.5) / (np.maximum(steps, 32) * 2.0 ** -24)).min(initial=np.inf))


class Tower64:
    """config: the vision_config; weights: name behind "model." -> array; scales: of what leaves each layer, if any.
    watch(name, input, output), if given, sees every clipped linear before it is clipped. Weights with a weight_scale are
    codes, of Google's low-bit releases; `tie` is then how near a rounding came to one."""

    def __init__(self, config, weights, scales=None, watch=None):
        self.c, self.scales, self.watch, self.tie = config, scales, watch, np.inf
        self.w = {k: v.astype(np.float64) for k, v in weights.items()}

    def rounded(self, x, scale):
        if scale == 0:
            return x
        self.tie = min(self.tie, nearest_tie(x / scale))
        return np.clip(np.rint(x / scale), -128, 127) * scale

    def linear(self, name, x):
        if name + ".weight_scale" not in self.w:
            return x @ self.w[name + ".weight"].T
        x = self.rounded(x, self.w[name + ".input_activation_scale"])
        y = x @ self.w[name + ".weight"].T * self.w[name + ".weight_scale"][:, 0]
        return self.rounded(y, self.w[name + ".output_activation_scale"])

    def clipped(self, name, x):
        def bound(key):
            return self.w.get(f"{name}.{key}", np.inf if key.endswith("max") else -np.inf)
        clipped = np.clip(x, bound("input_min"), bound("input_max"))
        y = self.linear(name + ".linear", clipped)
        if self.watch:
            self.watch(name, x, y)
        return np.clip(y, bound("output_min"), bound("output_max"))

    def layer(self, i, x, columns, rows):
        c, at = self.c, f"vision_tower.encoder.layers.{i}."
        n, d, heads, kv = len(x), c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
        eps, base = c["rms_norm_eps"], c["rope_parameters"]["rope_theta"]
        column, row = np.arange(n) % columns, np.arange(n) // columns

        def norm(name, z):
            return rms(z, self.w[at + name + ".weight"], eps)

        def rope(z):
            return np.concatenate([turn(z[..., :d // 2], column, base), turn(z[..., d // 2:], row, base)], -1)
        a = norm("input_layernorm", x)
        q = rope(norm("self_attn.q_norm", self.clipped(at + "self_attn.q_proj", a).reshape(n, heads, d)))
        k = rope(norm("self_attn.k_norm", self.clipped(at + "self_attn.k_proj", a).reshape(n, kv, d)))
        v = rms(self.clipped(at + "self_attn.v_proj", a).reshape(n, kv, d), None, eps)
        k, v = (np.repeat(z, heads // kv, 1) for z in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), v).reshape(n, heads * d)
        x = x + norm("post_attention_layernorm", self.clipped(at + "self_attn.o_proj", mixed))
        m = norm("pre_feedforward_layernorm", x)
        gated = gelu(self.clipped(at + "mlp.gate_proj", m)) * self.clipped(at + "mlp.up_proj", m)
        x = x + norm("post_feedforward_layernorm", self.clipped(at + "mlp.down_proj", gated))
        return x if self.scales is None else x * self.scales[i]

    def run(self, values, columns, rows):
        """values [N, 3pp] from 0 to 1 -> activations by the names of the dumps."""
        c, w, out = self.c, self.w, {}
        n, side = np.arange(columns * rows), c["pooling_kernel_size"]
        table = w["vision_tower.patch_embedder.position_embedding_table"]
        x = (2 * values.astype(np.float64) - 1) @ w["vision_tower.patch_embedder.input_proj.weight"].T
        x = out["vision.embed"] = x + table[0][n % columns] + table[1][n // columns]
        for i in range(c["num_hidden_layers"]):
            x = out[f"vision.layer.{i}"] = self.layer(i, x, columns, rows)
        out["vision.encoder"] = x
        blocks = x.reshape(rows // side, side, columns // side, side, -1)
        x = out["vision.pooled"] = blocks.mean((1, 3)).reshape(-1, x.shape[-1]) * np.sqrt(c["hidden_size"])
        if c["standardize"]:
            x = out["vision.standardized"] = (x - w["vision_tower.std_bias"]) * w["vision_tower.std_scale"]
        out["vision.soft_tokens"] = rms(x, None, c["rms_norm_eps"]) @ w["embed_vision.embedding_projection.weight"].T
        return out
