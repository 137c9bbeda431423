#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Train the checkpoint in examples/tiny-llama: a Llama-architecture model of 1.9 M parameters.

    apt-get install --no-install-recommends python3-torch bible-kjv
    /usr/bin/python3 examples/train_tiny_llama.py [FOLDER]

Text: the King James Version (1611, public domain) as Debian's bible-kjv-text holds it, one verse a line,
one chapter a document. Every 20th chapter is held out and written to heldout.txt. The script trains a
byte-level BPE tokenizer of 512 tokens on the rest, then the model, with one thread and a fixed seed, and
writes model.safetensors (bf16), config.json, tokenizer.json and README.md, which records the perplexity
of the stored weights on the held-out chapters.
"""
import collections
import json
import math
import os
import re
import struct
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # other counts give other bytes

import torch
import torch.nn.functional as F

HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, VOCAB = 256, 512, 3, 8, 2, 512
HEAD_DIM = HIDDEN // HEADS
CONTEXT, BATCH, STEPS, WARMUP, RATE = 256, 4, 3000, 100, 2e-3
EPS, THETA, SEED = 1e-5, 10000.0, 1611
BOS, EOS = 0, 1
HOLD_OUT = 20  # every 20th chapter

# GPT-2's pre-tokenizer pattern, which "use_regex" means in tokenizer.json, for text that is ASCII.
WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def read_chapters():
    """The text as a list of chapters, each a string of one verse a line."""
    out = subprocess.run(
        ["bible", "-f", "-l100000"], input="gen1:1-rev22:21\n", capture_output=True, text=True, check=True
    ).stdout
    chapters = collections.OrderedDict()
    for line in out.splitlines():
        verse = re.match(r"(?:bible.*> )?([1-3]?[A-Za-z]+\d+):(\d+) (.+)$", line)
        if verse:
            chapters.setdefault(verse[1], {})[int(verse[2])] = verse[3].strip()
    text = ["\n".join(verses.values()) + "\n" for verses in chapters.values()]
    assert len(text) == 1189 and all(t.isascii() for t in text)
    return text


def byte_letters():
    """GPT-2's printable character for each byte."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + n) for n, b in enumerate(rest)}


class Tokenizer:
    """Byte-level BPE. Ids: <s>, </s>, the 256 bytes, then one per merge, in the order they were learned."""

    def __init__(self, texts):
        letters = byte_letters()
        self.tokens = ["<s>", "</s>"] + [letters[b] for b in range(256)]
        self.letters, self.merges, self.cache = letters, [], {}
        counts = collections.Counter(word for text in texts for word in WORDS.findall(text))
        words = [([letters[b] for b in word.encode()], n) for word, n in sorted(counts.items())]
        while len(self.tokens) < VOCAB:
            pairs = collections.Counter()
            for parts, n in words:
                for pair in zip(parts, parts[1:]):
                    pairs[pair] += n
            best = max(pairs, key=lambda pair: (pairs[pair], pair))
            self.merges.append(best)
            self.tokens.append("".join(best))
            words = [(self.merge(parts, best), n) for parts, n in words]
        self.ids = {token: i for i, token in enumerate(self.tokens)}

    @staticmethod
    def merge(parts, pair):
        out, i = [], 0
        while i < len(parts):
            if tuple(parts[i : i + 2]) == pair:
                out.append(parts[i] + parts[i + 1])
                i += 2
            else:
                out.append(parts[i])
                i += 1
        return out

    def encode(self, text):
        ids = []
        for word in WORDS.findall(text):
            if word not in self.cache:
                parts = [self.letters[b] for b in word.encode()]
                for pair in self.merges:
                    parts = self.merge(parts, pair)
                self.cache[word] = [self.ids[p] for p in parts]
            ids += self.cache[word]
        return ids

    def json(self):
        special = [
            {"id": i, "content": self.tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for i in (BOS, EOS)
        ]
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        first = {"SpecialToken": {"id": "<s>", "type_id": 0}}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": special,
            "normalizer": None,
            "pre_tokenizer": level,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, first,
                         {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}},
            },
            "decoder": level,
            "model": {
                "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                "vocab": self.ids, "merges": [" ".join(pair) for pair in self.merges],
            },
        }


def make_weights():
    """Hugging Face names, (out, in) matrices; N(0, 0.02), the two that write to the residual scaled down."""
    generator = torch.Generator().manual_seed(SEED)
    small = 0.02 / math.sqrt(2 * LAYERS)
    weights = collections.OrderedDict()

    def matrix(name, rows, cols, deviation=0.02):
        weights[name] = torch.randn(rows, cols, generator=generator) * deviation

    matrix("model.embed_tokens.weight", VOCAB, HIDDEN)
    for l in range(LAYERS):
        at = f"model.layers.{l}."
        weights[at + "input_layernorm.weight"] = torch.ones(HIDDEN)
        matrix(at + "self_attn.q_proj.weight", HIDDEN, HIDDEN)
        matrix(at + "self_attn.k_proj.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(at + "self_attn.v_proj.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(at + "self_attn.o_proj.weight", HIDDEN, HIDDEN, small)
        weights[at + "post_attention_layernorm.weight"] = torch.ones(HIDDEN)
        matrix(at + "mlp.gate_proj.weight", FFN, HIDDEN)
        matrix(at + "mlp.up_proj.weight", FFN, HIDDEN)
        matrix(at + "mlp.down_proj.weight", HIDDEN, FFN, small)
    weights["model.norm.weight"] = torch.ones(HIDDEN)
    matrix("lm_head.weight", VOCAB, HIDDEN)
    return weights


def rms_norm(x, gain):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * gain


def rotary(t):
    """cos and sin, (t, HEAD_DIM): the angle of element i and of i + HEAD_DIM/2 is the same (halves)."""
    rate = THETA ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)
    angle = torch.arange(t, dtype=torch.float64)[:, None] * rate[None, :]
    angle = torch.cat([angle, angle], dim=1)
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    half = HEAD_DIM // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


def forward(w, ids):
    """Logits (batch, t, VOCAB) of token ids (batch, t)."""
    b, t = ids.shape
    cos, sin = rotary(t)
    future = torch.full((t, t), -math.inf).triu(1)
    x = F.embedding(ids, w["model.embed_tokens.weight"])
    for l in range(LAYERS):
        at = f"model.layers.{l}."

        def project(x, name, heads=None):
            y = x @ w[at + name + ".weight"].T
            return y if heads is None else y.view(b, t, heads, HEAD_DIM).transpose(1, 2)

        h = rms_norm(x, w[at + "input_layernorm.weight"])
        q = rotate(project(h, "self_attn.q_proj", HEADS), cos, sin)
        k = rotate(project(h, "self_attn.k_proj", KV_HEADS), cos, sin)
        v = project(h, "self_attn.v_proj", KV_HEADS)
        k = k.repeat_interleave(HEADS // KV_HEADS, dim=1)
        v = v.repeat_interleave(HEADS // KV_HEADS, dim=1)
        p = (q @ k.transpose(2, 3) / math.sqrt(HEAD_DIM) + future).softmax(-1)
        x = x + project((p @ v).transpose(1, 2).reshape(b, t, HIDDEN), "self_attn.o_proj")
        h = rms_norm(x, w[at + "post_attention_layernorm.weight"])
        x = x + project(F.silu(project(h, "mlp.gate_proj")) * project(h, "mlp.up_proj"), "mlp.down_proj")
    return rms_norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T


def train(weights, stream):
    """AdamW with a cosine schedule on random windows of the token stream."""
    torch.manual_seed(SEED)
    for w in weights.values():
        w.requires_grad_(True)
    matrices = [w for w in weights.values() if w.dim() == 2]
    gains = [w for w in weights.values() if w.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95))
    start = time.time()
    for step in range(STEPS):
        rate = RATE * min((step + 1) / WARMUP, 0.02 + 0.98 * (1 + math.cos(math.pi * step / STEPS)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        at = torch.randint(len(stream) - CONTEXT - 1, (BATCH,))
        window = torch.stack([stream[a : a + CONTEXT + 1] for a in at])
        logits = forward(weights, window[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, VOCAB), window[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step} loss {loss.item():.4f} {time.time() - start:.0f} s", flush=True)


@torch.no_grad()
def score(weights, documents):
    """Sum of -log p over every token, and their count. A window is <s> and up to CONTEXT-1 tokens."""
    total, count = 0.0, 0
    for ids in documents:
        for a in range(0, len(ids), CONTEXT - 1):
            window = torch.tensor([[BOS] + ids[a : a + CONTEXT - 1]])
            logits = forward(weights, window[:, :-1])
            total += F.cross_entropy(logits[0].double(), window[0, 1:], reduction="sum").item()
            count += window.shape[1] - 1
    return total, count


def write_safetensors(path, weights):
    """Eight bytes of header length, the JSON header padded with spaces to a multiple of 8, then bf16 data."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, w in weights.items():
        header[name] = {"dtype": "BF16", "shape": list(w.shape), "data_offsets": [at, at + 2 * w.numel()]}
        at += 2 * w.numel()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for w in weights.values():
            f.write(w.detach().to(torch.bfloat16).contiguous().view(torch.int16).numpy().astype("<i2").tobytes())


def config():
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPS,
        "rope_theta": THETA,
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "torch_dtype": "bfloat16",
    }


README = """\
# tiny-llama

A Llama-architecture language model that cmpc's demo, examples and tests compress: {parameters:,} parameters
in bf16, hidden {hidden}, ffn {ffn}, {layers} layers, {heads} heads of which {kv} key/value, context {context}, vocabulary {vocab} (byte-level
BPE), untied head. Hugging Face names; rotary in halves.

`../train_tiny_llama.py` wrote every file here: {steps} steps of {batch} windows of {context} tokens, one thread, seed {seed}.
The text is the King James Version (1611, public domain) of Debian's package bible-kjv-text, one verse a line;
`heldout.txt` is every {hold}th chapter, which training never saw, chapters separated by an empty line.

| on heldout.txt ({tokens:,} tokens, {bytes:,} bytes) | perplexity per token | per byte | bits per byte |
| --- | ---: | ---: | ---: |
| this model, from the stored bf16 weights | {token:.4f} | {byte:.4f} | {bits:.4f} |
| token frequencies of the training text (a unigram model) | {token1:.2f} | {byte1:.4f} | {bits1:.4f} |

Each chapter is cut into runs of {run} tokens; each run is scored on its own after `<s>`, and every token counts once.
"""


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny-llama")
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    chapters = read_chapters()
    held = chapters[HOLD_OUT - 1 :: HOLD_OUT]
    seen = [c for n, c in enumerate(chapters) if n % HOLD_OUT != HOLD_OUT - 1]
    tokenizer = Tokenizer(seen)
    seen_ids = [tokenizer.encode(c) for c in seen]
    held_ids = [tokenizer.encode(c) for c in held]
    stream = torch.tensor([i for ids in seen_ids for i in [BOS] + ids])
    print(f"{len(stream)} tokens of {sum(map(len, seen))} bytes", flush=True)

    weights = make_weights()
    train(weights, stream)
    stored = {name: w.detach().to(torch.bfloat16).float() for name, w in weights.items()}
    total, count = score(stored, held_ids)

    frequency = collections.Counter(i for ids in seen_ids for i in ids)
    everything = sum(frequency.values()) + VOCAB
    unigram = -sum(math.log((frequency[i] + 1) / everything) for ids in held_ids for i in ids)
    size = sum(map(len, held))

    write_safetensors(os.path.join(folder, "model.safetensors"), weights)
    for name, value in ("config.json", config()), ("tokenizer.json", tokenizer.json()):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(value, f, indent=1, ensure_ascii=False)
            f.write("\n")
    with open(os.path.join(folder, "heldout.txt"), "w", encoding="ascii") as f:
        f.write("\n".join(held))
    with open(os.path.join(folder, "README.md"), "w", encoding="ascii") as f:
        f.write(README.format(
            parameters=sum(w.numel() for w in weights.values()), hidden=HIDDEN, ffn=FFN, layers=LAYERS, heads=HEADS,
            kv=KV_HEADS, context=CONTEXT, vocab=VOCAB, steps=STEPS, batch=BATCH, seed=SEED, hold=HOLD_OUT,
            tokens=count, bytes=size, run=CONTEXT - 1,
            token=math.exp(total / count), byte=math.exp(total / size), bits=total / size / math.log(2),
            token1=math.exp(unigram / count), byte1=math.exp(unigram / size), bits1=unigram / size / math.log(2),
        ))
    print(f"perplexity {math.exp(total / count):.4f} per token, {math.exp(total / size):.4f} per byte")


if __name__ == "__main__":
    main()
