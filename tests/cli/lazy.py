#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Columns updated a block at a time, as GPTQ does, beside NumPy: w[o, k] - sum[j](u[o, j] * a[j, k]) to the right of each
block, where BLAS takes the sum off from w in place (f32) and where no BLAS call fits (f64). Shapes that no block divides.
"""

import os
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


def expected(w, a):
    v = w.astype(np.float64)
    u = 2 * v
    for b in range(0, w.shape[1], 16):
        e = min(b + 16, w.shape[1])
        v[:, e:] -= u[:, b:e] @ a[b:e, e:]
    return v


def main():
    rng = np.random.default_rng(1)
    w, a = (rng.standard_normal(shape).astype(np.float32) for shape in ((37, 53), (53, 53)))
    for name, key, value in (("m", "w", w), ("a", "a", a)):
        write_safetensors(name + ".safetensors", {key: ("F32", value.shape, value.tobytes())})
    wanted = expected(w, a)
    for kind in ("f32", "f64"):
        write_text("lazy.cmp", PROGRAM % {"type": kind})
        plan = call(CMPC, "plan", "lazy.cmp", "--emit=kernels")
        check("reduce v" in plan and " - sum[" in plan, f"{kind}: the sum has memory of its own")
        for threads in ("1", "2"):
            call(CMPC, "run", "lazy.cmp", "--force", "--quiet", "--threads", threads)
            made = np.frombuffer(read_safetensors("out.safetensors")["w"][2], np.float32).reshape(w.shape)
            error = np.abs(made - wanted).max() / np.abs(wanted).max()
            check(error < 1e-6, f"{kind}: off by {error} of the largest")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main()
    finish("lazy")
