#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--memory holds for what kernels take while they run: sorting, LAPACK, copies that BLAS needs.

For each of these on a whole matrix: a limit that is too small is refused before anything is written and names the
smallest; under that one the run succeeds, with no more resident; 3 MiB less is refused."""

import array
import os
import random
import re
import subprocess
import tempfile

from testing import CMPC, check, finish, write_safetensors

SIDE, MIB = 1024, 1 << 20
NAME = "model.layers.0.self_attn.q_proj.weight"
PROGRAM = """
pass ranked on w[o, i] {
  r[o, i] = rank[o, i](w[o, i])
  w[o, i] := r[o, i] * 1.0
}
pass above_quantile on w[o, i] {
  t = quantile[o, i](abs(w[o, i]), 30%)
  w[o, i] := if abs(w[o, i]) < t then 0 else w[o, i]
}
pass orthogonal on w[o, i] {
  (q, r) = qr(w)
  w[o, i] := q[o, i]
}
pass whitened on w[o, i] {
  H[i, j] = sum[o](w[o, i] * w[o, j]) + (if i == j then 1 else 0)
  U       = cholesky(inverse(H), upper)
  w[o, i] := w[o, i] / U[i, i]
}
model m from "m.safetensors"
"""
PASSES = {"rank": "ranked", "quantile": "above_quantile", "qr": "orthogonal", "cholesky": "whitened",
          "svd": "lowrank.svd(rank: 100)"}


def run(*args):
    """Status, what was said, and the most that was resident."""
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, said, usage.ru_maxrss * 1024


def hold(name, threads):
    exe, output = "./" + name, name + ".safetensors"
    options = ["--no-sync", "--force", "--threads", str(threads), "--memory"]
    if os.path.exists(output):
        os.remove(output)
    status, said, _ = run(exe, *options, "1MiB")
    named = re.search(r"(\d+)MiB", said.split("smallest", 1)[-1])
    check(status == 1 and named and not os.path.exists(output), f"{name}: a limit that is too small: {said}")
    limit = int(named.group(1))
    status, said, _ = run(exe, *options, f"{limit - 3}MiB")
    check(status == 1 and not os.path.exists(output), f"{name}: {limit - 3} MiB were not refused: {said}")
    status, said, resident = run(exe, *options, f"{limit}MiB")
    check(status == 0 and os.path.exists(output), f"{name}: {limit} MiB: {said}")
    check(resident <= limit * MIB, f"{name}, {threads} threads: {resident} bytes resident of {limit} MiB")


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    rng = random.Random(1)
    values = array.array("f", (rng.gauss(0, 1) for _ in range(SIDE * SIDE)))
    write_safetensors("m.safetensors", {NAME: ("F32", (SIDE, SIDE), values.tobytes())})
    with open("heap.cmp", "w") as file:
        file.write(PROGRAM)
        for name, call in PASSES.items():
            file.write(f'pipeline {name} of m {{ {call} on all  save "{name}.safetensors" }}\n')
    for name in PASSES:
        status, said, _ = run(CMPC, "build", "heap.cmp", "-p", name, "-o", name)
        check(status == 0, said)
        if status == 0:
            hold(name, 1)
            hold(name, 3)
finish("heap")
