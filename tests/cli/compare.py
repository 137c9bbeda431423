#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`cmpc eval` of a file with pipelines: every number of its table, from checkpoints that are made one by one and read
by the NumPy forward pass. Where it is interrupted nothing stays of it."""

import os
import re
import signal
import subprocess
import tempfile

import numpy

from testing import CMPC, TOP, check, cmpc, finish
import llama


def losses_of(folder, model, rows):
    tensors, config = llama.read_checkpoint(model)
    return numpy.concatenate([llama.losses(llama.forward(tensors, config, row), row) for row in rows])


def check_table(folder, model, rows):
    program = os.path.join(folder, "table.cmp")
    with open(program, "w") as file:
        file.write(f'model m from "{model}"\ndata d from "rows.npy"\n'
                   'pipeline small of m { quantize.rtn(dtype: int8) on linear  save "out.safetensors" }\n')
    status, text, errors = cmpc("eval", program, "--threads", "2")
    check(status == 0, f"eval: {errors}")
    found = [[float(number) for number in re.findall(r"[0-9]+\.[0-9]+", line)] for line in text.splitlines()]
    check(len(found) == 3 and not found[0], f"three lines: {text}")
    coded, plain = os.path.join(folder, "coded"), os.path.join(folder, "plain")
    os.mkdir(plain)
    for name in ("config.json", "tokenizer.json"):
        os.symlink(os.path.join(model, name), os.path.join(plain, name))
    check(cmpc("run", program, "--output", coded, "--quiet")[0] == 0, "run")
    check(cmpc("decode", coded, "-o", os.path.join(plain, "model.safetensors"))[0] == 0, "decode")
    before, after = losses_of(folder, model, rows), losses_of(folder, plain, rows)
    bytes_of = [os.path.getsize(os.path.join(at, "model.safetensors")) for at in (model, coded)]
    for line, loss, size in zip(found[1:], (before, after), bytes_of):
        wanted = numpy.exp(loss.mean())
        check(abs(line[0] * 2**20 / size - 1) < 3e-3, f"size {line[0]} MiB, not {size}")
        check(abs(line[2] / wanted - 1) < 2e-5, f"perplexity {line[2]}, not {wanted}")
        check(abs(line[3] / (wanted * loss.std(ddof=1) / len(loss) ** 0.5) - 1) < 1e-3, f"standard error {line[3]}")
    apart = after - before
    ratio = numpy.exp(apart.mean())
    check(abs(found[2][4] - ratio) < 1e-4, f"ratio {found[2][4]}, not {ratio}")
    check(abs(found[2][5] - ratio * apart.std(ddof=1) / len(apart) ** 0.5) < 1e-4, f"its error {found[2][5]}")


def check_interruption(folder, model):
    """Between the first line of the table and the last, which is far behind it; the folder is there, and then it is not."""
    program, place = os.path.join(folder, "long.cmp"), os.path.join(folder, "tmp")
    with open(program, "w") as file:
        file.write(f'model m from "{model}"\ndata d from "rows.npy"\n')
        for number in range(50):
            file.write(f'pipeline p{number} of m {{ quantize.rtn(dtype: int8) on linear  save "p{number}.safetensors" }}\n')
    os.mkdir(place)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # a shell's job in the background ignores SIGINT, and so would its children
        with subprocess.Popen([CMPC, "eval", program], env=dict(os.environ, TMPDIR=place), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            check(len(os.listdir(place)) == 1, f"a folder: {os.listdir(place)}")
            process.send_signal(number)
            errors = process.communicate()[1]
        check(process.returncode == 128 + number, f"interrupted: status {process.returncode}")
        check(errors == "\ninterrupted\n", f"interrupted: {errors!r}")
        check(os.listdir(place) == [], f"left behind: {os.listdir(place)}")


def main():
    generator = numpy.random.default_rng(11)
    with tempfile.TemporaryDirectory() as folder:
        rows = [generator.integers(0, 512, 40) for _ in range(4)]
        numpy.save(os.path.join(folder, "rows.npy"), numpy.array(rows, numpy.int32))
        check_table(folder, os.path.join(TOP, "examples", "tiny-llama"), rows)
        check_interruption(folder, os.path.join(TOP, "examples", "tiny-llama"))
    finish("compare")


main()
