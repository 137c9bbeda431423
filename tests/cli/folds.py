#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Families that share an input, and what is folded into it: AWQ and SmoothQuant against PyTorch (their factors, seen in
what the checkpoint has become, and output errors), networks that are the same function afterwards, networks with outliers,
biases that keep mean outputs what they were, and what is refused.
Skipped without PyTorch."""
import os
import tempfile

os.environ["OPENBLAS_NUM_THREADS"] = "1"
from testing import CMPC, call, check, cmpc, finish, skip, write_safetensors, write_text

try:
    import numpy
    import torch
except ImportError:
    skip("no PyTorch")
import json
import re

import compress_torch as reference
import llama
import networks

torch.set_num_threads(1)
LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "max_position_embeddings": 64, "tie_word_embeddings": False,
}
# Matrices that read one array, and what makes it.
FAMILIES = [
    ("self_attn.q_proj self_attn.k_proj self_attn.v_proj", "input_layernorm"),
    ("self_attn.o_proj", "self_attn.v_proj"),
    ("mlp.gate_proj mlp.up_proj", "post_attention_layernorm"),
    ("mlp.down_proj", "mlp.up_proj"),
]


def write_model(folder, tensors, config):
    folder = os.path.join(folder, "model")
    os.makedirs(folder, exist_ok=True)
    write_safetensors(os.path.join(folder, "model.safetensors"),
        {n: ("F32", v.shape, v.to(torch.float32).numpy().tobytes()) for n, v in tensors.items()})
    write_text(os.path.join(folder, "config.json"), json.dumps(config))


def write_rows(folder, rows):
    table = -numpy.ones((len(rows), max(map(len, rows))), numpy.int32)
    for row, tokens in zip(table, rows):
        row[: len(tokens)] = tokens
    numpy.save(os.path.join(folder, "tokens.npy"), table)


def write_program(folder, statements):
    path = os.path.join(folder, "p.cmp")
    write_text(path, 'model m from "model"\ndata d from "tokens.npy"\n'
        f'pipeline p of m {{\n  {statements}\n  save "out/model.safetensors"\n}}\n')
    return path


def read_result(folder):
    call(CMPC, "decode", os.path.join(folder, "out", "model.safetensors"), "-o", os.path.join(folder, "f32.safetensors"))
    return llama.read_tensors(os.path.join(folder, "f32.safetensors"))


def compress(folder, statements):
    out = os.path.join(folder, "out")
    os.makedirs(out, exist_ok=True)
    call(CMPC, "run", write_program(folder, statements), "--output", os.path.join(out, "model.safetensors"))
    return read_result(folder)


def logits_of(folder, model):
    program, out = os.path.join(folder, "eval.cmp"), os.path.join(folder, "logits.npy")
    write_text(program, f'model m from "{model}"\ndata d from "tokens.npy"\n')
    call(CMPC, "eval", program, "--array", "logits", "-o", out)
    return numpy.load(out)


def check_same(folder, what, tensors, config, statements, changed):
    """The network is the same function, and just the tensors whose names hold one of these words are others."""
    write_model(folder, tensors, config)
    found = compress(folder, statements)
    with open(os.path.join(folder, "out", "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    before, after = logits_of(folder, "model"), logits_of(folder, "out")
    off = abs(before - after).max() / abs(before).max()
    check(off < 1e-5, f"{what}: the logits are off by {off:.1e}")
    others = {n for n, w in tensors.items() if abs(found[n] - w.double().numpy()).max() > 1e-3 * w.abs().max()}
    wanted = {n for n in tensors if any(word in n for word in changed)}
    check(others == wanted, f"{what}: other tensors changed: {others ^ wanted}")
    print(f"{what}: the logits are off by {off:.1e}, {len(others)} tensors of {len(tensors)} changed")


def make_llama(config, generator):
    """Inputs of very different size, as large networks have them."""
    tensors = networks.make_decoder(config, 4)
    for name in tensors:
        if name.endswith("layernorm.weight"):
            tensors[name] = torch.tensor(numpy.exp(generator.normal(0, 0.7, 64)))
        if "_proj" in name and "down" not in name and "o_proj" not in name:
            tensors[name] = tensors[name] * 3
    return {name: w.float() for name, w in tensors.items()}


def check_families(folder, tensors, config, rows, statement, decide, then=None):
    """Layer by layer: all that a fold changes, from the factors that `decide` gives for rows in the network as our run
    left it so far."""
    write_model(folder, tensors, config)
    found = compress(folder, f"{statement} on linear")
    before = {n: w.double().numpy() for n, w in tensors.items()}
    states = [before["model.embed_tokens.weight"][tokens] for tokens in rows]
    for layer in range(config["num_hidden_layers"]):
        was, now = llama.layer_weights(before, layer), llama.layer_weights(found, layer)
        met = [llama.run_layer(was, config, x)[1] for x in states]
        wanted = {n: torch.tensor(w, dtype=torch.float32) for n, w in was.items()}
        factors = {}
        for members, _ in FAMILIES:
            names = [f"{n}.weight" for n in members.split()]
            x = torch.tensor(numpy.concatenate([m[names[0]] for m in met]), dtype=torch.float32)
            factors[members] = decide(
                [torch.tensor(was[n], dtype=torch.float32) for n in names], x, torch.tensor(now[names[0]]))
        for members, maker in FAMILIES:
            scale, name = factors[members], f"{maker}.weight"
            wanted[name] = wanted[name] / (scale if wanted[name].ndim == 1 else scale[:, None])
            for n in members.split():
                wanted[f"{n}.weight"] = wanted[f"{n}.weight"] * scale
        for name, w in wanted.items():
            if then and w.ndim == 2:
                then(layer, name, w, torch.tensor(now[name]))
                continue
            off = abs(now[name] / w.numpy() - 1).max()
            check(off < 1e-4, f"{statement}: layer {layer} {name}: off by {off:.1e}")
        states = [llama.run_layer(now, config, x)[0] for x in states]


def check_smooth(folder, tensors, config, rows):
    for alpha in (0.5, 0.8):
        check_families(folder, tensors, config, rows, f"smooth.quant(data: d, alpha: {alpha})",
            lambda matrices, x, now, alpha=alpha: reference.smooth(matrices, x, alpha))


class Awq:
    """Counts, over the families of a network, what is other than PyTorch has it. Grids with a zero point: in symmetric ones
    the largest element of each group lies between two codes, where the last bit decides."""

    def __init__(self, bits):
        self.grid, self.gains, self.ties, self.different, self.count = reference.Grid(bits, 32, False, torch.float32), [], 0, 0, 0

    def is_other(self, w, now):
        return abs(now - reference.rounded(w, self.grid)) > 1e-4 * w.abs().max()

    def decide(self, matrices, x, now):
        """The candidate that `now`, which is no other family's maker, was made with: one of the best, to rounding."""
        candidates = reference.awq(matrices, x, self.grid)
        best = min(error for error, _ in candidates)
        error, scale = min(candidates, key=lambda c: self.is_other(matrices[0] * c[1], now).sum().item())
        check(error <= 1.0001 * best, f"awq: an output error of {error}, the best is {best}")
        self.ties += error != best
        self.gains.append((error / candidates[0][0]) ** 0.5)
        return scale

    def then(self, layer, name, w, now):
        self.different += self.is_other(w, now).sum().item()
        self.count += w.numel()


def check_awq(folder, tensors, config, rows):
    for bits in (4, 3, 2):
        awq = Awq(bits)
        check_families(folder, tensors, config, rows, f"quantize.awq(dtype: int{bits}_asym(group: 32), data: d)", awq.decide, awq.then)
        check(awq.different <= 1e-3 * awq.count, f"awq, {bits} bits: {awq.different} of {awq.count} weights are others")
        check(max(awq.gains) <= 1 and min(awq.gains) < 0.95, f"awq, {bits} bits: nothing is gained: {awq.gains}")
        print(f"awq, {bits} bits: {awq.different} of {awq.count} weights are others than PyTorch's, {awq.ties} families have "
            f"factors as good as its; output errors are {min(awq.gains):.3f} to {max(awq.gains):.3f} of those of rounding")


def check_outliers(folder, tensors, config, rows):
    """As in large networks, a few channels are far larger than the others: 3 of 64 in what norms make, by 30, which the
    columns that read them take back. The network is the same function. Rounding loses these columns, AWQ keeps them."""
    large, channels = {n: w.clone() for n, w in tensors.items()}, [5, 23, 41]
    for name, w in large.items():
        if "layernorm" in name:
            w[channels] *= 30
        if re.search("[qkv]_proj|gate_proj|up_proj", name):
            w[:, channels] /= 30
    write_model(folder, tensors, config)
    plain = logits_of(folder, "model")
    write_model(folder, large, config)
    before = logits_of(folder, "model")
    check(abs(before - plain).max() < 1e-4 * abs(plain).max(), "outliers: another function")
    was = llama.layer_weights({n: w.double().numpy() for n, w in large.items()}, 0)
    states = [large["model.embed_tokens.weight"].double().numpy()[tokens] for tokens in rows]
    for bits, most in ((4, 0.6), (3, 0.9)):
        errors = {"quantize.rtn(": 0, "quantize.awq(data: d, ": 0}
        for method in errors:
            now = llama.layer_weights(compress(folder, f"{method}dtype: int{bits}(group: 32)) on linear"), 0)
            for x in states:
                met = [llama.run_layer(w, config, x)[1] for w in (was, now)]
                for n in (f"self_attn.{n}_proj.weight" for n in "qkv"):
                    outputs = [m[n] @ w[n].T for m, w in zip(met, (was, now))]
                    errors[method] += ((outputs[1] - outputs[0]) ** 2).sum()
        rounded, awq = (error**0.5 for error in errors.values())
        check(awq < most * rounded, f"outliers, {bits} bits: the error with AWQ is {awq / rounded:.3f} of rounding's")
        print(f"outliers, {bits} bits: the error of queries, keys and values with AWQ is {awq / rounded:.3f} of rounding's")


def check_mean(what, was, now, b, c, x):
    """x w' + b, in the mean over its rows, is what it was; without the new bias it is not."""
    mean = x.mean(0)
    scale = abs(was @ mean).mean()
    off, moved = (abs(was @ mean + b - now @ mean - d).max() / scale for d in (c, b))
    check(off < 1e-5, f"{what}: the mean output is {off:.1e} off")
    check(moved > 1e-3, f"{what}: nothing was to be corrected: {moved:.1e}")


def check_biases(folder, rows):
    """Queries, keys and values of a qwen2; all matrices of a gpt2, whose file has them the other way round."""
    config = {**networks.DECODER, "model_type": "qwen2"}
    tensors = {n: w.float() for n, w in networks.make_decoder(config, 1, biases=True).items()}
    write_model(folder, tensors, config)
    found = compress(folder, "bias.correct(data: d) on attn_q, attn_k, attn_v\n"
        "  quantize.rtn(dtype: int4(group: 16)) on linear")
    before = {n: w.double().numpy() for n, w in tensors.items()}
    states = [before["model.embed_tokens.weight"][tokens] for tokens in rows]
    for layer in range(config["num_hidden_layers"]):
        was, now = llama.layer_weights(before, layer), llama.layer_weights(found, layer)
        met = [llama.run_layer(was, config, x)[1] for x in states]
        for n in (f"self_attn.{n}_proj" for n in "qkv"):
            check_mean(f"qwen2 {layer} {n}", was[f"{n}.weight"], now[f"{n}.weight"], was[f"{n}.bias"], now[f"{n}.bias"],
                numpy.concatenate([m[f"{n}.weight"] for m in met]))
        states = [llama.run_layer(now, config, x)[0] for x in states]
    check_biases_gpt2(folder, [tokens[:40] for tokens in rows])


def check_biases_gpt2(folder, rows):
    tensors = {n: w.float() for n, w in networks.make_gpt2(networks.GPT2, 5).items()}
    write_model(folder, tensors, networks.GPT2)
    write_rows(folder, rows)
    found = compress(folder, "quantize.rtn(dtype: int4(group: 16)) on linear\n  bias.correct(data: d) on linear")
    seen, multiply = [], torch.addmm
    mixed = {n: w.double() for n, w in tensors.items()}
    names = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    for layer in range(networks.GPT2["n_layer"]):
        seen.clear()
        torch.addmm = lambda b, x, w: (seen.append(x), multiply(b, x, w))[1]
        for tokens in rows:
            networks.run_gpt2(mixed, networks.GPT2, torch.tensor(tokens))
        torch.addmm = multiply
        per_run = len(names) * networks.GPT2["n_layer"]
        for k, name in enumerate(names):
            x = torch.cat(seen[len(names) * layer + k :: per_run]).numpy()
            at = f"transformer.h.{layer}.{name}"
            check_mean(at, mixed[f"{at}.weight"].numpy().T, found[f"{at}.weight"], mixed[f"{at}.bias"].numpy(),
                found[f"{at}.bias"], x)
        mixed.update({n: torch.tensor(w.T) for n, w in found.items() if f"h.{layer}." in n})  # codes are [o, i]


def check_refusals(folder, tensors, config):
    grouped = {**config, "num_key_value_heads": 2}
    qwen2 = {**networks.DECODER, "model_type": "qwen2"}
    biased = {n: w.float() for n, w in networks.make_decoder(qwen2, 1, biases=True).items()}
    fewer = {n: w[:32] if "k_proj" in n or "v_proj" in n else w for n, w in tensors.items()}
    for what, tensors, config, statements, words in [
        ("heads that share values", fewer, grouped, "smooth.quant(data: d) on attn_output",
            ["o_proj.weight\" cannot be divided", "several of the columns are one here", "except"]),
        ("a pass before", tensors, config, "prune.magnitude(sparsity: 50%) on ffn_up\n  smooth.quant(data: d) on ffn_up",
            ["comes after another pass", "comes before"]),
        ("another input", tensors, config, "smooth.quant(data: d) on attn_q\n  prune.wanda(sparsity: 50%, data: d) on attn_k",
            ["asks for the input of", "folded into here"]),
        ("its input is folded into", biased, qwen2, "bias.correct(data: d) on attn_q\n  smooth.quant(data: d) on attn_q",
            ["bias.correct goes into \"model.layers.0.self_attn.q_proj.bias\"", "another pass folds into what"]),
        ("no bias", tensors, config, "bias.correct(data: d) on attn_q",
            ["bias.correct: \"model.layers.0.self_attn.q_proj.weight\" has no bias", "adds no vector of weights", "except"]),
    ]:
        write_model(folder, tensors, config)
        status, _, errors = cmpc("plan", write_program(folder, statements))
        check(status == 1 and all(word in errors for word in words), f"{what}: {status}, {errors}")


def main():
    generator = numpy.random.default_rng(3)
    rows = [generator.integers(0, 64, count) for count in (40, 33, 50, 2)]
    with tempfile.TemporaryDirectory() as folder:
        write_rows(folder, rows)
        tensors = make_llama(LLAMA, generator)
        layers = ["proj", "layernorm"]
        check_same(folder, "llama, all of it", tensors, LLAMA, "smooth.quant(data: d) on linear", layers)
        check_same(folder, "llama, what else reads it", tensors, LLAMA, "smooth.quant(data: d) on attn_k, head",
            ["q_proj", "k_proj", "v_proj", "input_layernorm", "model.norm", "lm_head"])
        grouped = {**networks.DECODER, "model_type": "qwen2"}
        check_same(folder, "qwen2, biases", {n: w.float() for n, w in networks.make_decoder(grouped, 1, biases=True).items()},
            grouped, "smooth.quant(data: d) on attn_q, ffn_down", ["q_proj.weight", "k_proj.weight", "v_proj.weight",
            "input_layernorm", "up_proj", "down_proj"])
        alike = {**grouped, "num_key_value_heads": grouped["num_attention_heads"]}
        check_same(folder, "qwen2, a bias is divided", {n: w.float() for n, w in
            networks.make_decoder(alike, 1, biases=True).items()}, alike, "smooth.quant(data: d) on attn_output",
            ["v_proj", "o_proj.weight"])
        check_same(folder, "gpt2, norms with a bias", {n: w.float() for n, w in networks.make_gpt2(networks.GPT2, 5).items()},
            networks.GPT2, "smooth.quant(data: d) on attn_qkv, ffn_up", ["ln_1", "ln_2", "c_attn.weight", "c_fc.weight"])
        check_smooth(folder, tensors, LLAMA, rows)
        check_awq(folder, tensors, LLAMA, rows)
        check_outliers(folder, tensors, LLAMA, rows)
        check_refusals(folder, tensors, LLAMA)
        check_biases(folder, rows)
    finish("folds")


main()
