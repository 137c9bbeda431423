#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A network that stdlib does not know, examples/own_net: its convolutions, with windows that are arrays and windows that
stand in the sum, against NumPy in f64; the masks of Wanda on its kernels through all layers; GPTQ's codes of them
decoded, as the axes of the kernels are, evaluated, and better than rounding.
"""

import json
import os
import re
import shutil
import tempfile

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy

from testing import CMPC, EXAMPLES, call, check, finish, write_text
import llama

OWN = os.path.join(EXAMPLES, "gated-conv")
PARTS = ("value.weight", "gate.weight", "out.weight")


def windows(x, taps):
    """(t, d * taps): the last tap meets the token itself."""
    padded = numpy.concatenate([numpy.zeros((taps - 1, x.shape[1])), x])
    return numpy.stack([padded[k : k + len(x)] for k in range(taps)], 2).reshape(len(x), -1)


def run_layer(w, eps, x):
    """The layer's outcome, and the rows that meet each of its weights."""
    past = windows(llama.rms_norm(x, w["norm.weight"], eps), w["value.weight"].shape[2])
    value, gate = (past @ w[p + ".weight"].reshape(len(w[p + ".bias"]), -1).T + w[p + ".bias"] for p in ("value", "gate"))
    opened = value / (1 + numpy.exp(-gate))
    return x + opened @ w["out.weight"].T, dict(zip(PARTS, (past, past, opened)))


def layer_weights(tensors, layer):
    prefix = f"blocks.{layer}."
    return {name[len(prefix) :]: values for name, values in tensors.items() if name.startswith(prefix)}


def logits(tensors, config, tokens):
    x = tensors["embed.weight"][tokens]
    for layer in range(config["num_layers"]):
        x, _ = run_layer(layer_weights(tensors, layer), config["norm_eps"], x)
    return llama.rms_norm(x, tensors["norm.weight"], config["norm_eps"]) @ tensors["embed.weight"].T


def wanda(w, x):
    score = abs(w.reshape(len(w), -1)) * numpy.sqrt((x * x).sum(0))
    rank = numpy.argsort(numpy.argsort(score, axis=1, kind="stable"), axis=1)
    return numpy.where(rank.reshape(w.shape) < score.shape[1] // 2, 0, w)


def prune(tensors, config, rows):
    """All layers in turn, each with what the pruned ones before it make."""
    out = dict(tensors)
    xs = [tensors["embed.weight"][tokens] for tokens in rows]
    for layer in range(config["num_layers"]):
        w = layer_weights(out, layer)
        met = [run_layer(w, config["norm_eps"], x)[1] for x in xs]
        for part in PARTS:
            w[part] = out[f"blocks.{layer}.{part}"] = wanda(w[part], numpy.concatenate([m[part] for m in met]))
        xs = [run_layer(w, config["norm_eps"], x)[0] for x in xs]
    return out


class Folder:
    """Programs with the example's network, on rows of tokens."""

    def __init__(self, path, rows):
        self.path = path
        with open(os.path.join(EXAMPLES, "own_net", "own_net.cmp"), encoding="utf-8") as file:
            self.net = file.read().split("\nmodel ")[0]
        table = -numpy.ones((len(rows), max(map(len, rows))), numpy.int32)
        for row, tokens in zip(table, rows):
            row[: len(tokens)] = tokens
        numpy.save(os.path.join(path, "tokens.npy"), table)

    def write(self, name, model, pipeline="", net=None):
        program = os.path.join(self.path, name + ".cmp")
        write_text(program, f'{net or self.net}\nmodel m from "{model}"\ndata d from "tokens.npy"\n{pipeline}\n')
        return program

    def logits(self, net=None):
        out = os.path.join(self.path, "logits.npy")
        call(CMPC, "eval", self.write("logits", OWN, net=net), "--array", "logits", "-o", out)
        return numpy.load(out)

    def compress(self, name, statements):
        """A checkpoint that a network can read."""
        at = os.path.join(self.path, name)
        program = self.write(name, OWN, f'pipeline p of m {{\n  {statements}\n  save "{name}"\n}}')
        call(CMPC, "run", program, "--quiet", "--output", at)
        os.mkdir(at + "-plain")
        call(CMPC, "decode", at, "-o", os.path.join(at + "-plain", "model.safetensors"))
        shutil.copy(os.path.join(OWN, "config.json"), at + "-plain")
        return at + "-plain"

    def perplexity(self, model):
        said = re.match(r"perplexity\(d\) = ([0-9.]+)", call(CMPC, "eval", self.write("eval", model)))
        return float(said[1])


def check_logits(folder, tensors, config, rows):
    wanted = numpy.concatenate([logits(tensors, config, tokens) for tokens in rows])
    inline = re.sub(r"\n *past\[[^\n]*", "", folder.net)
    inline = inline.replace("past[t, d, k]", "(if t + k < back then 0 else y[t + k - back, d])")
    check(inline != folder.net, "the net has windows")
    found = [folder.logits(), folder.logits(inline)]
    for values, what in zip(found, ("an array", "in the sum")):
        check(abs(values - wanted).max() < 1e-4, f"windows {what}: logits off by {abs(values - wanted).max()}")
    return wanted


def check_wanda(folder, tensors, config, rows):
    found = llama.read_tensors(os.path.join(folder.compress("wanda", "prune.wanda(sparsity: 50%, data: d) on linear"),
        "model.safetensors"))
    wanted = prune(tensors, config, rows)
    same = sum((found[n] == wanted[n]).sum() for n in tensors)
    count = sum(v.size for v in tensors.values())
    check(same >= 0.9999 * count, f"wanda: {count - same} of {count} weights differ")
    check((found["blocks.3.gate.weight"] == 0).mean() >= 0.5, "wanda: not half zeros")


def check_gptq(folder, tensors, config, rows):
    """On the rows of the first layer, which are the same whatever became of its weights."""
    statements = {"gptq": "quantize.gptq(dtype: q4_0, data: d) on linear", "rtn": "quantize.rtn(q4_0) on linear"}
    folders = {name: folder.compress(name, text) for name, text in statements.items()}
    results = {name: llama.read_tensors(os.path.join(at, "model.safetensors")) for name, at in folders.items()}
    w = layer_weights(tensors, 0)
    met = [run_layer(w, config["norm_eps"], tensors["embed.weight"][tokens])[1] for tokens in rows]
    for part in PARTS:
        x = numpy.concatenate([m[part] for m in met])
        off = {n: numpy.linalg.norm(x @ (r["blocks.0." + part] - w[part]).reshape(len(w[part]), -1).T)
               for n, r in results.items()}
        check(off["gptq"] < 0.8 * off["rtn"], f"gptq: {part} is off by {off['gptq']}, rounded by {off['rtn']}")
    loss = numpy.concatenate([llama.losses(logits(results["gptq"], config, row), row) for row in rows])
    found = folder.perplexity(folders["gptq"])
    check(abs(found / numpy.exp(loss.mean()) - 1) < 2e-5, f"gptq: perplexity {found}, not {numpy.exp(loss.mean())}")


def main():
    generator = numpy.random.default_rng(11)
    tensors, config = llama.read_checkpoint(OWN)
    rows = [generator.integers(0, 512, count) for count in (300, 120, 60, 2, 33)]
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path, rows)
        check_logits(folder, tensors, config, rows)
        check_wanda(folder, tensors, config, rows)
        check_gptq(folder, tensors, config, rows)
    finish("own_net")


main()
