#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write what reaches each matrix of examples/tiny-llama while it reads a text.

    calibrate.py [OUT [MODEL [TOKENS]]]

OUT is calibration.safetensors beside this script if it is not given, MODEL ../tiny-llama. The first TOKENS (512)
tokens of the model's heldout.txt go through the model in NumPy, 256 at a time; OUT gets for each matrix NAME a tensor
NAME.input of f32 [tokens, inputs]. Prints the perplexity of the text: about 10 for the checkpoint as it was trained.
"""
import json
import os
import re
import struct
import sys

import numpy as np

CONTEXT = 256

# GPT-2's pre-tokenizer pattern, which "use_regex" means in tokenizer.json, for text that is ASCII.
WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def read_tensors(path):
    """name: array of f32"""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        head, data = json.loads(file.read(length)), file.read()
    tensors = {}
    for name, row in head.items():
        if name == "__metadata__":
            continue
        part = data[slice(*row["data_offsets"])]
        if row["dtype"] == "BF16":
            values = (np.frombuffer(part, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(part, {"F16": "<f2", "F32": "<f4"}[row["dtype"]]).astype(np.float32)
        tensors[name] = values.reshape(row["shape"])
    return tensors


def write_tensors(path, tensors):
    head, at = {}, 0
    for name, values in tensors.items():
        head[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(values.astype("<f4").tobytes())


def tokenize(folder, text):
    """Byte-level BPE; bytes of ASCII text stand for themselves but for the blank and the line end."""
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
        model = json.load(file)["model"]
    rank = {tuple(pair.split(" ")): n for n, pair in enumerate(model["merges"])}
    ids, known = [], {}
    for word in WORDS.findall(text):
        if word not in known:
            parts = [{" ": "\u0120", "\n": "\u010a"}.get(letter, letter) for letter in word]
            while len(parts) > 1:
                best = min(zip(parts, parts[1:]), key=lambda pair: rank.get(pair, len(rank)))
                if best not in rank:
                    break
                i, merged = 0, []
                while i < len(parts):
                    is_pair = tuple(parts[i : i + 2]) == best
                    merged.append("".join(parts[i : i + 2]) if is_pair else parts[i])
                    i += 2 if is_pair else 1
                parts = merged
            known[word] = [model["vocab"][part] for part in parts]
        ids += known[word]
    return ids


def rms_norm(x, gain, epsilon):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * gain


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def forward(config, weights, ids, seen):
    """Logits [t, vocabulary]; seen(name, x) is told what reaches each matrix."""
    heads, groups, t = config["num_attention_heads"], config["num_key_value_heads"], len(ids)
    size, epsilon = config["hidden_size"] // heads, config["rms_norm_eps"]
    angle = np.arange(t)[:, None] * config["rope_theta"] ** (-np.arange(0, size, 2) / size)
    cos, sin = np.cos(np.tile(angle, 2))[:, None], np.sin(np.tile(angle, 2))[:, None]
    future = np.triu(np.full((t, t), -np.inf), 1)

    def matrix(name, x):
        seen(name, x)
        return x @ weights[name].T

    def rotate(x):
        return x * cos + np.concatenate([-x[..., size // 2 :], x[..., : size // 2]], -1) * sin

    x = weights["model.embed_tokens.weight"][ids].astype(np.float64)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        h = rms_norm(x, weights[at + "input_layernorm.weight"], epsilon)
        q = rotate(matrix(at + "self_attn.q_proj.weight", h).reshape(t, heads, size))
        k = rotate(matrix(at + "self_attn.k_proj.weight", h).reshape(t, groups, size))
        v = matrix(at + "self_attn.v_proj.weight", h).reshape(t, groups, size)
        k, v = np.repeat(k, heads // groups, 1), np.repeat(v, heads // groups, 1)
        p = softmax(np.einsum("qhd,khd->hqk", q, k) / np.sqrt(size) + future)
        x = x + matrix(at + "self_attn.o_proj.weight", np.einsum("hqk,khd->qhd", p, v).reshape(t, -1))
        h = rms_norm(x, weights[at + "post_attention_layernorm.weight"], epsilon)
        gate, up = matrix(at + "mlp.gate_proj.weight", h), matrix(at + "mlp.up_proj.weight", h)
        x = x + matrix(at + "mlp.down_proj.weight", gate / (1 + np.exp(-gate)) * up)
    return matrix("lm_head.weight", rms_norm(x, weights["model.norm.weight"], epsilon))


def read_text(folder, count, seen=lambda name, x: None):
    """The perplexity of the first `count` tokens of the held-out text."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(os.path.join(folder, "heldout.txt"), encoding="utf-8") as file:
        ids = tokenize(folder, file.read(16 * count))[:count]
    weights = read_tensors(os.path.join(folder, "model.safetensors"))
    loss = 0
    for begin in range(0, len(ids), CONTEXT):
        window = np.array([config["bos_token_id"]] + ids[begin : begin + CONTEXT])
        p = softmax(forward(config, weights, window[:-1], seen))
        loss -= np.log(p[np.arange(len(window) - 1), window[1:]]).sum()
    return np.exp(loss / len(ids))


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    out = arguments[0] if arguments else os.path.join(here, "calibration.safetensors")
    folder = arguments[1] if len(arguments) > 1 else os.path.join(here, "..", "tiny-llama")
    count, parts = int(arguments[2]) if len(arguments) > 2 else 512, {}
    perplexity = read_text(folder, count, lambda name, x: parts.setdefault(f"{name}.input", []).append(x))
    write_tensors(out, {name: np.concatenate(part).astype(np.float32) for name, part in parts.items()})
    print(f"{len(parts)} matrices, {count} tokens, perplexity {perplexity:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
