#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The bytes of every dtype, as `cmpc run` writes them, and what `cmpc decode` reads from them, bit for bit.

ggml's types: against its own output for the 32 rows of ../shared/golden, where that lies beside the project; without
and with an importance matrix, as a file's tensor that quantize.rtn is given, divided by the counts beside it.
TO_FLOAT names a folder of TYPE.f32, what ggml's to_float makes of those; else decoding is held to NumPy.
f8, int8, int4 and nf4: against tests/reference/encode_reference.py for each storage type of the input: ties, blocks of
zeros, subnormal numbers; NaN and infinities under --nonfinite=keep and zero.
"""
import os
import subprocess
import tempfile

import numpy as np

from testing import CMPC, TOP, check, finish, read_safetensors, write_safetensors, write_text
import encode_reference
from decode_reference import BLOCKS, F, read_gguf

GOLDEN = os.path.join(TOP, "..", "shared", "golden", "ggml")
ROWS, COLS = 35, 256  # int4's zero points lie eight rows to a word


def same_floats(what, wanted, got):
    wanted, got = np.ascontiguousarray(wanted, F).reshape(-1), np.frombuffer(got, F)
    if wanted.size != got.size:
        check(False, f"{what}: {got.size} values, not {wanted.size}")
        return
    both_nan = np.isnan(wanted) & np.isnan(got)  # which of the NaN it is, nobody says
    bad = int(np.count_nonzero((wanted.view(np.uint32) != got.view(np.uint32)) & ~both_nan))
    check(bad == 0, f"{what}: {bad} of {wanted.size} values differ")


def cmpc(*arguments):
    subprocess.run([CMPC, *arguments], check=True, stdout=subprocess.DEVNULL)


def compress(work, tensors, dtypes, save, *options, more=""):
    """Each dtype on the tensor of its name; gives the paths of the result and of what decode reads from it."""
    model, program, decoded = (os.path.join(work, name) for name in ("in.safetensors", "a.cmp", "out.safetensors"))
    write_safetensors(model, tensors)
    lines = "".join(f'  quantize.rtn(dtype: {dtype}{more}) on "{dtype}.weight"\n' for dtype in dtypes)
    write_text(program, f'model m from "{model}"\npipeline p of m {{\n{lines}  save "{save}"\n}}\n')
    cmpc("run", program, "--quiet", "--force", *options)
    cmpc("decode", save, "-o", decoded)
    return read_safetensors(decoded)


# ---- ggml ----


def to_float(dtype, data):
    folder = os.environ.get("TO_FLOAT")
    if folder:
        with open(os.path.join(folder, dtype + ".f32"), "rb") as file:
            return np.frombuffer(file.read(), F)
    if dtype == "f16":
        return np.frombuffer(data, "<f2").astype(F)
    if dtype == "bf16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(F)
    _, _, size, reader = BLOCKS[dtype]
    return reader(np.frombuffer(data, np.uint8).reshape(-1, size))


def golden(name):
    with open(os.path.join(GOLDEN, name), "rb") as file:
        return file.read()


def check_importance(work):
    """Formats that ignore it have no bytes of their own for it: those without are theirs."""
    tensors = {f"{dtype}.weight": ("F32", [32, 512], golden("input.f32")) for dtype in BLOCKS}
    statistics, save = os.path.join(work, "statistics.safetensors"), os.path.join(work, "weighted.gguf")
    doubled = (2 * np.frombuffer(golden("imatrix.f32"), F)).tobytes()
    write_safetensors(statistics, {"sums": ("F32", [512], doubled), "count": ("F32", [1], F(2).tobytes())})
    given = f', importance: tensor("{statistics}", "sums"), counts: tensor("{statistics}", "count")'
    compress(work, tensors, list(BLOCKS), save, more=given)
    stored, weighted = read_gguf(save), 0
    for dtype in BLOCKS:
        own = os.path.exists(os.path.join(GOLDEN, dtype + ".imatrix.bin"))
        wanted = golden(dtype + (".imatrix.bin" if own else ".bin"))
        _, _, data, offset = stored[dtype + ".weight"]
        check(data[offset : offset + len(wanted)] == wanted, f"{dtype} under importance: not ggml's bytes")
        weighted += own
    return weighted


def check_golden(work):
    rows, dtypes = golden("input.f32"), list(BLOCKS) + ["f16", "bf16"]
    tensors = {f"{dtype}.weight": ("F32", [32, 512], rows) for dtype in dtypes}
    save = os.path.join(work, "golden.gguf")
    decoded = compress(work, tensors, dtypes, save)
    stored = read_gguf(save)
    for dtype in dtypes:
        wanted = golden(dtype + ".bin")
        _, shape, data, offset = stored[dtype + ".weight"]
        check(shape == [32, 512] and data[offset : offset + len(wanted)] == wanted, f"{dtype}: not ggml's bytes")
        same_floats(dtype + " decoded", to_float(dtype, wanted), decoded[dtype + ".weight"][2])
    return len(dtypes)


# ---- NumPy ----


def stored_as(kind, x):
    """(bytes as the input file has them, their values)"""
    stored, values = encode_reference.store_scale(x, kind)
    return np.ascontiguousarray(stored).tobytes(), values


def check_case(work, kind, x, nonfinite):
    data, values = stored_as(kind, x)
    if nonfinite == "zero":
        values = np.where(np.isfinite(values), values, F(0))
    tensors = {f"{dtype}.weight": (kind.upper(), [ROWS, COLS], data) for dtype in encode_reference.ENCODERS}
    save = os.path.join(work, kind + "-" + nonfinite)
    decoded = compress(work, tensors, encode_reference.ENCODERS, save, "--nonfinite=" + nonfinite)
    stored = read_safetensors(os.path.join(save, "model.safetensors"))
    for dtype in encode_reference.ENCODERS:
        what = f"{dtype} of {kind}, nonfinite={nonfinite}"
        planes = encode_reference.encode(dtype, values, kind)
        value = planes.pop("value")
        for plane, wanted in planes.items():
            name = dtype + "." + ("weight" if plane == "self" else plane)
            check(name in stored, f"{what}: no {name}")
            if name in stored:
                check(stored[name][1] == list(wanted.shape),
                      f"{what}: {plane} has shape {stored[name][1]}, not {list(wanted.shape)}")
                check(stored[name][2] == np.ascontiguousarray(wanted).tobytes(), f"{what}: {plane} differs")
        same_floats(what + " decoded", value, decoded[dtype + ".weight"][2])


def check_numpy(work):
    x = encode_reference.sample(ROWS, COLS)
    wild = x.copy()
    wild[::3, 5], wild[1::3, 77], wild[2::3, 200] = np.nan, np.inf, -np.inf
    wild[4, :128], wild[5] = np.nan, np.inf
    for kind in ("f32", "f16", "bf16"):
        check_case(work, kind, x, "error")
        check_case(work, kind, wild, "keep")
        check_case(work, kind, wild, "zero")
    return len(encode_reference.ENCODERS)


def main():
    with tempfile.TemporaryDirectory() as work:
        has_golden = os.path.exists(os.path.join(GOLDEN, "input.f32"))
        plain, weighted = (check_golden(work), check_importance(work)) if has_golden else (0, 0)
        numpy = check_numpy(work)
    finish(f"{plain} types compared with ggml's bytes, {weighted} under importance, {numpy} dtypes with NumPy")


if __name__ == "__main__":
    main()
