# SPDX-License-Identifier: MIT
"""Networks in PyTorch, f64: small random checkpoints in the layout that the `transformers` library writes, and what the
network makes of tokens. From the papers and that library's documented behavior; what stdlib/nets is compared with."""

import math

import torch
from torch.nn import functional as F

DECODER = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 80, "vocab_size": 96, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}


class Checkpoint(dict):
    """{name: tensor}; random ones, of a size that keeps numbers near 1"""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def add(self, name, *shape, around=0.0):
        scale = 0.2 if len(shape) == 1 else shape[-1] ** -0.5
        values = around + scale * torch.randn(*shape, generator=self.generator)
        self[name] = values.to(torch.float32).to(torch.float64)

    def linear(self, name, outputs, inputs, bias):
        self.add(name + ".weight", outputs, inputs)
        if bias:
            self.add(name + ".bias", outputs)

    def norm(self, name, width, bias=False):
        self.add(name + ".weight", width, around=1.0)
        if bias:
            self.add(name + ".bias", width)

    def run_linear(self, name, x):
        return F.linear(x, self[name + ".weight"], self.get(name + ".bias"))


def rms_norm(x, gain, eps):
    return gain * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))


# ---- decoders with rotary positions ----


def head_size(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def frequencies(config):
    """of each pair, and what the turned are multiplied with"""
    size, base = head_size(config), config["rope_theta"]
    speed = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type") != "yarn":
        return speed, 1.0
    trained, factor = scaling["original_max_position_embeddings"], scaling["factor"]

    def pair_of(turns):
        return size * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(math.floor(pair_of(32)), 0), min(math.ceil(pair_of(1)), size - 1)
    ramp = ((torch.arange(size // 2, dtype=torch.float64) - low) / (high - low)).clamp(0, 1)
    return speed * (1 - ramp) + speed / factor * ramp, 0.1 * math.log(factor) + 1


def rotate(x, config):
    """x[head, t, element]: halves of a head are real and imaginary parts."""
    speed, gain = frequencies(config)
    angle = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), speed)
    half = x.shape[-1] // 2
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.full_like(angle, gain), angle)
    return torch.cat([turned.real, turned.imag], -1)


def attention(q, k, v, mask):
    """[head, t, element]; mask: what is not seen"""
    k, v = (a.repeat_interleave(q.shape[0] // a.shape[0], 0) for a in (k, v))
    score = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(q.shape[-1])
    return torch.bmm(score.masked_fill(mask, -math.inf).softmax(-1), v).transpose(0, 1).flatten(1)


def causal_mask(count, window=None):
    ahead = torch.ones(count, count).triu(1).bool()
    return ahead if window is None else ahead | torch.ones(count, count).tril(-window).bool()


def add_attention(c, prefix, config, biases, head_norms):
    width, size = config["hidden_size"], head_size(config)
    heads, groups = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    for part, outputs in (("q", heads), ("k", groups), ("v", groups)):
        c.linear(f"{prefix}.{part}_proj", outputs, width, biases)
    c.linear(f"{prefix}.o_proj", width, heads, False)
    if head_norms:
        c.norm(f"{prefix}.q_norm", size)
        c.norm(f"{prefix}.k_norm", size)


def run_attention(c, prefix, config, x, window):
    size = head_size(config)
    q, k, v = (c.run_linear(f"{prefix}.{n}_proj", x).view(len(x), -1, size).transpose(0, 1) for n in "qkv")
    if f"{prefix}.q_norm.weight" in c:
        q, k = (rms_norm(a, c[f"{prefix}.{n}_norm.weight"], config["rms_norm_eps"]) for n, a in (("q", q), ("k", k)))
    out = attention(rotate(q, config), rotate(k, config), v, causal_mask(len(x), window))
    return c.run_linear(f"{prefix}.o_proj", out)


def add_mlp(c, prefix, width, inner, names=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = names
    c.linear(f"{prefix}.{gate}", inner, width, False)
    c.linear(f"{prefix}.{up}", inner, width, False)
    c.linear(f"{prefix}.{down}", width, inner, False)


def run_mlp(c, prefix, x, names=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = (f"{prefix}.{n}" for n in names)
    return c.run_linear(down, F.silu(c.run_linear(gate, x)) * c.run_linear(up, x))


def make_decoder(config, seed, biases=False, head_norms=False):
    c = Checkpoint(seed)
    c.add("model.embed_tokens.weight", config["vocab_size"], config["hidden_size"])
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        c.norm(f"{at}.input_layernorm", config["hidden_size"])
        add_attention(c, f"{at}.self_attn", config, biases, head_norms)
        c.norm(f"{at}.post_attention_layernorm", config["hidden_size"])
        add_mlp(c, f"{at}.mlp", config["hidden_size"], config["intermediate_size"])
    c.norm("model.norm", config["hidden_size"])
    if not config.get("tie_word_embeddings"):
        c.add("lm_head.weight", config["vocab_size"], config["hidden_size"])
    return c


def window_of(config, layer):
    """Qwen's first max_window_layers see everything."""
    if not config.get("use_sliding_window", True) or layer < config.get("max_window_layers", 0):
        return None
    return config.get("sliding_window")


def run_decoder(c, config, tokens):
    x = F.embedding(tokens, c["model.embed_tokens.weight"])
    eps = config["rms_norm_eps"]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        y = rms_norm(x, c[f"{at}.input_layernorm.weight"], eps)
        x = x + run_attention(c, f"{at}.self_attn", config, y, window_of(config, layer))
        y = rms_norm(x, c[f"{at}.post_attention_layernorm.weight"], eps)
        x = x + run_mlp(c, f"{at}.mlp", y)
    x = rms_norm(x, c["model.norm.weight"], eps)
    return {"logits": F.linear(x, c.get("lm_head.weight", c["model.embed_tokens.weight"]))}
