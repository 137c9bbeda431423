#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench-gptq: GPTQ, 4 bits in unsymmetric groups of 128, and SparseGPT, one half, beside the usual script for
PyTorch (gptq_torch.py).

    gptq.py [ROWS COLUMNS]...

Both are given the Hessian of 2048 rows. Ours is timed as a process, reading and writing in it, the script's method
alone, with the BLAS that it finds and with that of the folder $SCRIPT_BLAS, if it is set: PyTorch's threads are
OpenMP's, and how well they get on with those of its BLAS is part of its time. Memory is the most that was resident in
either process. The errors of the output that both print must agree to 2 %: the exit status says so.
"""

import multiprocessing
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
SHAPES = [4096, 4096, 4096, 11008]
FACTOR = """
  A[i, j]  = H[i, j] + (if i == j then damp * mean[l](H[l, l]) else 0)
  U        = cholesky(inverse(A), upper)
"""
PROGRAM = """
model m from "m.safetensors"
pipeline p of m {
  %s on all
  save "q.safetensors"
}
"""
GPTQ = """
pass gptq_of(dtype: dtype, H[i, j]: tensor, damp: fraction = 1%%, lazy: int = 128) on w[o, i] {
  %s
  n        = dtype.block
  F[o, g < extent(i) // n] = fit(dtype, w[o, g*n .. g*n + n])
  for b in 0..extent(i) step lazy {
    e1 = min(b + lazy, extent(i))
    for j in b..e1 {
      when j %% n == 0 { F[o, g in j//n .. j//n + 1] := fit(dtype, w[o, j .. j + n]) }
      c[o, j]  = round(dtype, F[o, j // n], j %% n, w[o, j])
      v[o]     = value(dtype, F[o, j // n], j %% n, c[o, j])
      e[o, j]  = (w[o, j] - v[o]) / U[j, j]
      w[o, k in j + 1 .. e1] := w[o, k] - e[o, j] * U[j, k]
    }
    w[o, k in e1 .. extent(i)] := w[o, k] - sum[j in b .. e1](e[o, j] * U[j, k])
  }
  w := blocks(dtype, F, c)
}
""" % FACTOR + PROGRAM % 'gptq_of(dtype: int4_g128_asym, H: tensor("h.safetensors", "H"))'
SPARSEGPT = """
pass sparsegpt_of(H[i, j]: tensor, sparsity: fraction = 50%%, damp: fraction = 1%%, lazy: int = 128) on w[o, i] {
  %s
  drop[o, i] = false
  for b in 0..extent(i) step lazy {
    e1 = min(b + lazy, extent(i))
    drop[o, k in b .. e1] := rank[o, k](sq(w[o, k] / U[k, k])) < round(sparsity * (extent(o) * (e1 - b)))
    for j in b..e1 {
      v[o]     = if drop[o, j] then 0 else w[o, j]
      e[o, j]  = (w[o, j] - v[o]) / U[j, j]
      w[o, j] := v[o]
      w[o, k in j + 1 .. e1] := w[o, k] - e[o, j] * U[j, k]
    }
    w[o, k in e1 .. extent(i)] := w[o, k] - sum[j in b .. e1](e[o, j] * U[j, k])
  }
}
""" % FACTOR + PROGRAM % 'sparsegpt_of(H: tensor("h.safetensors", "H"))'


def write_matrices(rows, columns):
    rng = numpy.random.default_rng(1)
    w = rng.standard_normal((rows, columns), dtype=numpy.float32) * 0.02
    x = rng.standard_normal((2048, columns), dtype=numpy.float32)
    x *= numpy.exp(0.7 * rng.standard_normal(columns, dtype=numpy.float32))
    x += rng.standard_normal((2048, 64), dtype=numpy.float32) @ rng.standard_normal((64, columns), dtype=numpy.float32)
    for name, key, value in (("m", "w", w), ("h", "H", x.T @ x / 1024)):
        write_safetensors(name + ".safetensors", {key: ("F32", value.shape, value.tobytes())})


def apart(call, *arguments):
    """What it returns in a process of its own: what is resident here counts as resident in those that are run from here."""
    with multiprocessing.Pool(1) as pool:
        return pool.apply(call, arguments)


def run(command, **more):
    """What it prints, and its resources. SystemExit if it fails."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]}: exit status {process.returncode}")
    return said, usage


def time_own(threads):
    best = processor = float("inf")
    most = 0
    for _ in range(TIMES):
        began = time.perf_counter()
        _, usage = run(["./exe", "--threads", str(threads), "--force", "--quiet", "--no-sync"])
        best, processor = min(best, time.perf_counter() - began), min(processor, usage.ru_utime + usage.ru_stime)
        most = max(most, usage.ru_maxrss)
    return best, processor, most / 1024


def time_script(method, threads, blas):
    """Seconds, the output's error, the file of the BLAS that did it, and MiB."""
    script = [sys.executable, os.path.join(HERE, "gptq_torch.py"), method, "m.safetensors", "h.safetensors"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), **({"LD_LIBRARY_PATH": blas} if blas else {})}
    said, usage = run([*script, str(threads)], env=environment, stderr=subprocess.DEVNULL)
    seconds, error, library = re.match(r"([0-9.]+) s, output error ([0-9.]+), (.*)", said).groups()
    return float(seconds), float(error), library, usage.ru_maxrss / 1024


def written(columns):
    """What the result's weights are: as they are, or codes packed eight to a word with a scale and a zero point for each
    group."""
    parts = {n.split(".")[-1].split("_", 1)[-1]: v for n, v in read_safetensors("q.safetensors").items()}
    if "w" in parts:
        return numpy.frombuffer(parts["w"][2], numpy.float32).reshape(-1, columns)
    shifts = numpy.arange(0, 32, 4, dtype=numpy.uint32)
    packed = numpy.frombuffer(parts["packed"][2], numpy.uint32).reshape(-1, columns // 8)
    codes = ((packed[:, :, None] >> shifts) & 15).reshape(-1, columns).astype(numpy.float32)
    scale = numpy.frombuffer(parts["scale"][2], numpy.float32).reshape(len(codes), -1)
    zeros = numpy.frombuffer(parts["zero_point"][2], numpy.uint32).reshape(-1, scale.shape[1])
    zero = ((zeros[:, None, :] >> shifts[None, :, None]) & 15).reshape(scale.shape).astype(numpy.float32)
    return (codes - zero.repeat(128, 1)) * scale.repeat(128, 1)


def output_error():
    h = numpy.frombuffer(read_safetensors("h.safetensors")["H"][2], numpy.float32)
    side = int(len(h) ** 0.5)
    w = numpy.frombuffer(read_safetensors("m.safetensors")["w"][2], numpy.float32).reshape(-1, side)
    h, off = h.reshape(side, side), written(side) - w
    return float(numpy.sqrt(numpy.sum((off @ h) * off) / numpy.sum((w @ h) * w)))


def compare(method, shape):
    """Prints a line for each number of threads and BLAS; is the output's error the script's?"""
    is_same = True
    for threads in (1, 2):
        own, processor, memory = time_own(threads)
        error = apart(output_error)
        for blas in dict.fromkeys((None, os.environ.get("SCRIPT_BLAS"))):
            script, wanted, library, its = time_script(method, threads, blas)
            is_same &= abs(error / wanted - 1) < 0.02
            print(f"{method} {shape[0]} x {shape[1]}, {threads} threads: {own:.2f} s ({processor:.2f} s of processor time), "
                  f"script {script:.2f} s: {script / own:.1f}x; memory {memory:.0f} and {its:.0f} MiB; "
                  f"output error {error:.5f}, {wanted:.5f}; its BLAS {library}", flush=True)
    return is_same


def main():
    sizes = [int(n) for n in sys.argv[1:]] or SHAPES
    is_same = True
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for shape in zip(sizes[::2], sizes[1::2]):
            apart(write_matrices, *shape)
            for method, program in (("gptq", GPTQ), ("sparsegpt", SPARSEGPT)):
                with open("p.cmp", "w") as file:
                    file.write(program)
                subprocess.run([CMPC, "build", "p.cmp", "-o", "exe"], check=True, stdout=subprocess.DEVNULL)
                is_same &= compare(method, shape)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
