# SPDX-License-Identifier: MIT
"""Checkpoints of one matrix and one vector with something in them that is no number: nonfinite.py FOLDER makes
FOLDER/WHAT-DTYPE.safetensors; nonfinite.py --read FILE prints the first values of the matrix."""
import json
import struct
import sys

BITS = {  # 1.0, NaN, infinity, minus infinity
    "F32": ("<I", 0x3F800000, 0x7FC00000, 0x7F800000, 0xFF800000),
    "F16": ("<H", 0x3C00, 0x7E01, 0x7C00, 0xFC00),
    "BF16": ("<H", 0x3F80, 0x7FC0, 0x7F80, 0xFF80),
    "F64": ("<Q", 0x3FF0 << 48, 0x7FF8 << 48, 0x7FF0 << 48, 0xFFF0 << 48),
    "F8_E4M3": ("<B", 0x38, 0x7F, None, None),
    "F8_E5M2": ("<B", 0x3C, 0x7E, 0x7C, 0xFC),
}
KINDS = ("nan", "inf", "minus-inf")
ROWS, COLS, WHERE = 4, 64, 2 * 64 + 5


def write(path, dtype, code, one, bad):
    size = struct.calcsize(code)
    matrix = [struct.pack(code, one)] * (ROWS * COLS)
    matrix[WHERE] = struct.pack(code, bad)
    vector = [struct.pack(code, one)] * 3 + [struct.pack(code, bad)]  # copied: it may hold anything
    tensors, at = {}, 0
    for name, shape in (("model.layers.0.mlp.up_proj.weight", [ROWS, COLS]), ("model.norm.weight", [4])):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        tensors[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + count * size]}
        at += count * size
    head = json.dumps(tensors).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head + b"".join(matrix + vector))


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))["model.layers.0.mlp.up_proj.weight"]
        file.seek(entry["data_offsets"][0], 1)
        values = struct.unpack("<%df" % (ROWS * COLS), file.read(4 * ROWS * COLS))
    print(*values[WHERE - 1 : WHERE + 2], "of", sorted({v for i, v in enumerate(values) if i != WHERE}))


if sys.argv[1] == "--read":
    read(sys.argv[2])
else:
    for dtype, (code, one, *bits) in BITS.items():
        for kind, bad in zip(KINDS, bits):
            if bad is not None:
                write("%s/%s-%s.safetensors" % (sys.argv[1], kind, dtype), dtype, code, one, bad)
