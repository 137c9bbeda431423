#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make_adapter.py OUT.safetensors [DTYPE]: a small low-rank adapter to try para.cmp on: pairs `NAME:down` [r, n] and
`NAME:up` [m, r] of several shapes, f16 or f32, whose directions matter more in some pairs than in others, and r of each
in the file's metadata, as its readers want it."""

import json
import struct
import sys

import numpy

random = numpy.random.default_rng(5)
dtype = {"f16": ("F16", numpy.float16), "f32": ("F32", numpy.float32)}[sys.argv[2] if len(sys.argv) > 2 else "f16"]
shapes = [(4, 96, 64), (4, 64, 64), (4, 64, 96), (2, 64, 48), (4, 128, 64), (4, 96, 64), (1, 64, 64), (8, 96, 160)]
tensors = {}
for number, (r, n, m) in enumerate(shapes):
    falls = numpy.exp(-numpy.arange(r) * random.uniform(0.3, 1.5)) * random.uniform(0.2, 3)
    tensors[f"unet:{number}:down"] = random.standard_normal((r, n)) * falls[:, None]
    tensors[f"unet:{number}:up"] = random.standard_normal((m, r)) / 8
head, data = {"__metadata__": {f"unet:{number}:rank": str(shape[0]) for number, shape in enumerate(shapes)}}, b""
for name, values in tensors.items():
    raw = values.astype(dtype[1]).tobytes()
    head[name] = {"dtype": dtype[0], "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(head).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
