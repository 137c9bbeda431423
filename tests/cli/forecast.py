#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--dry-run of kernels that want a whole tensor (products, factorizations, a loop over columns with rows in it) and of one
that works by rows: all of them are timed, what it says adds up, of bytes to what the run writes, and it leaves nothing
behind. How near the time is that it tells, no test can say on a machine that others use."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

CMPC = os.environ["CMPC"]
SIDE, TENSORS = 768, 3
PROGRAM = """
pass whitened() on w[o, i] {
  (q, r)   = qr(w)
  w[o, i] := q[o, i]
}
pass ranked() on w[o, i] {
  w[o, i] := rank[o, i](abs(w[o, i]))
}
fn factor(w[t, i]) -> U {
  H[i, j] = 2 * mean[t](w[t, i] * w[t, j])
  A[i, j] = H[i, j] + (if i == j then mean[l](H[l, l]) / 100 else 0)
  U       = cholesky(inverse(A), upper)
}
pass fed_forward() on w[o, i] {
  U = factor(w)
  for b in 0..extent(i) step 128 {
    e1 = min(b + 128, extent(i))
    for j in b..e1 {
      c[o, j] = round(w[o, j] * 64) / 64
      e[o, j] = (w[o, j] - c[o, j]) / U[j, j]
      w[o, k in j + 1 .. e1] := w[o, k] - e[o, j] * U[j, k]
    }
    w[o, k in e1 .. extent(i)] := w[o, k] - sum[j in b .. e1](e[o, j] * U[j, k])
  }
  w[o, i] := c[o, i]
}
model m from "m.safetensors"
pipeline svd of m { lowrank.svd(rank: 64) on all  save "svd.safetensors" }
pipeline qr of m { whitened() on all  save "qr.safetensors" }
pipeline rank of m { ranked() on all  save "rank.safetensors" }
pipeline forward of m { fed_forward() on all  save "forward.safetensors" }
pipeline rows of m { quantize.rtn(q2_K) on all  save "rows.gguf" }
"""


def write_model(path):
    values = np.random.default_rng(7)
    header, data = {}, b""
    for i in range(TENSORS):
        tensor = values.standard_normal((SIDE, SIDE), dtype=np.float32).tobytes()
        name = f"model.layers.{i}.self_attn.q_proj.weight"
        header[name] = {"dtype": "F32", "shape": [SIDE, SIDE], "data_offsets": [len(data), len(data) + len(tensor)]}
        data += tensor
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def check_pipeline(name):
    subprocess.run([CMPC, "build", "t.cmp", "-p", name, "-o", "./t"], check=True)
    before = sorted(os.listdir("."))
    plan = json.loads(subprocess.run(["./t", "--dry-run", "--json"], check=True, stdout=subprocess.PIPE).stdout)
    found = []
    if sorted(os.listdir(".")) != before:
        found.append("the dry run left something behind")
    if plan["untimed_kernels"]:
        found.append(f"{plan['untimed_kernels']} kernels were not timed")
    subprocess.run(["./t", "--no-sync", "--quiet"], check=True)
    written = sum(os.path.getsize(output) for output in set(os.listdir(".")) - set(before))
    if plan["output_bytes"] != written:
        found.append(f"{plan['output_bytes']} bytes are to be written, {written} are")
    if not 0 < plan["kernel_seconds"] <= plan["seconds"]:
        found.append(f"kernels are said to take {plan['kernel_seconds']} s of {plan['seconds']} s")
    print(f"{name}: {'; '.join(found) or 'ok'}")
    return not found


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_model("m.safetensors")
        with open("t.cmp", "w") as file:
            file.write(PROGRAM)
        are_good = [check_pipeline(name) for name in ("svd", "qr", "rank", "forward", "rows")]
        os.chdir("/")
    return not all(are_good)


sys.exit(main())
