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


def run_decoder(c, config, tokens, rows=None):
    x = F.embedding(tokens, c["model.embed_tokens.weight"])
    eps = config["rms_norm_eps"]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        y = rms_norm(x, c[f"{at}.input_layernorm.weight"], eps)
        x = x + run_attention(c, f"{at}.self_attn", config, y, window_of(config, layer))
        y = rms_norm(x, c[f"{at}.post_attention_layernorm.weight"], eps)
        x = x + run_experts(c, config, at, y, rows)
    x = rms_norm(x, c["model.norm.weight"], eps)
    return {"logits": F.linear(x, c.get("lm_head.weight", c["model.embed_tokens.weight"]))}


# ---- decoders with experts ----


def make_mixtral(config, seed):
    c, count = make_decoder(config, seed), config["num_local_experts"]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        for name in [n for n in c if n.startswith(f"{at}.mlp.")]:
            del c[name]
        c.linear(f"{at}.block_sparse_moe.gate", count, config["hidden_size"], False)
        for expert in range(count):
            prefix = f"{at}.block_sparse_moe.experts.{expert}"
            add_mlp(c, prefix, config["hidden_size"], config["intermediate_size"], ("w1", "w3", "w2"))
    return c


def make_qwen2_moe(config, seed):
    """Experts in every decoder_sparse_step-th layer"""
    c, width = make_decoder(config, seed, biases=True), config["hidden_size"]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}.mlp"
        if (layer + 1) % config["decoder_sparse_step"]:
            continue
        for name in [n for n in c if n.startswith(f"{at}.")]:
            del c[name]
        c.linear(f"{at}.gate", config["num_experts"], width, False)
        for expert in range(config["num_experts"]):
            add_mlp(c, f"{at}.experts.{expert}", width, config["moe_intermediate_size"])
        add_mlp(c, f"{at}.shared_expert", width, config["shared_expert_intermediate_size"])
        c.linear(f"{at}.shared_expert_gate", 1, width, False)
    return c


def routed(c, x, router, count, norm_topk, experts, names, rows=None):
    """Each token through its own experts, one by one; rows: {prefix: what meets it}"""
    share = c.run_linear(router, x).softmax(-1)
    top, chosen = share.topk(count, -1)
    top = top / top.sum(-1, keepdim=True) if norm_topk else top
    out = torch.zeros_like(x)
    for token in range(len(x)):
        for weight, expert in zip(top[token], chosen[token].tolist()):
            prefix = f"{experts}.{expert}"
            out[token] += weight * run_mlp(c, prefix, x[token], names)
            if rows is not None:
                rows.setdefault(prefix, []).append(x[token])
    return out


def run_experts(c, config, at, x, rows):
    if f"{at}.block_sparse_moe.gate.weight" in c:
        at = f"{at}.block_sparse_moe"
        return routed(c, x, f"{at}.gate", config["num_experts_per_tok"], True, f"{at}.experts", ("w1", "w3", "w2"), rows)
    if f"{at}.mlp.gate.weight" not in c:
        return run_mlp(c, f"{at}.mlp", x)
    at, names = f"{at}.mlp", ("gate_proj", "up_proj", "down_proj")
    out = routed(c, x, f"{at}.gate", config["num_experts_per_tok"], config["norm_topk_prob"], f"{at}.experts", names, rows)
    return out + torch.sigmoid(c.run_linear(f"{at}.shared_expert_gate", x)) * run_mlp(c, f"{at}.shared_expert", x)


# ---- GPT-2 ----


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


GPT2 = {"model_type": "gpt2", "n_embd": 48, "n_head": 4, "n_layer": 2, "n_positions": 40, "vocab_size": 96,
    "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}


def make_gpt2(config, seed, prefix="transformer."):
    """Conv1D: matrices are [inputs, outputs]."""
    c, width = Checkpoint(seed), config["n_embd"]
    c.add(f"{prefix}wte.weight", config["vocab_size"], width)
    c.add(f"{prefix}wpe.weight", config["n_positions"], width)
    for layer in range(config["n_layer"]):
        at = f"{prefix}h.{layer}"
        c.norm(f"{at}.ln_1", width, True)
        c.linear(f"{at}.attn.c_attn", width, 3 * width, False)
        c.add(f"{at}.attn.c_attn.bias", 3 * width)
        c.linear(f"{at}.attn.c_proj", width, width, True)
        c.norm(f"{at}.ln_2", width, True)
        c.linear(f"{at}.mlp.c_fc", width, 4 * width, False)
        c.add(f"{at}.mlp.c_fc.bias", 4 * width)
        c.linear(f"{at}.mlp.c_proj", 4 * width, width, False)
        c.add(f"{at}.mlp.c_proj.bias", width)
    c.norm(f"{prefix}ln_f", width, True)
    return c


def run_gpt2(c, config, tokens, prefix="transformer."):
    width, heads, eps = config["n_embd"], config["n_head"], config["layer_norm_epsilon"]
    x = c[f"{prefix}wte.weight"][tokens] + c[f"{prefix}wpe.weight"][: len(tokens)]

    def conv(name, x):
        return torch.addmm(c[name + ".bias"], x, c[name + ".weight"])

    def norm(name, x):
        return F.layer_norm(x, (width,), c[name + ".weight"], c[name + ".bias"], eps)

    for layer in range(config["n_layer"]):
        at = f"{prefix}h.{layer}"
        parts = conv(f"{at}.attn.c_attn", norm(f"{at}.ln_1", x)).split(width, 1)
        q, k, v = (part.view(len(x), heads, -1).transpose(0, 1) for part in parts)
        x = x + conv(f"{at}.attn.c_proj", attention(q, k, v, causal_mask(len(x))))
        x = x + conv(f"{at}.mlp.c_proj", gelu_tanh(conv(f"{at}.mlp.c_fc", norm(f"{at}.ln_2", x))))
    return {"logits": norm(f"{prefix}ln_f", x) @ c[f"{prefix}wte.weight"].T}


def gpt2_rows(c, config, tokens, prefix="transformer."):
    """What meets the first layer's c_attn"""
    x = c[f"{prefix}wte.weight"][tokens] + c[f"{prefix}wpe.weight"][: len(tokens)]
    gain, shift = (c[f"{prefix}h.0.ln_1.{kind}"] for kind in ("weight", "bias"))
    return F.layer_norm(x, (config["n_embd"],), gain, shift, config["layer_norm_epsilon"])


# ---- BERT ----

BERT = {"model_type": "bert", "hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 80,
    "vocab_size": 96, "max_position_embeddings": 40, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}


def make_bert(config, seed, has_head):
    c, width, inner = Checkpoint(seed), config["hidden_size"], config["intermediate_size"]
    at = "bert.embeddings" if has_head else "embeddings"
    for name, count in (("word", "vocab_size"), ("position", "max_position_embeddings"), ("token_type", "type_vocab_size")):
        c.add(f"{at}.{name}_embeddings.weight", config[count], width)
    c.norm(f"{at}.LayerNorm", width, True)
    for layer in range(config["num_hidden_layers"]):
        at = f"{'bert.' if has_head else ''}encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            c.linear(f"{at}.attention.self.{name}", width, width, True)
        c.linear(f"{at}.attention.output.dense", width, width, True)
        c.norm(f"{at}.attention.output.LayerNorm", width, True)
        c.linear(f"{at}.intermediate.dense", inner, width, True)
        c.linear(f"{at}.output.dense", width, inner, True)
        c.norm(f"{at}.output.LayerNorm", width, True)
    if has_head:
        c.linear("cls.predictions.transform.dense", width, width, True)
        c.norm("cls.predictions.transform.LayerNorm", width, True)
        c.add("cls.predictions.bias", config["vocab_size"])
    return c


def run_bert(c, config, tokens):
    prefix = "bert." if "cls.predictions.bias" in c else ""
    width, heads = config["hidden_size"], config["num_attention_heads"]

    def norm(name, x):
        return F.layer_norm(x, (width,), c[name + ".weight"], c[name + ".bias"], config["layer_norm_eps"])

    at = f"{prefix}embeddings"
    x = c[f"{at}.word_embeddings.weight"][tokens] + c[f"{at}.position_embeddings.weight"][: len(tokens)]
    x = norm(f"{at}.LayerNorm", x + c[f"{at}.token_type_embeddings.weight"][0])
    for layer in range(config["num_hidden_layers"]):
        at = f"{prefix}encoder.layer.{layer}"
        q, k, v = (c.run_linear(f"{at}.attention.self.{n}", x).view(len(x), heads, -1).transpose(0, 1)
                   for n in ("query", "key", "value"))
        a = attention(q, k, v, torch.zeros(len(x), len(x)).bool())
        x = norm(f"{at}.attention.output.LayerNorm", x + c.run_linear(f"{at}.attention.output.dense", a))
        u = F.gelu(c.run_linear(f"{at}.intermediate.dense", x))
        x = norm(f"{at}.output.LayerNorm", x + c.run_linear(f"{at}.output.dense", u))
    results = {"hidden": x}
    if prefix:
        u = norm("cls.predictions.transform.LayerNorm", F.gelu(c.run_linear("cls.predictions.transform.dense", x)))
        results["logits"] = u @ c["bert.embeddings.word_embeddings.weight"].T + c["cls.predictions.bias"]
    return results
