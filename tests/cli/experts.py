#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GPTQ, SparseGPT and Wanda of networks with experts against PyTorch: each expert on the tokens that are sent to it and no
others, layer by layer as our run left the network, an expert that no token is sent to, and experts that are one tensor
of the file. Skipped where PyTorch is not installed."""
import json
import os
import re
import tempfile

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
from testing import CMPC, call, check, finish, skip, write_safetensors, write_text

try:
    import numpy
    import torch
except ImportError:
    skip("PyTorch is not installed")
import compress_torch as reference
import networks
from decode_reference import read_gguf
from llama import read_tensors

torch.set_num_threads(1)
GRID = reference.Grid(4, 16, stored=torch.float32)
DECODER = {**networks.DECODER, "hidden_size": 64, "intermediate_size": 96}
MIXTRAL = {**DECODER, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 1}
QWEN = {**DECODER, "model_type": "qwen2_moe", "num_experts": 5, "num_experts_per_tok": 2, "decoder_sparse_step": 1,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64, "norm_topk_prob": False}
STACKS = {"w1": "gate", "w2": "down", "w3": "up"}


class Watched(networks.Checkpoint):
    """Keeps what meets its matrices."""

    def __init__(self, tensors):
        super().__init__(0)
        self.update(tensors)
        self.rows = {}

    def run_linear(self, name, x):
        self.rows.setdefault(name + ".weight", []).append(x.reshape(-1, x.shape[-1]))
        return super().run_linear(name, x)


def layer_of(name):
    found = re.search(r"layers\.(\d+)\.", name)
    return int(found[1]) if found else -1


def rows_met(tensors, found, config, samples, layer):
    """With the layers before this one as we made them."""
    mixed = Watched({n: found[n] if 0 <= layer_of(n) < layer else w for n, w in tensors.items()})
    for tokens in samples:
        networks.run_decoder(mixed, config, torch.tensor(tokens))
    return {n: torch.cat(x).float() for n, x in mixed.rows.items() if layer_of(n) == layer}


def squared(w, x):
    return (x.double() @ w.double().T).square().sum().item()


def stacked(tensors):
    """Experts as a GGUF has them."""
    turned = {}
    for name, values in tensors.items():
        found = re.fullmatch(r"model\.layers\.(\d+)\.block_sparse_moe\.experts\.0\.(w\d)\.weight", name)
        if found:
            members = [tensors[name.replace("experts.0", f"experts.{e}")] for e in range(MIXTRAL["num_local_experts"])]
            turned[f"blk.{found[1]}.ffn_{STACKS[found[2]]}_exps.weight"] = torch.stack(members)
        elif ".experts." not in name:
            turned[name] = values
    return turned


class Model:
    def __init__(self, folder, tensors, config, samples):
        self.folder, self.tensors, self.config, self.samples = folder, tensors, config, samples
        self.write("apart", tensors)
        table = -numpy.ones((len(samples), max(map(len, samples))), numpy.int32)
        for row, tokens in zip(table, samples):
            row[: len(tokens)] = tokens
        numpy.save(os.path.join(folder, "tokens.npy"), table)

    def write(self, name, tensors):
        os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        write_safetensors(os.path.join(self.folder, name, "model.safetensors"),
            {n: ("F32", v.shape, v.float().numpy().tobytes()) for n, v in tensors.items()})
        write_text(os.path.join(self.folder, name, "config.json"), json.dumps(self.config))

    def run(self, statement, name="apart"):
        """What the pipeline makes of it, and what it says."""
        at, out, plain = (os.path.join(self.folder, name) for name in ("p.cmp", "out", "plain.safetensors"))
        write_text(at, f'model m from "{name}"\ndata d from "tokens.npy"\npipeline p of m {{ {statement} on linear save "out" }}\n')
        said = call(CMPC, "run", at, "--output", out, "--force")
        call(CMPC, "decode", out, "-o", plain)
        found = read_tensors(plain)
        return {n: torch.tensor(v) for n, v in found.items()}, said

    def compare(self, what, statement, make, unmet, is_mask=False):
        """Outputs of the experts of a layer, those of a kind together; `unmet` is what becomes of matrices that no row meets.
        Returns how many these are."""
        found, said = self.run(statement)
        worst, masks, few, dark = 0, [], 0, 0
        for layer in range(self.config["num_hidden_layers"]):
            rows, errors = rows_met(self.tensors, found, self.config, self.samples, layer), {}
            for name in [n for n in found if layer_of(n) == layer and ".experts." in n]:
                w, q = self.tensors[name].float(), found[name].float()
                told = re.search(re.escape(name) + r": (damping inf|largest input 0)\n", said) is not None
                check(told == (name not in rows), f"{what}: {name}: what is said of its inputs", said)
                if name not in rows:
                    dark += 1
                    check((q - unmet(w)).abs().max() < 1e-6, f"{what}: {name}, which no row meets")
                    continue
                few += len(rows[name]) < w.shape[1]
                wanted, x = make(w, rows[name]), rows[name]
                masks.append(((q == 0) == (wanted == 0)).reshape(-1))
                errors.setdefault(name.split(".")[-2], []).append((squared(w - q, x), squared(w - wanted, x)))
            for kind, pairs in errors.items():
                ours, theirs = (sum(error) ** 0.5 for error in zip(*pairs))
                worst = max(worst, ours / theirs)
                check(ours <= 1.01 * theirs, f"{what}: layer {layer} {kind}: error {ours:.5f}, not {theirs:.5f}")
        same = torch.cat(masks).float().mean().item()
        check(not is_mask or same > 0.99, f"{what}: {same} of the masks")
        print(f"{what}: the largest error is {worst:.4f} of PyTorch's; {few} matrices with fewer rows than columns, "
              f"{dark} without" + (f"; {same:.5f} of the masks are the same" if is_mask else ""), flush=True)
        return dark


def check_importance(model):
    """Columns of a format that searches for its scales weigh as what meets them; of the first layer, which sees what it did."""
    tensors, config = model.tensors, model.config
    rows = rows_met(tensors, tensors, config, model.samples, 0)
    write_safetensors(os.path.join(model.folder, "importance.safetensors"),
        {n: ("F32", x.shape[1:], x.square().mean(0).numpy().tobytes()) for n, x in rows.items() if ".experts." in n})
    found, wanted = (model.run(f"quantize.rtn(q4_0, {given})")[0] for given in
        ("data: d", 'importance: tensor("importance.safetensors", "{name}", none)'))
    same = torch.cat([(found[n] == wanted[n]).reshape(-1) for n in rows if ".experts." in n]).float().mean().item()
    check(same > 0.99, f"importance: {same} of the weights")
    print(f"{config['model_type']}, importance: {same:.5f} of the weights are what PyTorch's means make of them", flush=True)


def check_saved(model, tensors):
    """Sums of squares and counts of each expert's tokens, the experts of a layer in one array as llama.cpp has them."""
    config, at = model.config, os.path.join(model.folder, "i.gguf")
    write_text(os.path.join(model.folder, "i.cmp"),
        f'model m from "apart"\ndata d from "tokens.npy"\npipeline p of m {{ stat.imatrix(data: d) on linear save "{at}" }}\n')
    call(CMPC, "run", os.path.join(model.folder, "i.cmp"))
    found = {n: numpy.frombuffer(data, "<f4", int(numpy.prod(shape)), start).reshape(shape)
             for n, (_, shape, data, start) in read_gguf(at).items()}
    for layer in range(config["num_hidden_layers"]):
        rows = rows_met(tensors, tensors, config, model.samples, layer)
        for kind, exported in STACKS.items():
            sums, counts = (found[f"blk.{layer}.ffn_{exported}_exps.weight.{what}"] for what in ("in_sum2", "counts"))
            met = [rows.get(f"model.layers.{layer}.block_sparse_moe.experts.{e}.{kind}.weight") for e in range(len(sums))]
            check(counts.tolist() == [[0 if x is None else len(x)] for x in met], f"saved: {exported} {counts}")
            wanted = numpy.array([0 * sums[0] if x is None else x.double().square().sum(0).numpy() for x in met])
            check((abs(sums - wanted) <= 1e-3 * wanted + 1e-6).all(), f"saved: {exported} of layer {layer}")


def main():
    generator = numpy.random.default_rng(6)
    samples = [generator.integers(0, 96, count) for count in (90, 60, 40)]
    with tempfile.TemporaryDirectory() as folder:
        tensors = networks.make_mixtral(MIXTRAL, 21)
        for layer in range(2): # between two others, never the largest
            router = tensors[f"model.layers.{layer}.block_sparse_moe.gate.weight"]
            router[3] = (router[0] + router[1]) / 2
        mixtral = Model(os.path.join(folder, "mixtral"), tensors, MIXTRAL, samples)
        qwen = Model(os.path.join(folder, "qwen"), networks.make_qwen2_moe(QWEN, 22), QWEN, samples[1:])
        for name, model in (("mixtral", mixtral), ("qwen2_moe", qwen)):
            dark = model.compare(f"{name}, gptq", "quantize.gptq(dtype: int4(group: 16), data: d)",
                lambda w, x: reference.gptq(w, x, GRID), lambda w: reference.rounded(w, GRID))
            check((dark == 6) == (name == "mixtral"), f"{name}: {dark} matrices that no row meets")
            model.compare(f"{name}, sparsegpt", "prune.sparsegpt(n: 2, m: 4, data: d)",
                lambda w, x: reference.sparsegpt(w, x, n=2, m=4), lambda w: reference.wanda(w, torch.ones_like(w), n=2, m=4), True)
            model.compare(f"{name}, wanda", "prune.wanda(data: d)", reference.wanda,
                lambda w: reference.wanda(w, torch.ones_like(w)), True)
            check_importance(model)
        check_saved(mixtral, tensors)
        mixtral.write("stacked", stacked(tensors))
        for statement in ("quantize.gptq(dtype: int4(group: 16), data: d)", "prune.wanda(data: d)", "quantize.rtn(q4_0, data: d)"):
            (apart, _), (one, said) = (mixtral.run(statement, name) for name in ("apart", "stacked"))
            wanted = stacked(apart)
            dark = re.findall(r"_exps\.weight\[(\d)\]: (?:damping inf|largest input 0)\n", said)
            check(dark == 6 * ["3"], f"{statement}: {dark} are said to have no input", said)
            check(sorted(one) == sorted(wanted) and all((one[n] == wanted[n]).all() for n in one),
                f"{statement}: experts in one tensor are what they are in several")
    finish("experts")


main()
