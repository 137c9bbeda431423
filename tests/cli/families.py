#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Passes on a whole selection at once, end to end: executables of cmpc against NumPy.

Checkpoints of f32, f16 and bf16 tensors full of equal weights, zeros of both signs among them. What is
held: the elements that become zero, place by place; the same bytes for any threads and memory, by `run` and by
`build`, after a kill; a selection larger than --memory; passes before and after it; several families at once.
"""

import json
import os
import signal
import subprocess
import tempfile
import time

import numpy

from arrays import read_arrays, rounded, same, write_arrays
from testing import CMPC, bytes_of, call, check, finish, write_text
from global_magnitude import prune_global


def make(shapes, dtypes, seed, levels=None):
    """Weights of few different magnitudes, so that whole runs of them are equal."""
    random = numpy.random.default_rng(seed)
    tensors = {}
    for i, shape in enumerate(shapes):
        dtype = dtypes[i % len(dtypes)]
        values = random.normal(0, 0.02, shape).astype(numpy.float32)
        if levels:
            values = (numpy.round(values * levels) / levels).astype(numpy.float32)
        tensors[f"w.{i}"] = (dtype, rounded(dtype, values))
    tensors["other"] = ("F32", random.normal(0, 1, 77).astype(numpy.float32))
    return tensors


# ---- running ----


def peak_of(*arguments):
    """Runs an executable; VmHWM as its own report says it, in bytes."""
    rows = [json.loads(line) for line in call(*arguments, "--json").split("\n") if line.startswith("{")]
    return max((row["peak_memory"] for row in rows if row["event"] == "report"), default=0)


class Folder:
    """One program on one checkpoint."""

    def __init__(self, name, tensors, statements, declarations="", suffix="safetensors"):
        self.path = tempfile.mkdtemp(prefix=f"{name}.", dir=base)
        self.suffix, self.tensors = suffix, tensors
        write_arrays(self.file("in.safetensors"), tensors)
        text = f'{declarations}\nmodel m from "in.safetensors"\npipeline p of m {{\n{statements}\n  save "out.{suffix}"\n}}\n'
        write_text(self.file("p.cmp"), text)

    def file(self, name):
        return os.path.join(self.path, name)

    def run(self, output="run"):
        out = self.file(f"{output}.{self.suffix}")
        call(CMPC, "run", self.file("p.cmp"), "-o", out)
        return out

    def build(self):
        exe = self.file("exe")
        call(CMPC, "build", self.file("p.cmp"), "-o", exe)
        return exe


def check_against(folder, wanted, what):
    got = read_arrays(folder.run())
    for name, (dtype, values) in folder.tensors.items():
        expected = wanted.get(name, values)
        check(got[name][0] == dtype, f"{what}: {name} is {got[name][0]}")
        check(same(got[name][1], rounded(dtype, expected)), f"{what}: {name}")
    return got


def family(tensors, names):
    return [tensors[name][1] for name in names]


# ---- the tests ----


def test_values():
    shapes = [(64, 96), (33, 256), (1, 7), (200, 40), (128, 128)]
    names = [f"w.{i}" for i in range(len(shapes))]
    for dtypes, levels, sparsities in (
        (["F32"], None, (0, 0.5, 1)),
        (["F32"], 50, (0.5,)),
        (["F16"], 400, (0.003, 0.5)),
        (["BF16"], 50, (0.5, 0.77)),
        (["BF16", "F32", "F16"], 400, (0.5,)),
    ):
        tensors = make(shapes, dtypes, 5, levels)
        for sparsity in sparsities:
            folder = Folder("values", tensors, f'  prune.global(sparsity: {sparsity}) on "w.*"')
            pruned = prune_global(family(tensors, names), sparsity)
            check_against(folder, dict(zip(names, pruned)), f"{dtypes} {levels} {sparsity}")


def test_signs_and_nan():
    tensors = make([(16, 32), (16, 32)], ["F32"], 9, 30)
    tensors["w.0"][1][3, 4] = numpy.nan
    tensors["w.1"][1][5, 6] = numpy.inf
    tensors["w.1"][1][7] = -0.0
    folder = Folder("nan", tensors, '  prune.global(sparsity: 99.9%) on "w.*"')
    exe, out = folder.build(), folder.file("keep.safetensors")
    text = call(exe, "--output", out, wants=1)
    check('"w.0"' in text or "w.0" in text, f"a NaN is refused by name: {text}")
    call(exe, "--output", out, "--nonfinite", "keep")
    got, wanted = read_arrays(out), prune_global(family(tensors, ["w.0", "w.1"]), 0.999)
    for name, values in zip(["w.0", "w.1"], wanted):
        check(same(got[name][1], values), f"NaN last: {name}")


def test_chains():
    """What comes before is seen by the keys, what comes after is fused: equal to one pipeline after the other."""
    tensors = make([(64, 96), (33, 256), (200, 64)], ["F16", "F32"], 3, 300)
    before, last = '  prune.nm(n: 2, m: 4) on "w.*"', '  quantize.rtn(dtype: q8_0) on "w.0", "w.2"'
    middle = '  prune.global(sparsity: 60%) on "w.0", "w.1"\n  prune.global(sparsity: 70%) on "w.1", "w.2"'
    whole = Folder("chain", tensors, "\n".join([before, middle, last]), suffix="gguf").run()
    at = tensors
    for number, step in enumerate([before, *middle.split("\n")]):
        at = read_arrays(Folder(f"step{number}", at, step).run())
    steps = Folder("last", at, last, suffix="gguf").run()
    for path in (whole, steps):
        call(CMPC, "decode", path, "-o", path + ".safetensors")
    a, b = read_arrays(whole + ".safetensors"), read_arrays(steps + ".safetensors")
    check(a.keys() == b.keys(), "chain: tensors")
    for name in a:
        check(same(a[name][1], b[name][1]), f"chain: {name}")
    pruned = prune_global(family(read_arrays(Folder("nm", tensors, before).run()), ["w.0", "w.1"]), 0.6)
    check(same(at["w.0"][1], pruned[0]), "chain: w.0 against NumPy")


def test_whole_members():
    """Keys that need all rows of their tensor, and tensors stored the other way round, beside streamed ones."""
    tensors = make([(64, 96), (48, 64), (200, 40)], ["F32", "BF16"], 11, 200)
    folder = Folder(
        "whole",
        tensors,
        '  prune.magnitude(sparsity: 30%, scope: tensor) on "w.0"\n  prune.global(sparsity: 55%) on "w.*"',
        'roles turned { linear "w.1": [i, o] }',
    )
    first = prune_global(family(tensors, ["w.0"]), 0.3)[0]
    members = [first, tensors["w.1"][1].T, tensors["w.2"][1]]
    pruned = prune_global(members, 0.55)
    check_against(folder, {"w.0": pruned[0], "w.1": pruned[1].T, "w.2": pruned[2]}, "whole members")


def test_same_bytes():
    """48 MiB selected under 16 MiB, any threads, run and build, resumed after kills."""
    tensors = make([(2048, 2048)] * 3 + [(4096, 1024), (1000, 4096)], ["F16"], 21, 3000)
    names = [f"w.{i}" for i in range(5)]
    folder = Folder("bytes", tensors, '  prune.global(sparsity: 50%) on "w.*"\n  cast(bf16) on "w.*"')
    exe, out = folder.build(), folder.file("out.safetensors")
    wanted = bytes_of(folder.run())
    got, count = read_arrays(folder.file("run.safetensors")), sum(tensors[name][1].size for name in names)
    pruned = prune_global(family(tensors, names), 0.5)
    for name, values in zip(names, pruned):
        check(got[name][0] == "BF16" and same(got[name][1], rounded("BF16", values)), f"large: {name}")
    check(sum(int((values == 0).sum()) for values in pruned) >= (count + 1) // 2, "large: half is zero")
    text = call(exe, "--memory", "1MiB", wants=1)
    least = text.split("the smallest that works is ")[1].split()[0] if "smallest" in text else "16MiB"
    for threads, memory in ((1, least), (1, "16MiB"), (2, "16MiB"), (3, "1GiB"), (7, "16MiB"), (7, "1GiB")):
        peak = peak_of(exe, "--threads", str(threads), "--memory", memory, "--output", out)
        check(bytes_of(out) == wanted, f"same bytes: {threads} threads, {memory}")
        if memory == "16MiB":
            check(0 < peak <= 16 << 20, f"memory: {peak} of 16 MiB on {threads} threads")
        os.remove(out)
    started = time.monotonic()
    call(exe, "--quiet", "--no-sync", "--output", out)
    seconds = time.monotonic() - started
    os.remove(out)
    for kill in range(6):
        child = subprocess.Popen([exe, "--quiet", "--no-sync", "--output", out])
        time.sleep(seconds * (kill + 0.5) / 6)
        child.send_signal(signal.SIGKILL)
        child.wait()
        call(exe, "--quiet", "--no-sync", "--output", out)
        check(bytes_of(out) == wanted, f"same bytes after kill {kill}")
        os.remove(out)


def test_plan_again():
    """A printed plan is a program that gives the same bytes."""
    tensors = make([(64, 96), (33, 256), (200, 64)], ["F32"], 2, 300)
    folder = Folder(
        "again",
        tensors,
        '  prune.nm(n: 2, m: 4) on "w.1"\n  prune.global(sparsity: 60%) on "w.*"\n'
        '  prune.magnitude(sparsity: 80%) on "w.1", "w.2"\n  cast(bf16) on "w.0"',
    )
    wanted = bytes_of(folder.run())
    text = call(CMPC, "plan", folder.file("p.cmp"))
    write_text(folder.file("p.cmp"), text)
    again = call(CMPC, "plan", folder.file("p.cmp"))
    check(read_arrays(folder.run("again")).keys() == read_arrays(folder.file("run.safetensors")).keys(), "plan again: tensors")
    a, b = read_arrays(folder.file("again.safetensors")), read_arrays(folder.file("run.safetensors"))
    check(len(wanted) > 0 and all(same(a[name][1], b[name][1]) for name in a), "plan again: values")
    strip = [line for line in text.split("\n") if not line.startswith("model")]
    check(strip == [line for line in again.split("\n") if not line.startswith("model")], "plan again: the same plan")


with tempfile.TemporaryDirectory() as base:
    for test in (
        test_values,
        test_signs_and_nan,
        test_chains,
        test_whole_members,
        test_same_bytes,
        test_plan_again,
    ):
        started = time.monotonic()
        test()
        print(f"{test.__name__}: {time.monotonic() - started:.1f} s")
finish("families")
