#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GPTQ and SparseGPT where the inputs do not give a definite Hessian: a damping that is raised is said, for each tensor,
on the terminal and in the report; where none is enough weights are rounded, or cut, one by one; inputs that are always
zero, weights that are zero, and a NaN among the inputs. The network is one matrix behind a table that chooses its rows.
"""
import json
import os
import struct
import tempfile

from testing import CMPC, call, check, cmpc, finish, read_safetensors, write_safetensors, write_text

COLS, ROWS, TOKENS = 64, 16, 48

NET = """
net one for "one" {
  axis v = 48, d = 64
  ids[t]      = data "tokens"
  next[t]     = data "next"
  table[v, d] = weight "table.weight" as embedding
  w[o, d]     = weight "matrix.weight" as linear
  y[t, o]     = sum[d](table[ids[t], d] * w[o, d])
  loss[t]     = if next[t] < 0 then 0 else y[t, 0]
}
model m from "model"
data d from "tokens.i32" { window 48 }
"""


def numbers(count, seed):
    """Between -1 and 1."""
    state, out = seed, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append((state >> 40) / 2**23 - 1)
    return out


def write_model(table, weight):
    os.makedirs("model", exist_ok=True)
    write_text("model/config.json", '{"model_type": "one"}')
    tensors = {"table.weight": (TOKENS, table), "matrix.weight": (ROWS, weight)}
    write_safetensors(
        "model/model.safetensors",
        {n: ("F32", [rows, COLS], struct.pack(f"<{rows * COLS}f", *x)) for n, (rows, x) in tensors.items()},
    )


def run(name, statement):
    """What it prints, and the matrix as stored."""
    files = f'  report "{name}.json"\n  save "{name}.safetensors"\n'
    write_text("p.cmp", f"{NET}pipeline p of m {{\n  {statement} on linear\n{files}}}\n")
    said = call(CMPC, "run", "p.cmp", "--force")
    return said, read_safetensors(name + ".safetensors")["matrix.weight"][2]


def notes(name):
    with open(name + ".json", encoding="utf-8") as file:
        return {t["tensor"]: t["notes"] for t in json.load(file)["tensors"]}


def floats(data):
    return struct.unpack(f"<{len(data) // 4}f", data)


def check_raised(weight):
    """Rows that are all the same: one direction, which no factorization takes as it is."""
    write_model(numbers(COLS, 1) * TOKENS, weight)
    said, plain = run("plain", "quantize.gptq(dtype: q8_0, data: d)")
    check("damping" not in said and notes("plain")["matrix.weight"] == {}, "1% is enough", said)
    said, raised = run("raised", "quantize.gptq(dtype: q8_0, data: d, damp: 0%)")
    check("matrix.weight: damping 0.01\n" in said, "0% is raised to 1%", said)
    check(abs(notes("raised")["matrix.weight"]["damping"] - 0.01) < 1e-6, "the report has it", str(notes("raised")))
    check(plain == raised, "what 1% gives")
    said, _ = run("pruned", "prune.sparsegpt(data: d, damp: 0%)")
    check("matrix.weight: damping 0.01\n" in said, "SparseGPT says so too", said)


def check_hopeless(weight):
    """Squares beyond f32."""
    write_model([1e25 * x for x in numbers(COLS * TOKENS, 2)], weight)
    said, found = run("hopeless", "quantize.gptq(dtype: q8_0, data: d)")
    check("matrix.weight: damping inf\n" in said, "no damping is enough", said)
    check(notes("hopeless")["matrix.weight"] == {"damping": "inf"}, "the report has it", str(notes("hopeless")))
    check(found == run("rounded", "quantize.rtn(q8_0)")[1], "weights are rounded one by one")
    _, found = run("cut", "prune.sparsegpt(sparsity: 30%, data: d)")
    check(found == run("smallest", "prune.magnitude(30%, scope: tensor)")[1], "weights are cut one by one")


def check_zeros(weight):
    """Inputs that are always zero have weights zero, and weights that are zero stay so."""
    table = [0 if i % COLS in (3, 40) else x for i, x in enumerate(numbers(COLS * TOKENS, 3))]
    sparse = [0 if i % 5 == 0 else x for i, x in enumerate(weight)]
    write_model(table, sparse)
    for name, statement in (
        ("zeros", "quantize.gptq(dtype: bf16, data: d)"),
        ("ordered", "quantize.gptq(dtype: bf16, data: d, act_order: true)"),
    ):
        _, stored = run(name, statement)
        found = [bits & 0x7FFF == 0 for (bits,) in struct.iter_unpack("<H", stored)]
        is_zero = [i % 5 == 0 or i % COLS in (3, 40) for i in range(len(sparse))]
        check(found == is_zero, f"{name}: these weights are zero and no others")
    check(notes("zeros")["matrix.weight"] == {"dead inputs": 2}, "the report has their number", str(notes("zeros")))
    write_model([0] * (COLS * TOKENS), weight)
    said, stored = run("dark", "prune.sparsegpt(data: d)")
    check("matrix.weight: damping inf\n" in said, "inputs all zero", said)
    check(stored == run("smallest", "prune.magnitude(50%, scope: tensor)")[1], "inputs all zero: weights are cut one by one")
    check(run("coded", "quantize.gptq(dtype: q4_0, data: d)")[1] == run("plain", "quantize.rtn(q4_0)")[1], "or rounded")
    said, stored = run("blind", "prune.wanda(data: d)")
    check("matrix.weight: largest input 0\n" in said, "Wanda says so too", said)
    check(stored == run("smallest", "prune.magnitude(50%, scope: row)")[1], "inputs all zero: magnitudes decide")
    said, stored = run("unweighted", "quantize.rtn(q4_0, data: d)")
    check("matrix.weight: largest input 0\n" in said, "and q4_0 with data", said)
    scales = [stored[at] or stored[at + 1] for at in range(0, len(stored), 18)]
    check(all(scales), "inputs all zero: columns weigh alike")


def check_nan(weight):
    write_model([float("nan")] + numbers(COLS * TOKENS - 1, 4), weight)
    status, _, said = cmpc("run", "p.cmp", "--force")
    where = "element [0, 0] is NaN or infinite"
    check(status == 1 and where in said and said.count("\n") <= 2, "a NaN is an error that names it", said)


def check_rules():
    """Where `report` may stand."""
    text = "pass twice() on w[o, i] {\n  %s\n  w[o, i] := 2 * w[o, i]\n}\n"
    text += NET + "pipeline p of m {\n  twice() on linear\n  save \"p.safetensors\"\n}\n"
    for line, message in (
        ('for k in 0..2 { report "x", 1 }', "outside of loops"),
        ('report "x", w', "subscripts are needed"),
        ('report "x", w[0, 0] where 3', "condition"),
    ):
        write_text("bad.cmp", text % line)
        status, _, said = cmpc("plan", "bad.cmp")
        check(status == 1 and message in said, line, said)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with open("tokens.i32", "wb") as file:
            file.write(struct.pack(f"<{TOKENS}i", *range(TOKENS)))
        weight = numbers(ROWS * COLS, 5)
        check_raised(weight)
        check_hopeless(weight)
        check_zeros(weight)
        check_nan(weight)
        check_rules()
        os.chdir("/")
    finish("hessian")


main()
