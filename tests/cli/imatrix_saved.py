#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Importance matrices that are written: sums and counts against NumPy in f64, metadata byte by byte, the same bytes for any
threads and by `cmpc imatrix`; read back they weigh columns as the data did. And passes that save other arrays: of the
weights alone, into safetensors; what such a pipeline cannot be asked, in a line each."""
import os
import shutil
import struct
import tempfile

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np

from testing import CMPC, EXAMPLES, bytes_of, call, check, cmpc, finish, read_safetensors, write_text
from decode_reference import read_gguf
import llama

EXPORTED = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
ABOUT = 'general { type "imatrix" } imatrix { datasets [d.file, "more"] chunk_count d.samples chunk_size d.longest }'
SUMS = "stat.imatrix(data: d) on linear"


def pipeline(statement, save, data='"tokens.npy" { one_shot true }', passes=""):
    write_text("p.cmp", f'{passes}\nmodel m from "tiny"\ndata d from {data}\npipeline p of m {{ {statement} save {save} }}\n')


def string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_arrays(path):
    return {n: np.frombuffer(data, "<f4", int(np.prod(shape)), at).reshape(shape)
            for n, (code, shape, data, at) in read_gguf(path).items() if check(code == 0, n) is None}


def check_values(rows):
    """Of all layers; queries, keys and values share theirs."""
    pipeline(SUMS, f'"i.gguf" {{ {ABOUT} }}')
    call(CMPC, "run", "p.cmp", "--threads", "1")
    tensors, config = llama.read_checkpoint("tiny")
    wanted = llama.calibrate(tensors, config, rows, lambda w, x: (x * x).sum(0), is_one_shot=True)
    found = gguf_arrays("i.gguf")
    check(len(found) == 2 * 7 * config["num_hidden_layers"], f"{len(found)} arrays")
    for layer in range(config["num_hidden_layers"]):
        for own, exported in EXPORTED.items():
            name = f"blk.{layer}.{exported}.weight"
            sums, right = found[name + ".in_sum2"], wanted[f"model.layers.{layer}.{own}.weight"]
            check(sums.shape == right.shape, f"{name}: shape {sums.shape}")
            check((abs(sums - right) <= 1e-4 * right + 1e-6).all(), f"{name}: off by {(abs(sums - right) / right).max()}")
            check(found[name + ".counts"].tolist() == [sum(map(len, rows))], f"{name}: {found[name + '.counts']}")
    head = bytes_of("i.gguf")[:4096]
    for pair in (string("general.type") + struct.pack("<I", 8) + string("imatrix"),
                 string("imatrix.datasets") + struct.pack("<IIQ", 9, 8, 2) + string("tokens.npy") + string("more"),
                 string("imatrix.chunk_count") + struct.pack("<II", 4, len(rows)),
                 string("imatrix.chunk_size") + struct.pack("<II", 4, max(map(len, rows)))):
        check(pair in head, f"metadata: no {pair}")
    check(b"llama." not in head and b"tokenizer." not in head, "metadata: there are the model's")


def check_bytes():
    wanted = bytes_of("i.gguf")
    call(CMPC, "run", "p.cmp", "--threads", "7", "--force")
    check(bytes_of("i.gguf") == wanted, "7 threads: other bytes")
    plan = call(CMPC, "plan", "p.cmp")
    write_text("again.cmp", plan)
    untimed = [line for line in plan.splitlines() if "# time" not in line]
    check([line for line in call(CMPC, "plan", "again.cmp").splitlines() if "# time" not in line] == untimed, "printed plan: another plan")


def check_back():
    """As importance of the same data."""
    results = []
    for given in ("data: d", 'imatrix: "i.gguf"'):
        pipeline(f"quantize.rtn(dtype: q4_K, {given}) on linear", '"q.gguf"')
        call(CMPC, "run", "p.cmp", "--force")
        found = read_gguf("q.gguf")
        results.append({n: data[at : at + int(np.prod(shape)) // 256 * 144] for n, (code, shape, data, at) in found.items() if code == 12})
    check(len(results[0]) == 21 and results[0] == results[1], "read back: other bytes than with the data itself")


def check_command():
    with open("tiny/heldout.txt") as file:
        write_text("some.words", file.read()[:2500])
    call(CMPC, "imatrix", "tiny", "-d", "some.words", "-o", "c.gguf", "--quiet")
    pipeline(SUMS, '"i.gguf"', 'text("some.words") { window 512 }')
    call(CMPC, "run", "p.cmp", "--force")
    command, program = gguf_arrays("c.gguf"), gguf_arrays("i.gguf")
    check(sorted(command) == sorted(program) and all((command[n] == program[n]).all() for n in command), "cmpc imatrix")
    check(string("general.type") + struct.pack("<I", 8) + string("imatrix") in bytes_of("c.gguf"), "cmpc imatrix: type")
    for missing in (["-o", "c.gguf"], ["-d", "some.words"]):
        check(cmpc("imatrix", "tiny", *missing)[0] == 2, f"imatrix {missing}")


OWN = """
pass norms(what: string, power: int = 2) on w[o, i] {
  n[o] = sum[i](abs(w[o, i]) ^ power)
  largest = max[o](n[o])
  save "{what}/{layer}/{role}", n
  save "{name}.shape", shape
  shape[k < 2] = if k == 0 then extent(o) else extent(i)
  when power > 1 { save "{name}.largest", largest }
}
"""


def check_own():
    """Of weights alone, without data: arrays of rows, of integers, numbers."""
    pipeline('norms("rows") on ffn_up', '"n.safetensors" { made { author "us" } }', passes=OWN)
    call(CMPC, "run", "p.cmp")
    found, tensors = read_safetensors("n.safetensors"), llama.read_checkpoint("tiny")[0]
    check(len(found) == 9, f"{sorted(found)}")
    for layer in range(3):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        norms = (tensors[name] ** 2).sum(1)
        ours = np.frombuffer(found[f"rows/{layer}/ffn_up"][2], "<f4")
        check(ours.shape == norms.shape and (abs(ours / norms - 1) < 1e-4).all(), f"{name}: norms")
        check(np.frombuffer(found[name + ".largest"][2], "<f4") == [ours.max()], f"{name}: the largest")
        check(np.frombuffer(found[name + ".shape"][2], "<i4").tolist() == list(tensors[name].shape), f"{name}: shape")
    check(b'"made.author":"us"' in bytes_of("n.safetensors"), "metadata of safetensors")


def check_refused():
    grid = "pass grid(data: dataset) on w[o, i] { x = input(w) s[i] = max[t](x[t, i]) save \"a\", s w[o, i] := 0 }"
    for statement, save, passes, words in (
            (SUMS + " prune.wanda(data: d) on head", '"x.gguf"', "", "prune.wanda saves no arrays"),
            ("grid(data: d) on linear", '"x.gguf"', grid, "grid saves arrays"),
            (SUMS, '"x"', "", "one file"),
            (SUMS + " require perplexity(d) <= 3", '"x.gguf"', "", "no perplexity"),
            (SUMS + " require error <= 3", '"x.gguf"', "", "no error"),
            (SUMS, '"x.gguf" { a { b 1 b 2 } }', "", '"b" twice'),
            (SUMS, '"x.gguf" { a 1, 2 }', "", "one value"),
            (SUMS, '"x.gguf" { a d }', "", "is a string"),
            (SUMS, '"x.gguf" { a e.samples }', "", '"samples"'),
            ('norms("same") on layer 0 and ffn_up', '"x.safetensors"', OWN.replace("{name}.shape", "{what}/0/ffn_up"), "same/0/ffn_up")):
        pipeline(statement, save, passes=passes)
        status, _, said = cmpc("run", "p.cmp")
        errors = [line for line in said.splitlines() if "error:" in line]
        check(status == 1 and len(errors) == 1 and words in errors[0], f"{statement} {save}", said)
        check(not os.path.exists("x.gguf"), f"{statement}: something was written")


def main():
    generator = np.random.default_rng(3)
    rows = [generator.integers(0, 256, count) for count in (40, 25, 31)]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        shutil.copytree(os.path.join(EXAMPLES, "tiny-llama"), "tiny")
        table = -np.ones((len(rows), max(map(len, rows))), np.int32)
        for row, tokens in zip(table, rows):
            row[: len(tokens)] = tokens
        np.save("tokens.npy", table)
        check_values(rows)
        check_bytes()
        check_back()
        check_command()
        check_own()
        check_refused()
        os.chdir("/")
    finish("importance matrices that are written")


if __name__ == "__main__":
    main()
