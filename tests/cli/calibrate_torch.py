#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""GPTQ, SparseGPT and Wanda against tests/reference/compress_torch.py: layer by layer, on the rows that meet each matrix
in the network as our run left it. Output errors are at most 1% above the reference's; of masks 99.9% are the same where
no error was carried from other columns, else 99%.

The checkpoint is that of examples/tiny-llama, bf16; where ../shared is there, stories260K too. Skipped without PyTorch."""
import os
import tempfile

os.environ["OPENBLAS_NUM_THREADS"] = "1"
from testing import CMPC, EXAMPLES, SHARED, call, check, finish, skip

try:
    import numpy
    import torch
except ImportError:
    skip("no PyTorch")
import compress_torch as reference
import llama

torch.set_num_threads(1)
LAZY = 128


def compress(folder, model, name, statements):
    """What a pipeline with these statements makes of the model: {name: f64 array}"""
    with open(os.path.join(folder, name + ".cmp"), "w", encoding="utf-8") as file:
        file.write(f'model m from "{model}"\ndata d from "tokens.npy"\n')
        file.write(f'pipeline p of m {{\n  {statements}\n  save "{name}.safetensors"\n}}\n')
    at = os.path.join(folder, name)
    call(CMPC, "run", at + ".cmp", "--output", at + ".safetensors")
    call(CMPC, "decode", at + ".safetensors", "-o", at + "-f32.safetensors")
    return llama.read_tensors(at + "-f32.safetensors")


def matrices(tensors, config, rows, found):
    """Of each matrix of the layers: its layer, its name, itself as it was and as it is, and the rows that meet it."""
    states = [tensors["model.embed_tokens.weight"][tokens] for tokens in rows]
    for layer in range(config["num_hidden_layers"]):
        before, after = llama.layer_weights(tensors, layer), llama.layer_weights(found, layer)
        met = [llama.run_layer(before, config, x)[1] for x in states]
        for name in met[0]:
            x = numpy.concatenate([m[name] for m in met])
            yield layer, name, *(torch.tensor(a, dtype=torch.float32) for a in (before[name], after[name], x))
        states = [llama.run_layer(after, config, x)[0] for x in states]


def error(w, q, x):
    """|x (w - q)'| / |x w'|"""
    w, q, x = w.double(), q.double(), x.double()
    return (torch.linalg.norm(x @ (w - q).T) / torch.linalg.norm(x @ w.T)).item()


class Checkpoint:
    def __init__(self, folder, model, rows):
        self.folder, self.model, self.rows = folder, model, rows
        self.tensors, self.config = llama.read_checkpoint(model)
        table = -numpy.ones((len(rows), max(map(len, rows))), numpy.int32)
        for row, tokens in zip(table, rows):
            row[: len(tokens)] = tokens
        numpy.save(os.path.join(folder, "tokens.npy"), table)

    def compare(self, name, statements, make, is_mask=False):
        """make(layer, w, x) is the reference."""
        found = compress(self.folder, self.model, name, statements)
        worst, first, all_over = 0, [], []
        for layer, tensor, w, q, x in matrices(self.tensors, self.config, self.rows, found):
            wanted = make(layer, w, x)
            ours, theirs = error(w, q, x), error(w, wanted, x)
            worst = max(worst, ours / theirs if theirs else 1)
            check(ours <= 1.01 * theirs, f"{name}: layer {layer} {tensor}: error {ours:.5f}, not {theirs:.5f}")
            same = (q == 0) == (wanted == 0)
            first.append(same[:, :LAZY].reshape(-1))
            all_over.append(same.reshape(-1))
        print(f"{name}: the largest error is {worst:.4f} of the reference's", flush=True)
        if is_mask:
            first, all_over = (torch.cat(s).float().mean().item() for s in (first, all_over))
            print(f"{name}: the same masks in {first:.5f} of the first columns, {all_over:.5f} of all", flush=True)
            check(first >= 0.999 and all_over >= 0.99, f"{name}: other masks")


def check_gptq(model):
    """Each layer has groups of its own: 32, 64, 128."""
    for bits in (4, 3, 2):
        model.compare(
            f"gptq-{bits}",
            f"quantize.gptq(dtype: int{bits}(group: 32 * 2^layer), data: d) on linear",
            lambda layer, w, x, bits=bits: reference.gptq(w, x, reference.Grid(bits, 32 * 2**layer)),
        )
    model.compare(
        "gptq-asymmetric",
        "quantize.gptq(dtype: int3_asym(group: 64), data: d, act_order: layer > 0) on linear",
        lambda layer, w, x: reference.gptq(w, x, reference.Grid(3, 64, symmetric=False), act_order=layer > 0),
    )


def check_gptq_small(model):
    """Bits and groups by the layer; the rows of some matrices are no whole number of groups."""
    group = "group: 32 + 32 * (layer % 2)"
    dtype = f"if layer % 3 == 0 then int4({group}) else if layer % 3 == 1 then int3({group}) else int2({group})"

    def make(layer, w, x):
        grid = reference.Grid((4, 3, 2)[layer % 3], 32 + 32 * (layer % 2), stored=torch.float32)
        return w if w.shape[1] % grid.group else reference.gptq(w, x, grid)

    model.compare("gptq", f"quantize.gptq(dtype: {dtype}, data: d) on linear except ffn_down", make)


def check_wanda(model):
    model.compare(
        "wanda",
        "prune.wanda(sparsity: 50%, data: d) on linear and layer 0\n  prune.wanda(n: 2, m: 4, data: d) on linear except layer 0",
        lambda layer, w, x: reference.wanda(w, x, **({"n": 2, "m": 4} if layer else {"sparsity": 0.5})),
        is_mask=True,
    )


def check_sparsegpt(model):
    model.compare(
        "sparsegpt",
        "prune.sparsegpt(sparsity: 50%, data: d) on linear and layer 0\n"
        "  prune.sparsegpt(sparsity: 70%, data: d) on linear and layer 1\n"
        "  prune.sparsegpt(n: 2, m: 4, data: d) on linear except layer 0..2",
        lambda layer, w, x: reference.sparsegpt(w, x, **({"n": 2, "m": 4} if layer > 1 else {"sparsity": (0.5, 0.7)[layer]})),
        is_mask=True,
    )


def check_both(model):
    """What pruning made zero stays zero, and the codes make up for their own errors."""
    name = "pruned-gptq"
    found = compress(
        model.folder,
        model.model,
        name,
        "prune.sparsegpt(n: 2, m: 4, data: d) on linear\n  quantize.gptq(dtype: int4(group: 64), data: d) on linear",
    )
    for layer, tensor, w, q, x in matrices(model.tensors, model.config, model.rows, found):
        pruned = reference.sparsegpt(w, x, n=2, m=4)
        zeros = (q.view(len(q), -1, 4) == 0).sum(2)
        check((zeros >= 2).all(), f"{name}: layer {layer} {tensor}: no two of four are zero")
        rounded = torch.zeros_like(w)
        grid = reference.Grid(4, 64)
        for j in range(0, w.shape[1], 64):
            fit = grid.fit(pruned[:, j : j + 64])
            rounded[:, j : j + 64] = torch.stack([grid.value(fit, c) for c in pruned[:, j : j + 64].T], 1)
        ours, nearest = error(w, q, x), error(w, rounded, x)
        check(ours < nearest, f"{name}: layer {layer} {tensor}: error {ours:.5f}, rounded to nearest {nearest:.5f}")


def main():
    generator = numpy.random.default_rng(5)
    with tempfile.TemporaryDirectory() as folder:
        model = Checkpoint(
            folder,
            os.path.join(EXAMPLES, "tiny-llama"),
            [generator.integers(0, 512, count) for count in (300, 250, 200, 2, 33)],
        )
        check_gptq(model)
        check_wanda(model)
        check_sparsegpt(model)
        check_both(model)
    with tempfile.TemporaryDirectory() as folder:
        stories = os.path.join(SHARED, "models", "stories260K")
        if os.path.isdir(stories):
            model = Checkpoint(folder, stories, [generator.integers(3, 512, 200) for _ in range(4)])
            check_gptq_small(model)
            check_wanda(model)
            check_sparsegpt(model)
    finish("calibrate_torch")


main()
