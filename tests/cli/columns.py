#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Passes whose equations go down the columns, so that the one loop of the kernel is over columns and not over rows: for
matrices that are wide, tall, and of several panels, with any threads, fused and not, as NumPy has it."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

CMPC = os.environ["CMPC"]
SHAPES = {"wide": (24, 1200), "tall": (1200, 24), "panels": (5000, 300)}
PROGRAM = """
pass centred() on w[o, i] {
  m[i] = mean[o](w[o, i])
  w[o, i] := w[o, i] - m[i]
}
pass scaled() on w[o, i] {
  s[i] = max[o](abs(w[o, i]))
  w[o, i] := w[o, i] / s[i]
}
model m from "m.safetensors"
pipeline p of m {
  centred() on all
  then scaled() on all
  save "out.safetensors"
}
"""


def write_model(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(data), len(data) + tensor.nbytes]}
        data += tensor.tobytes()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def read_model(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[slice(*row["data_offsets"])], "<f4").reshape(row["shape"]) for name, row in header.items()}


def expected(w):
    w = w.astype(np.float64)
    w = w - w.mean(0)
    return w / abs(w).max(0)


def main():
    values, are_good = np.random.default_rng(3), True
    tensors = {name: values.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_model("m.safetensors", tensors)
        with open("t.cmp", "w") as file:
            file.write(PROGRAM)
        subprocess.run([CMPC, "build", "t.cmp", "-o", "./t"], check=True)
        results = set()
        for options in ((), ("--threads", "1"), ("--threads", "3"), ("--no-fuse",)):
            subprocess.run(["./t", "--no-sync", "--quiet", *options], check=True)
            found = read_model("out.safetensors")
            results.add(b"".join(found[name].tobytes() for name in SHAPES))
            for name, w in tensors.items():
                most = abs(expected(w) - found[name]).max()
                if most > 1e-5:
                    print(f"{name} {' '.join(options)}: off by {most:g}")
                    are_good = False
        os.chdir("/")
    if len(results) != 1:
        print("the bytes depend on the options")
    return not (are_good and len(results) == 1)


sys.exit(main())
