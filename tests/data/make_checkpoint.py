#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make a synthetic Llama-architecture checkpoint: the same bytes for the same arguments.

    make_checkpoint.py --format safetensors --dtype bf16 --size 1GiB --shards 4 OUT/
    make_checkpoint.py --format safetensors --dtype f32 OUT.safetensors
    make_checkpoint.py --format gguf --dtype f16 --size 1GiB OUT.gguf
    make_checkpoint.py --format gguf --dtype f16 --size 13.5GB --sparse OUT.gguf

--size picks the shape from SHAPES and then the number of layers, so the size is met to half a
layer; --dim, --ff, --vocab, --heads, --kv-heads and --layers override what it picks.
Weights are normal with standard deviation 0.02, one in a thousand of them an outlier of 5 to 20
times that. Rows are spans of a pool of random values, each from a place and with a sign of its
own: no two rows are alike, and writing is as fast as the disk. --sparse writes headers only and
leaves the weights a hole (they read as zeros): for tests that look at headers of huge models.
"""

import argparse
import json
import math
import os
import re
import struct
import sys

import numpy

POOL = 1 << 22  # values in the pool
CHUNK = 1 << 20  # values written at a time, a span of the pool

SHAPES = [  # (dim, ff, vocab, head size), the largest with at least LAYERS layers is taken
    (256, 768, 512, 32),
    (512, 1536, 4096, 64),
    (1024, 2816, 16000, 64),
    (2048, 5632, 32000, 64),
    (4096, 11008, 32000, 128),
]
LAYERS = 4

BYTES = {"f32": 4, "f16": 2, "bf16": 2}
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
ALIGNMENT = 32  # GGUF's default


def parse_size(text):
    match = re.fullmatch(r"([0-9.]+) *([A-Za-z]*)", text)
    if not match or match[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"not a size: {text} (write 512MiB, 1.5GB)")
    return int(float(match[1]) * UNITS[match[2]])


# ---- the model: a list of (Hugging Face name, GGUF name, shape) ----


def layer_parameters(dim, ff, kv):
    return 2 * dim * dim + 2 * dim * kv + 3 * dim * ff + 2 * dim


def choose_model(options):
    """Fill in what the command line left open; --size decides, explicit options win."""
    element = BYTES[options.dtype]
    wanted = options.size // element
    picked = SHAPES[0]
    for shape in SHAPES:
        dim, ff, vocab, _ = shape
        if 2 * vocab * dim + LAYERS * layer_parameters(dim, ff, dim) <= wanted * 1.02:
            picked = shape
    options.dim = options.dim or picked[0]
    options.ff = options.ff or picked[1]
    options.vocab = options.vocab or picked[2]
    options.heads = options.heads or max(1, options.dim // picked[3])
    options.kv_heads = options.kv_heads or options.heads
    if options.dim % options.heads or options.heads % options.kv_heads:
        sys.exit("make_checkpoint: --heads must divide --dim, --kv-heads must divide --heads")
    ends = (1 if options.tied else 2) * options.vocab * options.dim + options.dim
    kv = options.dim // options.heads * options.kv_heads
    each = layer_parameters(options.dim, options.ff, kv)
    options.layers = options.layers or max(1, round((wanted - ends) / each))


def list_tensors(o):
    kv = o.dim // o.heads * o.kv_heads
    tensors = [("model.embed_tokens.weight", "token_embd.weight", (o.vocab, o.dim))]
    for layer in range(o.layers):
        hf, gguf = f"model.layers.{layer}.", f"blk.{layer}."
        tensors += [
            (hf + "input_layernorm.weight", gguf + "attn_norm.weight", (o.dim,)),
            (hf + "self_attn.q_proj.weight", gguf + "attn_q.weight", (o.dim, o.dim)),
            (hf + "self_attn.k_proj.weight", gguf + "attn_k.weight", (kv, o.dim)),
            (hf + "self_attn.v_proj.weight", gguf + "attn_v.weight", (kv, o.dim)),
            (hf + "self_attn.o_proj.weight", gguf + "attn_output.weight", (o.dim, o.dim)),
            (hf + "post_attention_layernorm.weight", gguf + "ffn_norm.weight", (o.dim,)),
            (hf + "mlp.gate_proj.weight", gguf + "ffn_gate.weight", (o.ff, o.dim)),
            (hf + "mlp.up_proj.weight", gguf + "ffn_up.weight", (o.ff, o.dim)),
            (hf + "mlp.down_proj.weight", gguf + "ffn_down.weight", (o.dim, o.ff)),
        ]
    tensors.append(("model.norm.weight", "output_norm.weight", (o.dim,)))
    if not o.tied:
        tensors.append(("lm_head.weight", "output.weight", (o.vocab, o.dim)))
    return tensors


def split_evenly(tensors, sizes, count):
    """Tensors in order into `count` non-empty groups of about equal bytes."""
    if count > len(tensors):
        sys.exit(f"make_checkpoint: {count} shards, but only {len(tensors)} tensors")
    groups, total, done = [[]], sum(sizes), 0
    for number, (tensor, size) in enumerate(zip(tensors, sizes)):
        left = len(tensors) - number
        is_full = done >= total * len(groups) / count or left <= count - len(groups)
        if groups[-1] and len(groups) < count and is_full:
            groups.append([])
        groups[-1].append(tensor)
        done += size
    return groups


# ---- values ----


def to_bf16(values):
    bits = values.view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def to_stored(values, dtype):
    """f32 -> unsigned integers that hold the bits of dtype."""
    if dtype == "f32":
        return values.view(numpy.uint32)
    if dtype == "f16":
        return values.astype(numpy.float16).view(numpy.uint16)
    return to_bf16(values)


class Values:
    def __init__(self, seed, dtype):
        self.random = numpy.random.default_rng(seed)
        pool = self.random.standard_normal(POOL, dtype=numpy.float32) * numpy.float32(0.02)
        outliers = self.random.integers(0, POOL, POOL // 1000)
        pool[outliers] *= self.random.uniform(5, 20, len(outliers)).astype(numpy.float32)
        self.pool = to_stored(pool, dtype)
        self.sign = self.pool.dtype.type(1 << (8 * self.pool.itemsize - 1))

    def write_matrix(self, file, rows, cols):
        step = max(1, min(rows, CHUNK // cols))
        for row in range(0, rows, step):
            count = min(step, rows - row)
            signs = self.random.integers(0, 2, (count, 1)).astype(self.pool.dtype) * self.sign
            if cols <= POOL - CHUNK:
                start = self.random.integers(0, POOL - count * cols + 1)
                span = self.pool[start : start + count * cols]
            else:
                span = self.pool[self.random.integers(0, POOL, count * cols)]
            file.write((span.reshape(count, cols) ^ signs).tobytes())

    def norm(self, count, dtype):
        values = 1 + 0.1 * self.random.standard_normal(count, dtype=numpy.float32)
        return to_stored(values, dtype).tobytes()


def write_tensors(file, tensors, values, norm_dtype):
    """tensors: (offset in the file, shape); the gaps between them stay holes."""
    for offset, shape in tensors:
        file.seek(offset)
        if len(shape) == 1:
            file.write(values.norm(shape[0], norm_dtype))
        else:
            values.write_matrix(file, *shape)


# ---- safetensors ----


def write_safetensors(path, tensors, options, values):
    names = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
    header, place, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, _, shape in sorted(tensors):
        end = offset + math.prod(shape) * BYTES[options.dtype]
        header[name] = {"dtype": names[options.dtype], "shape": list(shape), "data_offsets": [offset, end]}
        place.append((offset, shape))
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        base = file.tell()
        if not options.sparse:
            write_tensors(file, [(base + at, shape) for at, shape in place], values, options.dtype)
        file.truncate(base + offset)
    return offset


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def write_folder(options, tensors, values):
    os.makedirs(options.out, exist_ok=True)
    names = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": options.dim,
        "initializer_range": 0.02,
        "intermediate_size": options.ff,
        "max_position_embeddings": 2048,
        "model_type": "llama",
        "num_attention_heads": options.heads,
        "num_hidden_layers": options.layers,
        "num_key_value_heads": options.kv_heads,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": options.tied,
        "torch_dtype": names[options.dtype],
        "vocab_size": options.vocab,
    }
    write_json(os.path.join(options.out, "config.json"), config)
    if options.shards == 1:
        return write_safetensors(os.path.join(options.out, "model.safetensors"), tensors, options, values)
    sizes = [math.prod(shape) * BYTES[options.dtype] for _, _, shape in tensors]
    total, where = 0, {}
    for number, group in enumerate(split_evenly(tensors, sizes, options.shards), 1):
        name = f"model-{number:05}-of-{options.shards:05}.safetensors"
        total += write_safetensors(os.path.join(options.out, name), group, options, values)
        where.update({tensor[0]: name for tensor in group})
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    write_json(os.path.join(options.out, "model.safetensors.index.json"), index)
    return total


# ---- GGUF ----


def gguf_string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_pair(key, kind, value):
    codes = {"u16": (2, "<H"), "u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f")}
    if kind == "string":
        return gguf_string(key) + struct.pack("<I", 8) + gguf_string(value)
    code, form = codes[kind]
    return gguf_string(key) + struct.pack("<I", code) + struct.pack(form, value)


def gguf_metadata(options):
    file_types = {"f32": 0, "f16": 1, "bf16": 32}
    return [
        ("general.architecture", "string", "llama"),
        ("general.type", "string", "model"),
        ("general.name", "string", f"synthetic {options.dim} x {options.layers}"),
        ("general.file_type", "u32", file_types[options.dtype]),
        ("general.quantization_version", "u32", 2),
        ("llama.block_count", "u32", options.layers),
        ("llama.context_length", "u32", 2048),
        ("llama.embedding_length", "u32", options.dim),
        ("llama.feed_forward_length", "u32", options.ff),
        ("llama.attention.head_count", "u32", options.heads),
        ("llama.attention.head_count_kv", "u32", options.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
        ("llama.rope.dimension_count", "u32", options.dim // options.heads),
        ("llama.rope.freq_base", "f32", 10000.0),
        ("llama.vocab_size", "u32", options.vocab),
        ("tokenizer.ggml.model", "string", "none"),
    ]


def gguf_bytes(shape, dtype):
    return math.prod(shape) * (4 if len(shape) == 1 else BYTES[dtype])


def write_gguf_file(path, tensors, pairs, options, values):
    codes = {"f32": 0, "f16": 1, "bf16": 30}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(gguf_pair(*pair) for pair in pairs)
    place, offset = [], 0
    for _, name, shape in tensors:
        code = 0 if len(shape) == 1 else codes[options.dtype]
        head += gguf_string(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", extent) for extent in reversed(shape))
        head += struct.pack("<IQ", code, offset)
        place.append((offset, shape))
        offset += gguf_bytes(shape, options.dtype)
        offset += -offset % ALIGNMENT
    head += b"\0" * (-len(head) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(head)
        if not options.sparse:
            write_tensors(file, [(len(head) + at, shape) for at, shape in place], values, "f32")
        file.truncate(len(head) + offset)
    return offset


def write_gguf(options, tensors, values):
    pairs = gguf_metadata(options)
    if options.shards == 1:
        return write_gguf_file(options.out, tensors, pairs, options, values)
    sizes = [gguf_bytes(shape, options.dtype) for _, _, shape in tensors]
    stem, total = options.out.removesuffix(".gguf"), 0
    for number, group in enumerate(split_evenly(tensors, sizes, options.shards)):
        split = [
            ("split.no", "u16", number),
            ("split.count", "u16", options.shards),
            ("split.tensors.count", "i32", len(tensors)),
        ]
        path = f"{stem}-{number + 1:05}-of-{options.shards:05}.gguf"
        total += write_gguf_file(path, group, (pairs if number == 0 else []) + split, options, values)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=["safetensors", "gguf"], required=True)
    parser.add_argument("--dtype", choices=list(BYTES), default="f16")
    parser.add_argument("--size", type=parse_size, default="16MiB", help="about this many bytes of weights (16MiB)")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sparse", action="store_true", help="headers only, the weights are a hole")
    parser.add_argument("--tied", action="store_true", help="no output matrix of its own")
    for name in ["dim", "ff", "vocab", "heads", "kv-heads", "layers"]:
        parser.add_argument("--" + name, type=int, default=0)
    parser.add_argument("out", metavar="OUT", help="a .safetensors or .gguf file, or a folder")
    options = parser.parse_args()
    if options.shards < 1:
        parser.error("--shards is at least 1")
    choose_model(options)
    tensors = list_tensors(options)
    values = None if options.sparse else Values(options.seed, options.dtype)
    if options.format == "gguf":
        total = write_gguf(options, tensors, values)
    elif options.out.endswith(".safetensors"):
        if options.shards != 1:
            parser.error("shards need a folder, not a .safetensors file")
        total = write_safetensors(options.out, tensors, options, values)
    else:
        total = write_folder(options, tensors, values)
    print(
        f"{options.out}: {len(tensors)} tensors, {total} bytes of weights, dim {options.dim}, ff {options.ff}, "
        f"{options.layers} layers, vocab {options.vocab}"
    )


if __name__ == "__main__":
    main()
