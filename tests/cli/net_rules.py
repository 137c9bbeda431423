#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Small nets against NumPy in f64: several data sets, arrays of every shape, bounds that follow the sample, and what
`cmpc eval` refuses: lengths that no memory is laid out for, losses that are none, outputs that are inputs.
"""

import json
import os
import re
import struct
import tempfile

import numpy

from testing import check, cmpc, finish

TOKENS, WIDTH, LONG, SHORT = 16, 5, 37, 6


class Case:
    """A folder with a checkpoint of one table, and two data sets: samples of LONG and 9, of SHORT and 2 tokens."""

    def __init__(self, folder, generator):
        self.folder = folder
        self.table = generator.normal(size=(TOKENS, WIDTH)).astype("<f4")
        self.write_table(self.table)
        self.samples = {"long": [generator.integers(0, TOKENS, n) for n in (9, LONG)],
            "short": [generator.integers(0, TOKENS, n) for n in (SHORT, 2)]}
        for name, rows in self.samples.items():
            padded = -numpy.ones((2, max(map(len, rows))), "<i4")
            for row, tokens in zip(padded, rows):
                row[: len(tokens)] = tokens
            numpy.save(self.at(f"{name}.npy"), padded)

    def at(self, name):
        return os.path.join(self.folder, name)

    def write_table(self, table):
        text = json.dumps({"e": {"dtype": "F32", "shape": list(table.shape), "data_offsets": [0, table.nbytes]}}).encode()
        with open(self.at("model.safetensors"), "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + table.tobytes())
        with open(self.at("config.json"), "w") as file:
            json.dump({"model_type": "small"}, file)

    def program(self, body, *data):
        with open(self.at("net.cmp"), "w") as file:
            file.write('net small {\n  e[v, d] = weight "e"\n  x[t] = data "tokens"\n  h[t, d] = e[x[t], d]\n')
            file.write(f"{body}\n}}\nmodel m from \"model.safetensors\" as small\n")
            file.writelines(f'data {name} from "{name}.npy"\n' for name in data)
        return self.at("net.cmp")

    def array(self, body, name, data="long", *options):
        out = self.at("out.npy")
        status, _, errors = cmpc("eval", self.program(body, data), "--array", name, "-o", out, *options)
        check(status == 0, f"{name}: {errors}")
        return numpy.load(out) if status == 0 else numpy.zeros(0)

    def rows(self, data="long"):
        return [self.table[tokens].astype(float) for tokens in self.samples[data]]


def check_array(case, body, name, wanted, *options):
    found = case.array(body, name, "long", *options)
    check(found.shape == wanted.shape and numpy.abs(found - wanted).max() < 1e-4, f"{name} of{body}: {found.shape}")


def check_shapes(case):
    for threads in ("1", "3"):
        check_array(case, "  pooled[d] = mean[t](h[t, d])", "pooled",
            numpy.stack([rows.mean(0) for rows in case.rows()]), "--threads", threads)
        check_array(case, "  y[t, d] = 2 * h[t, d]", "y", 2 * numpy.concatenate(case.rows()), "--threads", threads)
    square = numpy.zeros((LONG + 9, LONG))
    square[:9, :9], square[9:] = (rows @ rows.T for rows in case.rows())
    # the longer sample leaves nothing in the memory of the shorter one behind it
    case.samples["turned"] = case.samples["long"][::-1]
    padded = -numpy.ones((2, LONG), "<i4")
    padded[0], padded[1, :9] = case.samples["turned"]
    numpy.save(case.at("turned.npy"), padded)
    found = case.array("  s[t, u] = sum[d](h[t, d] * e[x[u], d])", "s", "turned")
    wanted = numpy.concatenate([square[9:], square[:9]])
    check(found.shape == wanted.shape and abs(found - wanted).max() < 1e-4, f"zeros behind: {found.shape}")
    causal = [numpy.tril(rows @ rows.T) @ rows for rows in case.rows()]
    check_array(case, "  p[t, u] = sum[d](h[t, d] * e[x[u], d])\n  y[t, d] = sum[u < t + 1](p[t, u] * h[u, d])", "y",
        numpy.concatenate(causal))


def check_layers(case):
    """Two blocks of layers that call different arrays of the data the same."""
    body = ('  y[t, d] = h[t, d] * 1\n  layer l < 2 { a[t] = data "tokens"\n y[t, d] := y[t, d] + e[a[t], d] }\n'
            '  layer l < 1 { a[t] = data "next"\n y[t, d] := y[t, d] + e[a[t], d] }')
    wanted = [3 * case.table[tokens] + case.table[[*tokens[1:], 0]] for tokens in case.samples["long"]]
    check_array(case, body, "y", numpy.concatenate(wanted).astype(float))


def check_layer_number(case):
    """Lines that read the number of their layer: layers that come to the same share a kernel."""
    body = "  y[t, d] = h[t, d] * 1\n  layer l < 5 { y[t, d] := y[t, d] + (if l < first(config.none, 3) then 1 else l) }"
    wanted = numpy.concatenate(case.rows()).astype(float)
    check_array(case, body, "y", wanted + 3 + 3 + 4)
    program = case.program(body + "\n  loss[t] = y[t, 0]", "long")
    status, text, errors = cmpc("eval", program, "--emit=kernels")
    check(status == 0 and len(set(re.findall(r"kernel (small_long_\d)", text))) == 5, f"kernels: {text[:400]}{errors}")


def check_given(case):
    """Lines for weights that are there."""
    body = ('  z[v, d] = weight "z"\n  y[t, d] = if given(e) then h[t, d] * 3 else h[t, d]\n'
            '  layer l < 2 { when given(z) { y[t, d] := y[t, d] + z[x[t], d] } when not given(z) { y[t, d] := y[t, d] + 1 } }')
    check_array(case, body, "y", 3 * numpy.concatenate(case.rows()).astype(float) + 2)


def check_data(case):
    """Each data set as if it were alone."""
    body = "  s[t, u] = sum[d](h[t, d] * e[x[u], d])\n  loss[t] = sum[u](s[t, u] * s[t, u]) / 100"
    alone = [cmpc("eval", case.program(body, data)) for data in ("short", "long")]
    both = cmpc("eval", case.program(body, "short", "long"))
    check(both == (0, alone[0][1] + alone[1][1], ""), f"both {both}, one {alone}")
    mean = numpy.mean(numpy.concatenate([((r @ r.T) ** 2).sum(1)[:-1] for r in case.rows()])) / 100
    check(alone[1][1].startswith(f"perplexity(long) = {numpy.exp(mean):.3f}"), f"{alone[1][1]}, not {numpy.exp(mean)}")
    status, _, errors = cmpc("eval", case.program(body, "short", "long"), "--array", "s", "-o", case.at("out.npy"))
    check(status == 1 and "2 data sets" in errors, f"an array of two: {errors}")
    case.write_table(case.table * numpy.float32(1e30))
    status, text, errors = cmpc("eval", case.program(body, "long"), "--", "--json", "--nonfinite=keep")
    check(status == 0 and json.loads(text)["value"] is None, f"NaN as JSON: {text} {errors}")
    status, text, errors = cmpc("eval", case.program(body, "long"), "--", "--json")
    check(status == 1 and json.loads(text)["event"] == "error", f"an error as JSON: {text} {errors}")
    case.write_table(case.table)


def check_refusals(case):
    axis = "has an axis whose length is computed from that of the sample"
    for body, message in [
        ("  y[t, r < 2 * extent(t)] = h[t, 0] * r\n  loss[t] = sum[r](y[t, r]) * sum[r](y[t, r])", axis),
        ("  y[r < extent(t) + 1] = sum[d](h[0, d]) * r\n  loss[t] = sum[r](y[r] * y[r]) * y[t + 1]", axis),
        ("  loss = mean[t](h[t, 0])", "is not one f32 for each token"),
        ("  loss[d] = mean[t](h[t, d])", "is not one f32 for each token"),
        ("  loss[t] = x[t] + count[d](h[t, d] > 0)", "is not one f32 for each token"),
        ('  w[k, v, d] = weight "e{k}"\n  loss[t] = w[0, 0, 0] * t', "is the array's first axis, of a declared length"),
        ('  axis k = 2\n  w[v, k, d] = weight "e{k}"\n  loss[t] = w[0, 0, 0] * t', "is the array's first axis"),
        ('  axis k = 2\n  w[k, v, d] = weight "e{k}"\n  loss[t] = w[0, 0, 0] * t', 'has no tensor "e0"'),
        ("  axis a = 2000000, b = 2000000, c = 2000\n  y[t, a, b, c] = h[t, 0] * a * b * c\n"
         "  layer l < 1 { y[t, a, b, c] := y[t, a, b, c] + 1 }\n  loss[t] = y[t, 0, 0, 0]", "{ window 2048 }"),
    ]:
        status, text, errors = cmpc("eval", case.program(body, "long"))
        check(status == 1 and not text and message in errors, f"{body}: {status} {text} {errors}")
    program = case.program("  loss[t] = h[t, 0]", "long")
    errors = cmpc("eval", program, "--array", "x", "-o", case.at("out.npy"))[2]
    check('"x" of net small is computed where it is read' in errors, f"an array of data: {errors}")
    for stage in ("tokens", "ast", "program"):
        status, text, errors = cmpc("eval", program, f"--emit={stage}")
        check(status == 0 and text and "perplexity" not in text, f"--emit={stage}: {status} {errors}")
    for stage in ("plan", "llvm", "exe"):
        check(cmpc("eval", program, f"--emit={stage}")[0] == 2, f"--emit={stage}")
    for option in ("--quiet", "--dry-run", "--nonfinite=none"):
        check(cmpc("eval", program, "--", option)[0] == 2, f"eval {option}")
    status, text, _ = cmpc("eval", program, "--", "--help")
    check(status == 0 and "null" not in text and "over data" in text, f"--help: {text}")
    kernels = case.at("kernels.txt")
    check(cmpc("eval", program, "--emit=kernels", "-o", kernels)[0] == 0 and os.path.getsize(kernels), "kernels in a file")
    check(cmpc("eval", program, "--emit=kernels", "-o", case.at("none/kernels.txt"))[0] == 1, "kernels nowhere")
    for name in ("model.safetensors", "long.npy"):
        with open(case.at(name), "rb") as file:
            before = file.read()
        status, _, errors = cmpc("eval", program, "--array", "h", "-o", case.at(name))
        with open(case.at(name), "rb") as file:
            check(status == 1 and name in errors and file.read() == before, f"over {name}: {errors}")


def check_rows(case):
    """A pass cannot ask for the input of a matrix that meets as many rows of a short sample as of a long one."""
    with open(case.at("rows.cmp"), "w") as file:
        file.write('net small {\n  e[v, d] = weight "e" as linear\n  x[t] = data "tokens"\n'
            "  m[s < 3, d < 5] = mean[t](f32(x[t]) * d + s)\n  y[s, v] = sum[d](m[s, d] * e[v, d])\n  loss[t] = x[t] * y[0, 0]\n}\n"
            'model m from "model.safetensors" as small\ndata long from "long.npy"\n'
            'pipeline p of m { prune.wanda(data: long) on linear  save "out.safetensors" }\n')
    status, _, errors = cmpc("plan", case.at("rows.cmp"))
    check(status == 1 and '"e" meets 3 rows of each sample' in errors, f"rows that are not those of tokens: {errors}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        case = Case(folder, numpy.random.default_rng(7))
        check_shapes(case)
        check_layers(case)
        check_layer_number(case)
        check_given(case)
        check_data(case)
        check_refusals(case)
        check_rows(case)
    finish("net_rules")


main()
