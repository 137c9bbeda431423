#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Columns updated a block at a time, as GPTQ does, beside NumPy: w[o, k] - sum[j](u[o, j] * a[j, k]) to the right of each
block, where BLAS takes the sum off from w in place (f32) and where no BLAS call fits (f64). Shapes that no block divides.

Columns that each rest on the one before, where rows go side by side, as many as a vector has lanes, and the rows that are
left over beside nothing: every operation is one of f32, so the bytes are NumPy's.
"""

import os
import re
import tempfile

import numpy as np

from testing import CMPC, call, check, finish, read_safetensors, write_safetensors, write_text

PROGRAM = """pass lazy(a[i, j]: tensor) on w[o, i] {
  v[o, i] = %(type)s(w[o, i])
  u[o, i] = 2 * v[o, i]
  for b in 0..extent(i) step 16 {
    e = min(b + 16, extent(i))
    v[o, k in e .. extent(i)] := v[o, k] - sum[j in b .. e](u[o, j] * %(type)s(a[j, k]))
  }
  w[o, i] := f32(v[o, i])
}
model m from "m.safetensors"
pipeline p of m {
  lazy(a: tensor("a.safetensors", "a")) on all
  save "out.safetensors"
}
"""

SERIAL = """pass serial(a[i, j]: tensor) on w[o, i] {
  for b in 0..extent(i) step 16 {
    e1 = min(b + 16, extent(i))
    for j in b..e1 {
      u[o, j] = w[o, j] - floor(4 * w[o, j]) / 4
      w[o, k in j + 1 .. e1] := w[o, k] - u[o, j] * a[j, k]
    }
    most = max[o](u[o, b])
    w[o, k in e1 .. extent(i)] := w[o, k] - most * a[b, k]
  }
  w[o, i] := u[o, i]
}
model m from "rows.safetensors"
pipeline p of m {
  serial(a: tensor("a.safetensors", "a")) on all
  save "out.safetensors"
}
"""


def expected(w, a):
    v = w.astype(np.float64)
    u = 2 * v
    for b in range(0, w.shape[1], 16):
        e = min(b + 16, w.shape[1])
        v[:, e:] -= u[:, b:e] @ a[b:e, e:]
    return v


def expected_serial(w, a):
    w, u = w.copy(), np.zeros_like(w)
    for j in range(w.shape[1]):
        u[:, j] = w[:, j] - np.floor(4 * w[:, j]) / 4
        begin, end = j // 16 * 16, min(j // 16 * 16 + 16, w.shape[1])
        w[:, j + 1 : end] -= u[:, j : j + 1] * a[j, j + 1 : end]
        if j + 1 == end:
            w[:, end:] -= u[:, begin].max() * a[begin, end:]
    return u


def check_serial(rng, a):
    rows = {f"w{n}": rng.standard_normal((n, len(a))).astype(np.float32) for n in (1, 3, 8, 9, 37)}
    write_safetensors("rows.safetensors", {name: ("F32", w.shape, w.tobytes()) for name, w in rows.items()})
    write_text("serial.cmp", SERIAL)
    check("lanes" in call(CMPC, "plan", "serial.cmp", "--emit=kernels"), "no rows side by side")
    for threads in ("1", "2", "7"):
        call(CMPC, "run", "serial.cmp", "--force", "--quiet", "--threads", threads)
        made = read_safetensors("out.safetensors")
        for name, w in rows.items():
            check(made[name][2] == expected_serial(w, a).tobytes(), f"{name}, {threads} threads: not NumPy's")


def main():
    rng = np.random.default_rng(1)
    w, a = (rng.standard_normal(shape).astype(np.float32) for shape in ((37, 53), (53, 53)))
    for name, key, value in (("m", "w", w), ("a", "a", a)):
        write_safetensors(name + ".safetensors", {key: ("F32", value.shape, value.tobytes())})
    wanted = expected(w, a)
    for kind in ("f32", "f64"):
        write_text("lazy.cmp", PROGRAM % {"type": kind})
        plan = call(CMPC, "plan", "lazy.cmp", "--emit=kernels")
        check(re.search(r"reduce (\w+)\[.* = \1\[.* - sum\[", plan), f"{kind}: the sum has memory of its own")
        for threads in ("1", "2"):
            call(CMPC, "run", "lazy.cmp", "--force", "--quiet", "--threads", threads)
            made = np.frombuffer(read_safetensors("out.safetensors")["w"][2], np.float32).reshape(w.shape)
            error = np.abs(made - wanted).max() / np.abs(wanted).max()
            check(error < 1e-6, f"{kind}: off by {error} of the largest")
    check_serial(rng, a)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main()
    finish("lazy")
