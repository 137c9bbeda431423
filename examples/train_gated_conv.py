#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Train the checkpoint in examples/gated-conv: a language model of gated convolutions, of 0.38 M parameters.

    apt-get install --no-install-recommends python3-torch bible-kjv
    /usr/bin/python3 examples/train_gated_conv.py [FOLDER]

The network is that of Dauphin et al. 2017, "Language modeling with gated convolutional networks": each layer sees
the last TAPS tokens, and a half of what it makes of them gates the other. Text, held-out chapters and tokenizer are
those of train_tiny_llama.py. One thread and a fixed seed; writes model.safetensors (bf16) and config.json, prints the
perplexity of the stored weights on the chapters that were held out.
"""
import collections
import json
import math
import os
import sys
import time

import train_tiny_llama as text  # sets the number of threads before torch is loaded

import torch
import torch.nn.functional as F

WIDTH, TAPS, LAYERS, EPS = 96, 4, 4, 1e-5
CONTEXT, BATCH, STEPS, WARMUP, RATE, SEED = 128, 16, 2400, 100, 4e-3, 2017


def make_weights():
    """Kernels are (out, in, taps), as torch has them: the last tap meets the token itself."""
    generator = torch.Generator().manual_seed(SEED)
    weights = collections.OrderedDict()

    def normal(name, *shape, deviation):
        weights[name] = torch.randn(*shape, generator=generator) * deviation

    normal("embed.weight", text.VOCAB, WIDTH, deviation=0.05)
    for l in range(LAYERS):
        at = f"blocks.{l}."
        weights[at + "norm.weight"] = torch.ones(WIDTH)
        for part in "value", "gate":
            normal(at + part + ".weight", WIDTH, WIDTH, TAPS, deviation=1 / math.sqrt(WIDTH * TAPS))
            weights[at + part + ".bias"] = torch.zeros(WIDTH)
        normal(at + "out.weight", WIDTH, WIDTH, deviation=0.5 / math.sqrt(WIDTH * LAYERS))
    weights["norm.weight"] = torch.ones(WIDTH)
    return weights


def rms_norm(x, gain):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * gain


def forward(w, ids):
    """Logits (batch, t, VOCAB) of token ids (batch, t)."""
    x = F.embedding(ids, w["embed.weight"])
    for l in range(LAYERS):
        at = f"blocks.{l}."
        past = F.pad(rms_norm(x, w[at + "norm.weight"]).transpose(1, 2), (TAPS - 1, 0))
        value, gate = (F.conv1d(past, w[at + part + ".weight"], w[at + part + ".bias"]) for part in ("value", "gate"))
        x = x + (value * torch.sigmoid(gate)).transpose(1, 2) @ w[at + "out.weight"].T
    return rms_norm(x, w["norm.weight"]) @ w["embed.weight"].T


def train(weights, stream):
    """AdamW with a cosine schedule on random windows of the token stream."""
    torch.manual_seed(SEED)
    for w in weights.values():
        w.requires_grad_(True)
    optimizer = torch.optim.AdamW(weights.values(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.02)
    start = time.time()
    for step in range(STEPS):
        rate = RATE * min((step + 1) / WARMUP, 0.02 + 0.98 * (1 + math.cos(math.pi * step / STEPS)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        at = torch.randint(len(stream) - CONTEXT - 1, (BATCH,))
        window = torch.stack([stream[a : a + CONTEXT + 1] for a in at])
        logits = forward(weights, window[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, text.VOCAB), window[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step} loss {loss.item():.4f} {time.time() - start:.0f} s", flush=True)


@torch.no_grad()
def score(weights, documents):
    """Sum of -log p over every token, and their count. A window is <s> and up to CONTEXT-1 tokens."""
    total, count = 0.0, 0
    for ids in documents:
        for a in range(0, len(ids), CONTEXT - 1):
            window = torch.tensor([[text.BOS] + ids[a : a + CONTEXT - 1]])
            logits = forward(weights, window[:, :-1])
            total += F.cross_entropy(logits[0].double(), window[0, 1:], reduction="sum").item()
            count += window.shape[1] - 1
    return total, count


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "gated-conv")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    chapters = text.read_chapters()
    held = chapters[text.HOLD_OUT - 1 :: text.HOLD_OUT]
    seen = [c for n, c in enumerate(chapters) if n % text.HOLD_OUT != text.HOLD_OUT - 1]
    tokenizer = text.Tokenizer(seen)
    stream = torch.tensor([i for c in seen for i in [text.BOS] + tokenizer.encode(c)])
    weights = make_weights()
    train(weights, stream)
    stored = {name: w.detach().to(torch.bfloat16).float() for name, w in weights.items()}
    text.write_safetensors(os.path.join(folder, "model.safetensors"), weights)
    config = {"model_type": "gated_conv", "vocab_size": text.VOCAB, "num_layers": LAYERS, "norm_eps": EPS}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
        file.write("\n")
    total, count = score(stored, [tokenizer.encode(c) for c in held])
    print(f"{sum(w.numel() for w in weights.values())} parameters, perplexity {math.exp(total / count):.4f}")


if __name__ == "__main__":
    main()
