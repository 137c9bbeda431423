# SPDX-License-Identifier: MIT
"""A Llama's forward pass in NumPy, f64 throughout: what stdlib/nets/llama.cmp is compared with."""

import json
import os
import struct

import numpy


def read_tensors(path):
    """{name: f64 array}"""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + at for at in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            bits = numpy.frombuffer(data[begin:end], "<u2").astype(numpy.uint32) << 16
            values = bits.view(numpy.float32)
        else:
            values = numpy.frombuffer(data[begin:end], {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
        tensors[name] = values.astype(numpy.float64).reshape(entry["shape"])
    return tensors


def read_checkpoint(folder):
    """The tensors of a folder with one model.safetensors, and its config."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    return read_tensors(os.path.join(folder, "model.safetensors")), config


def rms_norm(x, gain, eps):
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + eps) * gain


def rotate(x, angle):
    """x[t, h, e], angle[t, e / 2]: the pairs (e, e + half) turned."""
    half = x.shape[-1] // 2
    a, b, c, s = x[..., :half], x[..., half:], numpy.cos(angle)[:, None], numpy.sin(angle)[:, None]
    return numpy.concatenate([a * c - b * s, b * c + a * s], -1)


def frequencies(config, size):
    r = numpy.arange(size // 2)
    frequency = config.get("rope_theta", 10000.0) ** (-2 * r / size)
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        return frequency / scaling["factor"]
    if kind != "llama3":
        return frequency
    low, high, trained = (scaling[k] for k in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"))
    turns = trained * frequency / (2 * numpy.pi)
    smooth = numpy.clip((turns - low) / (high - low), 0, 1)
    return frequency * (smooth + (1 - smooth) / scaling["factor"])


def layer_weights(tensors, layer):
    return {n.split(".", 3)[3]: v for n, v in tensors.items() if n.startswith(f"model.layers.{layer}.")}


def run_layer(w, config, x):
    """What a layer makes of x, and the rows that meet each of its matrices."""
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    eps, count = config["rms_norm_eps"], len(x)
    angle = numpy.arange(count)[:, None] * frequencies(config, size)
    distance = numpy.arange(count)[:, None] - numpy.arange(count)
    seen = (distance >= 0) & (distance < (config.get("sliding_window") or count))
    y = rms_norm(x, w["input_layernorm.weight"], eps)
    q, k, v = (
        (y @ w[f"self_attn.{n}_proj.weight"].T + w.get(f"self_attn.{n}_proj.bias", 0)).reshape(count, -1, size)
        for n in "qkv"
    )
    q, k = rotate(q, angle), rotate(k, angle)
    k, v = (numpy.repeat(a, heads // groups, axis=1) for a in (k, v))
    score = numpy.einsum("the,she->hts", q, k) / numpy.sqrt(size)
    score = numpy.where(seen, score, -numpy.inf)
    part = numpy.exp(score - score.max(-1, keepdims=True))
    part /= part.sum(-1, keepdims=True)
    a = numpy.einsum("hts,she->the", part, v).reshape(count, -1)
    x = x + a @ w["self_attn.o_proj.weight"].T
    z = rms_norm(x, w["post_attention_layernorm.weight"], eps)
    gate = z @ w["mlp.gate_proj.weight"].T
    u = gate / (1 + numpy.exp(-gate)) * (z @ w["mlp.up_proj.weight"].T)
    rows = {"self_attn.o_proj.weight": a, "mlp.gate_proj.weight": z, "mlp.up_proj.weight": z, "mlp.down_proj.weight": u}
    rows.update({f"self_attn.{n}_proj.weight": y for n in "qkv"})
    return x + u @ w["mlp.down_proj.weight"].T, rows


def forward(tensors, config, tokens):
    """logits[t, v]"""
    x = tensors["model.embed_tokens.weight"][tokens]
    for layer in range(config["num_hidden_layers"]):
        x, _ = run_layer(layer_weights(tensors, layer), config, x)
    head = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
    return rms_norm(x, tensors["model.norm.weight"], config["rms_norm_eps"]) @ head.T


def calibrate(tensors, config, samples, change, is_one_shot=False):
    """Layer by layer the matrices become change(w, rows that meet it), and later layers see that, unless it is all done
    in one shot. Gives all tensors."""
    tensors = dict(tensors)
    states = [tensors["model.embed_tokens.weight"][tokens] for tokens in samples]
    for layer in range(config["num_hidden_layers"]):
        w = layer_weights(tensors, layer)
        outputs, rows = zip(*(run_layer(w, config, x) for x in states))
        for name in rows[0]:
            w[name] = change(w[name], numpy.concatenate([r[name] for r in rows]))
            tensors[f"model.layers.{layer}.{name}"] = w[name]
        states = outputs if is_one_shot else [run_layer(w, config, x)[0] for x in states]
    return tensors


def losses(logits, tokens):
    """-log p of every token but the first"""
    top = logits.max(-1, keepdims=True)
    log_sum = numpy.log(numpy.exp(logits - top).sum(-1)) + top[:, 0]
    return (log_sum[:-1] - logits[numpy.arange(len(tokens) - 1), tokens[1:]])
