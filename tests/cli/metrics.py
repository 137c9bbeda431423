#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""perplexity(..), kl(..) and accuracy(..) in `require` and `report`, in executables and their --eval: every figure
against NumPy on the decoded weights. A requirement that fails leaves what was there, and nothing beside it."""

import json
import os
import re
import tempfile

import numpy

from testing import CMPC, EXAMPLES, bytes_of, call, check, cmpc, finish, write_text
import llama

MODEL = os.path.join(EXAMPLES, "tiny-llama")


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - numpy.log(numpy.exp(x).sum(-1, keepdims=True))


def figures_of(values):
    return values.mean(), values.std(ddof=1) / len(values) ** 0.5


def wanted_figures(before, after, rows):
    """(perplexity of the original, of the result, kl), each with its standard error."""
    losses, divergences = [[], []], []
    for row in rows:
        logs = []
        for number, model in enumerate((before, after)):
            logits = llama.forward(*model, row)
            logs.append(log_softmax(logits[:-1]))
            losses[number].append(llama.losses(logits, row))
        divergences.append((numpy.exp(logs[0]) * (logs[0] - logs[1])).sum(-1))
    out = []
    for own in losses:
        mean, error = figures_of(numpy.concatenate(own))
        out.append((numpy.exp(mean), numpy.exp(mean) * error))
    return out + [figures_of(numpy.concatenate(divergences))]


def decoded(folder, path):
    """The result with plain weights, as the reader in NumPy wants it."""
    plain = os.path.join(folder, "plain")
    os.makedirs(plain, exist_ok=True)
    check(cmpc("decode", path, "-o", os.path.join(plain, "model.safetensors"))[0] == 0, "decode")
    with open(os.path.join(MODEL, "config.json")) as file:
        config = json.load(file)
    return llama.read_tensors(os.path.join(plain, "model.safetensors")), config


def is_close(found, wanted, within=2e-4):
    return abs(found - wanted) <= within * abs(wanted) + 1e-9


def check_figures(name, figures, wanted):
    perplexity, kl = figures
    for key, value in zip(("original", "original_standard_error", "value", "standard_error"), wanted[0] + wanted[1]):
        check(is_close(perplexity[key], value), f"{name}: perplexity, {key} {perplexity[key]}, not {value}")
    for key, value in zip(("value", "standard_error"), wanted[2]):
        check(is_close(kl[key], value, 2e-3), f"{name}: kl, {key} {kl[key]}, not {value}")
    check(perplexity["tokens"] == kl["tokens"] == 4 * 39, f"{name}: {perplexity['tokens']} tokens")


def program(folder, output, statements, dtype="int8"):
    path = os.path.join(folder, "program.cmp")
    write_text(path, f'model m from "{MODEL}"\ndata d from "rows.npy"\npipeline p of m {{\n'
                     f'  quantize.rtn(dtype: {dtype}) on linear\n  {statements}\n  save "{output}"\n}}\n')
    return path


def check_report(folder, rows, output):
    """A run tells what NumPy finds, and so does --eval of it, with another memory limit and other threads."""
    path = os.path.join(folder, output)
    source = program(folder, path, "require perplexity(d) <= 1.2 * original  require kl(d) < 0.5\n"
                                   "  report perplexity(d), kl(d)")
    built = os.path.join(folder, "program")
    call(CMPC, "build", source, "-o", built)
    report = json.loads(call(built, "--json", "--threads", "2").splitlines()[-1])
    wanted = wanted_figures(llama.read_checkpoint(MODEL), decoded(folder, path), rows)
    check_figures(output, report["figures"], wanted)
    again = json.loads(call(built, "--eval", "--json", "--threads", "1"))["figures"]
    check(again == report["figures"], f"{output}: --eval tells {again}, the run {report['figures']}")
    text = call(built, "--eval")
    check(re.search(r"^perplexity\(d\): \S+ \+- \S+, of the original \S+ \+- \S+ \(156 tokens\)$", text,
                    re.M) is not None, text)


def check_container(folder):
    """The same weights in a GGUF, whose readers want queries and keys in another order, are the same network."""
    found = []
    for name in "q8.gguf", "q8.safetensors":
        source = program(folder, os.path.join(folder, name), "report perplexity(d), kl(d)", "q8_0")
        found.append(json.loads(call(CMPC, "run", source, "--json").splitlines()[-1])["figures"])
    for gguf, plain in zip(*found):
        check(is_close(gguf["value"], plain["value"], 1e-3), f"in a GGUF: {gguf}, in safetensors: {plain}")


def check_failure(folder):
    """What was there stays; nothing is beside it; one line with both sides and their standard errors."""
    output = os.path.join(folder, "result.safetensors")
    before, names = bytes_of(output), sorted(os.listdir(folder))
    source = program(folder, output, "require perplexity(d) <= 0.5 * original")
    status, _, errors = cmpc("run", source)
    check(status == 1 and errors.count("\n") == 1, f"status {status}: {errors}")
    check(re.fullmatch(r"error: require perplexity\(d\) <= 0\.5 \* original failed: perplexity\(d\) is \S+ \+- \S+, "
                       r"of the original \S+ \+- \S+ \(156 tokens\), and at most [0-9.e+]+ was asked for; nothing "
                       r"was saved\n", errors) is not None, errors)
    check(bytes_of(output) == before, "the result that was there is another")
    check(sorted(os.listdir(folder)) == names, f"left behind: {sorted(os.listdir(folder))}")
    status, _, errors = cmpc("run", source, "--output", os.path.join(folder, "none.safetensors"))
    check(status == 1 and sorted(os.listdir(folder)) == names, f"left behind: {sorted(os.listdir(folder))}")


def check_eval(folder, rows):
    """The table of `cmpc eval` has the same divergence."""
    source = program(folder, "out.safetensors", "")
    status, text, errors = cmpc("eval", source, "--json")
    check(status == 0, errors)
    found = [json.loads(line)["data"]["d"] for line in text.splitlines()]
    wanted = wanted_figures(llama.read_checkpoint(MODEL), decoded(folder, os.path.join(folder, "result")), rows)
    check("kl" not in found[0] and is_close(found[1]["kl"], wanted[2][0], 2e-3), f"{found}, not {wanted}")
    check(is_close(found[1]["kl_standard_error"], wanted[2][1], 2e-3), f"{found}, not {wanted}")


def check_spilled(folder):
    """A limit that has no room for states: they are in a file without a name, and the numbers are the same."""
    count, length = 160, 128
    rows = numpy.random.default_rng(5).integers(0, 512, (count, length))
    numpy.save(os.path.join(folder, "rows.npy"), rows.astype(numpy.int32))
    output = os.path.join(folder, "spilled.safetensors")
    source, built = program(folder, output, "report perplexity(d)"), os.path.join(folder, "program")
    call(CMPC, "build", source, "-o", built)
    call(built, "--quiet")
    wide, place = call(built, "--eval"), os.path.join(folder, "tmp")
    os.mkdir(place)
    os.environ["TMPDIR"] = place
    least = re.search(r"the smallest that works is ([0-9]+)MiB", call(built, "--eval", "--memory", "1MiB", wants=1))
    check(least is not None, "too little memory is not told")
    limit = int(least[1]) + 3 if least else 1024  # what layers hand on is more than those three
    narrow = call(built, "--eval", "--memory", f"{limit}MiB")
    check(narrow == wide, f"in {limit} MiB: {narrow}, without a limit: {wide}")
    check(os.listdir(place) == [], f"left behind: {os.listdir(place)}")
    del os.environ["TMPDIR"]


def main():
    generator = numpy.random.default_rng(11)
    with tempfile.TemporaryDirectory() as folder:
        rows = [generator.integers(0, 512, 40) for _ in range(4)]
        numpy.save(os.path.join(folder, "rows.npy"), numpy.array(rows, numpy.int32))
        check_report(folder, rows, "result")
        check_report(folder, rows, "result.safetensors")
        check_container(folder)
        check_failure(folder)
        check_eval(folder, rows)
        check_spilled(folder)
    finish("metrics")


main()
