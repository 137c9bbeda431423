#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""lowrank_reference.py BEFORE.safetensors AFTER.safetensors ENERGY: for every matrix of BEFORE that AFTER has as two factors,
NAME.left and NAME.right: are there as many directions as NumPy's f64 svd says hold ENERGY of the sum of squares, and is the
product the best one of that rank, up to rounding of the factors?"""

import json
import struct
import sys

import numpy


def read(path):
    with open(path, "rb") as file:
        head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    head.pop("__metadata__", None)
    bits = {n: numpy.frombuffer(data[slice(*t["data_offsets"])], "<u2").astype(numpy.uint32) << 16 for n, t in head.items()}
    return {n: b.view(numpy.float32).reshape(head[n]["shape"]).astype(float) for n, b in bits.items()}


before, after, energy = read(sys.argv[1]), read(sys.argv[2]), float(sys.argv[3])
ranks, worst = [], 0.0
for name, w in before.items():
    left = after.get(name.replace(".weight", ".left.weight"))
    if left is None:
        assert (after[name] == w).all()
        continue
    right = after[name.replace(".weight", ".right.weight")]
    u, s, v = numpy.linalg.svd(w, full_matrices=False)
    rank = int((numpy.cumsum(s**2) - s**2 < energy * (s**2).sum()).sum())
    ranks.append((left.shape[1], right.shape[0], rank))
    worst = max(worst, numpy.linalg.norm(left @ right - (u[:, :rank] * s[:rank]) @ v[:rank]) / numpy.linalg.norm(w))
print("ranks agree:", all(a == b == c for a, b, c in ranks), [a for a, _, _ in ranks])
print("products within rounding to bf16:", worst < 2**-8)
