#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stdlib's nets against PyTorch in f64, on small random checkpoints: all the logits, or hidden states, of samples of
several lengths. Skipped where PyTorch is not installed."""

import json
import os
import tempfile

import numpy

from testing import check, cmpc, finish, skip, write_safetensors

try:
    import torch
except ImportError:
    skip("PyTorch is not installed")
import networks

TOLERANCE = 1e-4


def write_model(folder, tensors, config):
    write_safetensors(os.path.join(folder, "model.safetensors"),
        {n: ("F32", v.shape, v.to(torch.float32).numpy().tobytes()) for n, v in tensors.items()})
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)


def write_rows(folder, rows):
    table = -numpy.ones((len(rows), max(map(len, rows))), numpy.int32)
    for row, tokens in zip(table, rows):
        row[: len(tokens)] = tokens
    numpy.save(os.path.join(folder, "tokens.npy"), table)


def compare(folder, what, tensors, config, run, rows):
    """Every array that the reference gives."""
    write_model(folder, tensors, config)
    write_rows(folder, rows)
    wanted = [run(tensors, config, torch.tensor(row)) for row in rows]
    program, out = (os.path.join(folder, name) for name in ("eval.cmp", "out.npy"))
    with open(program, "w") as file:
        file.write('model m from "."\ndata d from "tokens.npy"\n')
    for name in wanted[0]:
        status, _, errors = cmpc("eval", program, "--array", name, "-o", out)
        check(status == 0, f"{what}, {name}: {errors}")
        if status:
            return
        found, full = numpy.load(out), torch.cat([w[name] for w in wanted]).numpy()
        check(found.shape == full.shape, f"{what}, {name}: {found.shape}, not {full.shape}")
        off = abs(found - full).max()
        check(off < TOLERANCE, f"{what}, {name}: off by {off}")
        print(f"{what}, {name}: off by {off:.1e} of {abs(full).max():.1f}")


def check_qwen2(folder, rows):
    config = {**networks.DECODER, "model_type": "qwen2"}
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    for what, changes in [
        ("qwen2", {}),
        ("qwen2, tied", {"tie_word_embeddings": True}),
        ("qwen2, yarn", {"rope_scaling": yarn, "max_position_embeddings": 64}),
        ("qwen2, a window that is not used", {"use_sliding_window": False, "sliding_window": 5}),
        ("qwen2, a window", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0}),
        ("qwen2, a window of later layers", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    ]:
        own = {**config, **changes}
        compare(folder, what, networks.make_decoder(own, 1, biases=True), own, networks.run_decoder, rows)


def main():
    generator = numpy.random.default_rng(4)
    rows = [generator.integers(0, 96, count) for count in (33, 2, 17)]
    with tempfile.TemporaryDirectory() as folder:
        check_qwen2(folder, rows)
    finish("networks")


main()
