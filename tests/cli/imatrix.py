#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Importance matrices of llama.cpp, imatrix.dat and GGUF, written here byte by byte: with each, under the tensors' own
names and under those that llama.cpp gives them, the weights become the bytes that the same values make from a safetensors
file; a tensor that the matrix does not have is as it is without one. What is cut off or of another size is refused in a line.
"""
import os
import struct
import subprocess
import tempfile

import numpy as np

from testing import CMPC, check, finish, write_safetensors, write_text
from decode_reference import read_gguf

ROWS, COLS, CALLS = 16, 256, 3
Q, DOWN, OTHER = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.down_proj.weight", "extra.weight"
LLAMA = {Q: "blk.0.attn_q.weight", DOWN: "blk.0.ffn_down.weight"}


def text(s):
    return struct.pack("<i", len(s)) + s.encode()


def dat_bytes(entries):
    data = struct.pack("<i", len(entries))
    for name, sums in entries.items():
        data += text(name) + struct.pack("<ii", CALLS, len(sums)) + sums.astype("<f4").tobytes()
    return data + struct.pack("<i", 7) + text("tales.txt")


def gguf_bytes(entries, *leading):
    """leading: axes of one element in front, which stand last in the file."""
    def string(s):
        return struct.pack("<Q", len(s)) + s.encode()

    tensors = {}
    for name, sums in entries.items():
        tensors[name + ".in_sum2"] = sums.astype("<f4")
        tensors[name + ".counts"] = np.array([CALLS], "<f4")
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 2)
    head += string("general.type") + struct.pack("<I", 8) + string("imatrix")
    head += string("imatrix.chunk_count") + struct.pack("<II", 4, 7)
    body = b""
    for name, values in tensors.items():
        axes = (values.size // int(np.prod(leading)), *leading) if values.size >= np.prod(leading) else (values.size,)
        head += string(name) + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, 0, len(body))
        body += values.tobytes() + bytes(-values.nbytes % 32)
    return head + bytes(-len(head) % 32) + body


def run(work, statement, save="out.gguf"):
    program = os.path.join(work, "a.cmp")
    write_text(program, f'model m from "in.safetensors"\npipeline p of m {{\n  {statement}\n  save "{work}/{save}"\n}}\n')
    made = subprocess.run([CMPC, "run", program, "--quiet", "--force"], capture_output=True, text=True, check=False)
    return made


def stored(work, statement):
    made = run(work, statement)
    check(made.returncode == 0, statement, made.stderr)
    if made.returncode:
        return {}
    found = {}
    for name, (_, _, data, offset) in read_gguf(os.path.join(work, "out.gguf")).items():
        found[name] = bytes(data[offset : offset + ROWS * COLS // 256 * 144])
    return found


def write(work, name, data):
    with open(os.path.join(work, name), "wb") as file:
        file.write(data)


def check_forms(work, sums):
    mean = {name: ("F32", [COLS], (s / np.float32(CALLS)).astype("<f4").tobytes()) for name, s in sums.items()}
    write_safetensors(os.path.join(work, "mean.safetensors"), mean)
    given = f'"{Q}", "{DOWN}"'
    wanted = stored(work, f'quantize.rtn(dtype: q4_K, importance: tensor("mean.safetensors", "{{name}}")) on {given}'
                          f'  quantize.rtn(dtype: q4_K) on "{OTHER}"')
    plain = stored(work, "quantize.rtn(dtype: q4_K) on all")
    check(wanted[Q] != plain[Q] and wanted[OTHER] == plain[OTHER], "the weights change nothing")
    for maker, suffix in ((dat_bytes, "dat"), (gguf_bytes, "gguf"), (lambda e: gguf_bytes(e, 1), "gguf"),
                          (lambda e: gguf_bytes(e, 1, 1), "gguf")):
        for names in ({n: n for n in sums}, LLAMA):
            write(work, "m." + suffix, maker({names[n]: s for n, s in sums.items()}))
            got = stored(work, f'quantize.rtn(dtype: q4_K, imatrix: "m.{suffix}") on all')
            check(got == wanted, f"{suffix}, {sorted(names.values())[0]}: other bytes")
    out = os.path.join(work, "q.gguf")
    subprocess.run([CMPC, "quantize", os.path.join(work, "in.safetensors"), "q4_K", "-o", out, "--quiet",
                    "--imatrix", os.path.join(work, "m.dat")], check=True, stdout=subprocess.DEVNULL)
    again = {n: bytes(d[o : o + len(wanted[n])]) for n, (_, _, d, o) in read_gguf(out).items()}
    check(again == wanted, "quantize --imatrix: other bytes")


def refused(work, data, words, what):
    write(work, "bad.dat", data)
    made = run(work, 'quantize.rtn(dtype: q4_K, imatrix: "bad.dat") on all', "bad.gguf")
    said = [line for line in made.stderr.splitlines() if "error:" in line]
    check(made.returncode == 1 and len(said) == 1 and all(w in said[0] for w in words), what, made.stderr)
    check(not os.path.exists(os.path.join(work, "bad.gguf")), what + ": something was written")


def check_bad(work, sums):
    good = dat_bytes({LLAMA[Q]: sums[Q]})
    for size in (0, 3, 4, 7, 10, 30, 34, 40, len(good) - 30):
        refused(work, good[:size], ["bad.dat"], f"{size} bytes of it")
    refused(work, struct.pack("<i", -5) + good[4:], ["-5 entries"], "a negative number of entries")
    refused(work, good[:4] + struct.pack("<i", 1 << 30) + good[8:], ["a name of"], "a long name")
    refused(work, dat_bytes({LLAMA[Q]: sums[Q][:-1]}), ["255", Q[:0]], "a column too few")
    refused(work, dat_bytes({"blk.9.attn_q.weight": sums[Q]}), ["nothing for any"], "another model's")
    write(work, "rank.gguf", gguf_bytes({n: np.repeat(s, 2) for n, s in sums.items()}, 2).replace(b"counts", b"amount"))
    made = run(work, 'q4_K_M(imatrix: "rank.gguf") on linear', "bad.gguf")
    check(made.returncode == 1 and made.stderr.count("error:") == 1 and "rank 2" in made.stderr, "an axis of 2", made.stderr)
    twice = struct.pack("<i", 2) + 2 * good[4 : 4 + 4 + len(LLAMA[Q]) + 8 + 4 * COLS]
    refused(work, twice, ["twice"], "an entry that stands twice")


def main():
    random = np.random.default_rng(5)
    with tempfile.TemporaryDirectory() as work:
        weights = {n: ("F32", [ROWS, COLS], random.normal(size=(ROWS, COLS)).astype("<f4").tobytes()) for n in (Q, DOWN, OTHER)}
        write_safetensors(os.path.join(work, "in.safetensors"), weights)
        sums = {n: (CALLS * random.random(COLS) ** 4).astype(np.float32) for n in (Q, DOWN)}
        check_forms(work, sums)
        check_bad(work, sums)
    finish("importance matrices of both forms")


if __name__ == "__main__":
    main()
