#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench-gptq: GPTQ, 4 bits in unsymmetric groups of 128, beside the usual script for PyTorch (gptq_torch.py).

    gptq.py [ROWS COLUMNS]

Both are given the Hessian of 2048 rows. Ours is timed as a process, reading and writing in it, the script's method
alone. The errors of the output that both print must agree to 2 %: the exit status says so.
"""

import os
import re
import subprocess
import sys
import tempfile
import time

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from testing import CMPC, read_safetensors, write_safetensors  # noqa: E402

TIMES = 3
PROGRAM = """
pass gptq_of(dtype: dtype, H[i, j]: tensor, damp: fraction = 1%, lazy: int = 128) on w[o, i] {
  A[i, j]  = H[i, j] + (if i == j then damp * mean[l](H[l, l]) else 0)
  U        = cholesky(inverse(A), upper)
  n        = dtype.block
  F[o, g < extent(i) // n] = fit(dtype, w[o, g*n .. g*n + n])
  for b in 0..extent(i) step lazy {
    e1 = min(b + lazy, extent(i))
    for j in b..e1 {
      when j % n == 0 { F[o, g in j//n .. j//n + 1] := fit(dtype, w[o, j .. j + n]) }
      c[o, j]  = round(dtype, F[o, j // n], j % n, w[o, j])
      v[o]     = value(dtype, F[o, j // n], j % n, c[o, j])
      e[o, j]  = (w[o, j] - v[o]) / U[j, j]
      w[o, k in j + 1 .. e1] := w[o, k] - e[o, j] * U[j, k]
    }
    w[o, k in e1 .. extent(i)] := w[o, k] - sum[j in b .. e1](e[o, j] * U[j, k])
  }
  w := blocks(dtype, F, c)
}
model m from "m.safetensors"
pipeline p of m {
  gptq_of(dtype: int4_g128_asym, H: tensor("h.safetensors", "H")) on all
  save "q.safetensors"
}
"""


def write_matrices(rows, columns):
    rng = numpy.random.default_rng(1)
    w = rng.standard_normal((rows, columns), dtype=numpy.float32) * 0.02
    x = rng.standard_normal((2048, columns), dtype=numpy.float32)
    x *= numpy.exp(0.7 * rng.standard_normal(columns, dtype=numpy.float32))
    x += rng.standard_normal((2048, 64), dtype=numpy.float32) @ rng.standard_normal((64, columns), dtype=numpy.float32)
    for name, key, value in (("m", "w", w), ("h", "H", x.T @ x / 1024)):
        write_safetensors(name + ".safetensors", {key: ("F32", value.shape, value.tobytes())})


def time_own(threads):
    best = processor = float("inf")
    for _ in range(TIMES):
        began, before = time.perf_counter(), os.times()
        subprocess.run(["./exe", "--threads", str(threads), "--force", "--quiet", "--no-sync"], check=True)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        best, processor = min(best, time.perf_counter() - began), min(processor, used)
    return best, processor


def time_script(threads):
    script = [sys.executable, os.path.join(HERE, "gptq_torch.py"), "gptq", "m.safetensors", "h.safetensors"]
    said = subprocess.run([*script, str(threads)], check=True, capture_output=True, text=True).stdout
    return [float(n) for n in re.match(r"([0-9.]+) s, ([0-9.]+) s of CPU, output error ([0-9.]+)", said).groups()]


def output_error():
    """Of the codes that were written, packed eight to a word, with a scale and a zero point for each group."""
    w = numpy.frombuffer(read_safetensors("m.safetensors")["w"][2], numpy.float32)
    parts = {n.split(".")[-1].split("_", 1)[-1]: v for n, v in read_safetensors("q.safetensors").items()}
    h = numpy.frombuffer(read_safetensors("h.safetensors")["H"][2], numpy.float32)
    side = int(len(h) ** 0.5)
    w, h = w.reshape(-1, side), h.reshape(side, side)
    shifts = numpy.arange(0, 32, 4, dtype=numpy.uint32)
    packed = numpy.frombuffer(parts["packed"][2], numpy.uint32).reshape(len(w), -1)
    codes = ((packed[:, :, None] >> shifts) & 15).reshape(w.shape).astype(numpy.float32)
    scale = numpy.frombuffer(parts["scale"][2], numpy.float32).reshape(len(w), -1)
    zeros = numpy.frombuffer(parts["zero_point"][2], numpy.uint32).reshape(-1, scale.shape[1])
    zero = ((zeros[:, None, :] >> shifts[None, :, None]) & 15).reshape(scale.shape).astype(numpy.float32)
    off = (codes - zero.repeat(128, 1)) * scale.repeat(128, 1) - w
    return float(numpy.sqrt(numpy.sum((off @ h) * off) / numpy.sum((w @ h) * w)))


def main():
    shape = [int(n) for n in sys.argv[1:3]] or [4096, 4096]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_matrices(*shape)
        with open("gptq.cmp", "w") as file:
            file.write(PROGRAM)
        subprocess.run([CMPC, "build", "gptq.cmp", "-o", "exe"], check=True, stdout=subprocess.DEVNULL)
        is_same = True
        for threads in (1, 2):
            own, own_processor = time_own(threads)
            script, processor, wanted = time_script(threads)
            error = output_error()
            is_same &= abs(error / wanted - 1) < 0.02
            print(f"{shape[0]} x {shape[1]}, {threads} threads: {own:.2f} s, script {script:.2f} s: {script / own:.1f}x; "
                  f"of processor time {own_processor:.2f} s, {processor:.2f} s: {processor / own_processor:.1f}x; "
                  f"output error {error:.5f}, {wanted:.5f}", flush=True)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
