#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/para: one threshold over all pairs of an adapter, against NumPy: ranks, products, sizes; on an adapter made
here and, where they are, on real ones. The size that is said before anything is written is the file's; the same bytes
for any threads, by `run` and `build`, and after a kill."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import numpy

from arrays import read_arrays, write_arrays
from testing import CMPC, EXAMPLES, TOP, bytes_of, call, check, finish, write_text
from para_reference import best, distance, ranks, singular_values


def read_metadata(path):
    with open(path, "rb") as file:
        return json.loads(file.read(struct.unpack("<Q", file.read(8))[0])).get("__metadata__", {})


def read(path):
    return {name: values for name, (_, values) in read_arrays(path).items()}


def pairs_of(tensors):
    names = [name[: -len(":down")] for name in tensors if name.endswith(":down")]
    return names, [(tensors[name + ":down"], tensors[name + ":up"]) for name in names]


def compare(adapter, out, energy, close):
    names, before = pairs_of(read(adapter))
    after = read(out)
    kept, gap = ranks(before, energy)
    found = [after[name + ":down"].shape[0] for name in names]
    check(gap > 1e-5, f"{adapter}: NumPy itself cannot tell where to cut")
    check(found == kept, f"{adapter}: ranks {found}, NumPy {kept}")
    said = [int(read_metadata(out)[name + ":rank"]) for name in names]
    check(said == kept, f"{adapter}: its metadata say ranks {said}, NumPy {kept}")
    for name, (down, up), rank in zip(names, before, kept):
        own, values = (after[name + ":down"], after[name + ":up"]), singular_values(down, up)
        size = numpy.sqrt((values**2).sum())
        off = abs(distance(down, up, *own) - numpy.sqrt((values[rank:] ** 2).sum())) / size  # of the best there is
        if down.shape[1] * up.shape[0] < 1 << 15:
            off = max(off, numpy.linalg.norm(own[1].astype(float) @ own[0] - best(down, up, rank)) / size)
        check(off < close, f"{adapter}: {name} is off by {off}")
    check(all((after[name] == values).all() for name, values in read(adapter).items() if ":" not in name), "other tensors")
    print(f"{os.path.basename(adapter)}: {len(names)} pairs, {sum(d.shape[0] for d, _ in before)} directions, {sum(kept)} kept")


def example(folder, adapter, energy):
    with open(os.path.join(EXAMPLES, "para", "para.cmp")) as file:
        text = file.read()
    text = text.replace('"adapter.safetensors"', json.dumps(adapter)).replace("energy: 90%", f"energy: {energy * 100:g}%")
    path = os.path.join(folder, "para.cmp")
    write_text(path, text)
    return path


def try_adapter(folder, adapter, energy, close):
    source, out = example(folder, adapter, energy), os.path.join(folder, "cut.safetensors")
    plan = call(CMPC, "plan", source)
    bound = int(re.search(r"output: at most (\d+) bytes", plan).group(1))
    said = call(CMPC, "run", source, "-o", out, "--force", "--no-sync")
    size = int(re.search(r"^output: .* (\d+) bytes$", said, re.M).group(1))
    check(size == os.path.getsize(out) <= bound, f"said {size} bytes, at most {bound}, wrote {os.path.getsize(out)}")
    compare(adapter, out, energy, close)
    exe = os.path.join(folder, "exe")
    call(CMPC, "build", source, "-o", exe)
    wanted = bytes_of(out)
    for threads in "1", "2", "7":
        call(exe, "--output", out, "--force", "--no-sync", "--quiet", "--threads", threads)
        check(bytes_of(out) == wanted, f"{threads} threads give other bytes")
    return exe, out, wanted


def kill_some(exe, out, wanted):
    """After a kill at any point the next run ends in the same bytes and leaves nothing else."""
    os.remove(out)
    started = time.monotonic()
    call(exe, "--output", out, "--quiet")
    whole = time.monotonic() - started
    for turn in range(8):
        os.remove(out)
        process = subprocess.Popen([exe, "--output", out, "--quiet"], stdout=subprocess.DEVNULL)
        time.sleep(whole * (turn + 1) / 9)
        process.send_signal(signal.SIGKILL)
        process.wait()
        call(exe, "--output", out, "--quiet", "--force")
        check(bytes_of(out) == wanted, f"other bytes after kill {turn}")
        names = [name for name in os.listdir(os.path.dirname(out)) if name.startswith("cut.") or name.startswith(".cut.")]
        check(names == ["cut.safetensors"], f"left behind: {names}")


def latest(folder, adapter):
    """Lines over members read what `:=` has made of an array above them, in a loop too, and nothing of what is below."""
    squares = "  q[s][r] = sum[n](sq(a[s][r, n]))\n"
    cases = {
        "  a[s][r, n] := a[s][r, n] - sum[m](b[s][m, r])\n" + squares: lambda a, b: ((a - b.sum(0)[:, None]) ** 2).sum(1),
        squares + "  q[s][r] := sq(sum[m](b[s][m, r]))\n": lambda a, b: b.sum(0) ** 2,
        squares + "  for i in 0..2 { q[s][r] := sqrt(q[s][r] + sq(sum[m](b[s][m, r]))) }\n": lambda a, b: numpy.sqrt(
            numpy.sqrt((a**2).sum(1) + b.sum(0) ** 2) + b.sum(0) ** 2
        ),
        squares: lambda a, b: (a**2).sum(1),
    }
    source, out = os.path.join(folder, "latest.cmp"), os.path.join(folder, "latest.safetensors")
    names, before = pairs_of(read(adapter))
    for lines, wanted in cases.items():
        write_text(
            source,
            f"pass cut on all (a[s][r, n], b[s][m, r]) {{\n{lines}  t = mean[s, r](q[s][r])\n"
            "  b[s][m, r] := b[s][m, r] / t\n  keep r where q[s][r] > t\n}\n"
            f'model m from {json.dumps(adapter)}\npipeline p of m {{ cut on ("*:down", "*:up") save {json.dumps(out)} }}\n',
        )
        call(CMPC, "run", source, "--force", "--no-sync")
        values, after = [wanted(a.astype(float), b.astype(float)) for a, b in before], read(out)
        mean = numpy.concatenate(values).mean()
        for name, (_, b), own in zip(names, before, values):
            cut = b[:, own > mean] / mean
            got = after[name + ":up"]
            check(got.shape == cut.shape and numpy.allclose(got, cut, rtol=1e-4, atol=0), f"{name} after {lines}")


def turned(folder):
    """A condition along an axis of another length is refused, though all members together have as many places."""
    path, source = os.path.join(folder, "turned.safetensors"), os.path.join(folder, "turned.cmp")
    shapes = {"0.a": [6, 4], "0.b": [6, 4], "1.a": [4, 6], "1.b": [4, 6]}
    write_arrays(path, {name: ("F32", numpy.zeros(shape)) for name, shape in shapes.items()})
    write_text(
        source,
        "pass cut on all (a[s][m, n], b[s][m, n]) {\n  y[s][m] = sum[n](a[s][m, n])\n  keep n where y[s][n] >= 0\n}\n"
        f'model m from {json.dumps(path)}\npipeline p of m {{ cut on ("*.a", "*.b") save "out.safetensors" }}\n',
    )
    said = call(CMPC, "plan", source, wants=1)
    check('along "n" the tensors have other extents' in said, said)


def refuse(folder, adapter):
    """Tuples that are none."""
    source = example(folder, adapter, 0.9)
    with open(source) as file:
        text = file.read()
    for selection, message in (
        ('("*:down", "*:sideways")', "has no partner"),
        ('("*:down")', "needs 2 patterns"),
        ("all", "needs 2 patterns"),
        ('("*:sideways", "*:above")', "takes no tensor"),
    ):
        write_text(source, text.replace('("*:down", "*:up")', selection))
        said = call(CMPC, "plan", source, wants=1)
        check(message in said and said.count("error") == 1, f"{selection}: {said}")


folder = tempfile.mkdtemp()
made = os.path.join(folder, "made.safetensors")
for dtype, close in ("f32", 1e-5), ("f16", 2e-3):
    call(sys.executable, os.path.join(EXAMPLES, "para", "make_adapter.py"), made, dtype)
    result = try_adapter(folder, made, 0.9, close)
kill_some(*result)
refuse(folder, made)
turned(folder)
call(sys.executable, os.path.join(EXAMPLES, "para", "make_adapter.py"), made, "f32")
latest(folder, made)
for name, energy, close in ("analog_svd_rank4", 0.9, 2e-3), ("lora_disney", 0.8, 1e-5):
    real = os.path.abspath(os.path.join(TOP, "..", "shared", "models", "lora", name + ".safetensors"))
    if os.path.exists(real):
        started = time.monotonic()
        try_adapter(folder, real, energy, close)
shutil.rmtree(folder)
finish("para")
