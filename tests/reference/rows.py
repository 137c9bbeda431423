#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Reads the rows of bytes that tests/plan/rows.cmp saves, from their description alone: fields of a row
first, then block after block, each field from a byte on, low bits first. Prints how far each is off.

  rows.py MODEL_FOLDER RESULT.safetensors
"""
import json
import sys

import numpy as np


def tensors(path):
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    body = memoryview(data)[8 + size:]
    meta = header.pop("__metadata__", {})
    return meta, {n: (t["shape"], bytes(body[slice(*t["data_offsets"])])) for n, t in header.items()}


def codes(data, bits):
    """Elements of a field from its bytes [.., n]"""
    flat = np.unpackbits(data, axis=-1, bitorder="little")
    count = flat.shape[-1] // bits
    parts = flat[..., :count * bits].reshape(*flat.shape[:-1], count, bits)
    return (parts.astype(np.int64) << np.arange(bits)).sum(-1)


def real(data, kind):
    return np.ascontiguousarray(data).view(kind).astype(np.float64)


def q8_0(rows):
    blocks = rows.reshape(len(rows), -1, 34)
    return real(blocks[..., :2], "<f2") * blocks[..., 2:].view(np.int8)


def nf4(rows, table):
    blocks = rows.reshape(len(rows), -1, 36)
    return real(blocks[..., :4], "<f4") * table[codes(blocks[..., 4:], 4)]


def tens(rows):
    top = real(rows[:, :4], "<f4")[..., None]
    blocks = rows[:, 4:].reshape(len(rows), -1, 7)
    return (codes(blocks[..., 1:], 3) - 4) * codes(blocks[..., :1], 4)[..., :1] * top / 45


def main():
    _, before = tensors(sys.argv[1] + "/model.safetensors")
    meta, after = tensors(sys.argv[2])
    text = meta["cmpc.dtype.nf4"]
    table = np.array([float(x) for x in text[text.index("[-1"):].split("]")[0].strip("[").split(",")])
    for letter, read in ("q", q8_0), ("k", lambda rows: nf4(rows, table)), ("v", tens):
        name = f"model.layers.0.self_attn.{letter}_proj.weight"
        shape, data = before[name]
        x = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape).astype(np.float64)
        size, rows = after[name]
        y = read(np.frombuffer(rows, np.uint8).reshape(size)).reshape(shape)
        error = np.sqrt(((x - y) ** 2).sum() / (x ** 2).sum())
        print(meta["cmpc.tensor." + name], "%.3f" % error)


main()
