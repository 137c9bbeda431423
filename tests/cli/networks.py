#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stdlib's nets against PyTorch in f64, on small random checkpoints: all the logits, or hidden states, of samples of
several lengths. Skipped where PyTorch is not installed."""

import json
import os
import re
import tempfile

import numpy

from testing import check, cmpc, finish, skip, write_safetensors

try:
    import torch
except ImportError:
    skip("PyTorch is not installed")
from llama import read_tensors
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


def check_qwen3(folder, rows):
    config = {**networks.DECODER, "model_type": "qwen3", "head_dim": 16, "use_sliding_window": False}
    compare(folder, "qwen3", networks.make_decoder(config, 2, head_norms=True), config, networks.run_decoder, rows)
    config = {**config, "attention_bias": True, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
    tensors = networks.make_decoder(config, 3, biases=True, head_norms=True)
    compare(folder, "qwen3, biases and a window", tensors, config, networks.run_decoder, rows)


def check_gpt2(folder, rows):
    config = networks.GPT2
    compare(folder, "gpt2", networks.make_gpt2(config, 5), config, networks.run_gpt2, rows)
    compare(folder, "gpt2, bare names", networks.make_gpt2(config, 6, ""), config,
        lambda *given: networks.run_gpt2(*given, ""), rows)


GGUF_NAMES = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "ln_1": "attn_norm", "attn.c_attn":
    "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}


def check_gpt2_turned(folder, rows):
    """As a GGUF has it: other names, matrices the other way round."""
    tensors, turned = networks.make_gpt2(networks.GPT2, 8), {}
    for name, values in tensors.items():
        *layer, part, kind = re.fullmatch(r"transformer\.(?:h\.(\d+)\.)?(.+)\.(weight|bias)", name).groups()
        at = f"blk.{layer[0]}." if layer[0] else ""
        turned[f"{at}{GGUF_NAMES[part]}.{kind}"] = values.T.contiguous() if layer[0] and values.ndim == 2 else values
    compare(folder, "gpt2, turned", turned, networks.GPT2, lambda _, *given: networks.run_gpt2(tensors, *given), rows)


def wanda(folder, what, tensors, config, rows):
    """What half of the weights of all linear matrices becomes"""
    model, out = (os.path.join(folder, f"{what} {name}") for name in ("model", "out"))
    os.mkdir(model)
    write_model(model, tensors, config)
    write_rows(folder, rows)
    with open(os.path.join(folder, "wanda.cmp"), "w") as file:
        file.write(f'model m from "{model}"\ndata d from "tokens.npy"\n'
                   f'pipeline p of m {{ prune.wanda(sparsity: 50%, data: d) on linear\n save "{out}" }}\n')
    status, _, errors = cmpc("run", os.path.join(folder, "wanda.cmp"))
    check(status == 0, f"wanda of {what}: {errors}")
    return read_tensors(os.path.join(out, "model.safetensors")) if status == 0 else {}


def check_mask(what, found, w, x):
    """Rows of w that x meets"""
    score = abs(w) * numpy.sqrt((x.numpy() ** 2).sum(0))
    wanted = numpy.where(numpy.argsort(numpy.argsort(score, 1, kind="stable"), 1) < w.shape[1] // 2, 0, w)
    same = (found == wanted).mean()
    check(same > 0.999, f"wanda of {what}: {same} as PyTorch has it")


def check_gpt2_wanda(folder, rows):
    """Half of what each output sums is zero: columns are the axis that is summed."""
    tensors = networks.make_gpt2(networks.GPT2, 9)
    found = wanda(folder, "gpt2", tensors, networks.GPT2, rows)
    for name in found:
        is_linear = re.search(r"(c_attn|c_proj|c_fc)\.weight", name)
        check(not is_linear or ((found[name] == 0).sum(0) == len(found[name]) // 2).all(), f"wanda of gpt2: {name}")
    x = torch.cat([networks.gpt2_rows(tensors, networks.GPT2, torch.tensor(row)) for row in rows])
    name = "transformer.h.0.attn.c_attn.weight"
    check_mask(name, found[name].T, tensors[name].numpy().T, x)


def check_bert(folder, rows):
    for what, has_head in (("bert", True), ("bert, no head", False)):
        compare(folder, what, networks.make_bert(networks.BERT, 7, has_head), networks.BERT, networks.run_bert, rows)


def check_mixtral(folder, rows):
    config = {**networks.DECODER, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
    for what, changes in (("mixtral", {}), ("mixtral, one of three", {"num_local_experts": 3, "num_experts_per_tok": 1})):
        own = {**config, **changes}
        compare(folder, what, networks.make_mixtral(own, 10), own, networks.run_decoder, rows)


def check_mixtral_turned(folder, rows):
    """Experts in one tensor, as a GGUF has them."""
    config = {**networks.DECODER, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
    tensors, turned = networks.make_mixtral(config, 11), {}
    for name, values in tensors.items():
        found = re.fullmatch(r"model\.layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.(w\d)\.weight", name)
        if not found:
            turned[name] = values
        elif found[2] == "0":
            part = {"w1": "gate", "w2": "down", "w3": "up"}[found[3]]
            turned[f"blk.{found[1]}.ffn_{part}_exps.weight"] = torch.stack(
                [tensors[name.replace("experts.0", f"experts.{expert}")] for expert in range(4)])
    compare(folder, "mixtral, stacked", turned, config, lambda _, *given: networks.run_decoder(tensors, *given), rows)


def check_mixtral_wanda(folder, rows):
    """Only the tokens for which an expert is chosen count, in the first layer, which sees what it did."""
    config = {**networks.DECODER, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
    tensors, met = networks.make_mixtral(config, 12), {}
    found = wanda(folder, "mixtral", tensors, config, rows)
    for row in rows:
        networks.run_decoder(tensors, config, torch.tensor(row), met)
    for at in [prefix for prefix in met if ".layers.0." in prefix]:
        x = torch.stack(met[at])
        u = torch.nn.functional.silu(tensors.run_linear(f"{at}.w1", x)) * tensors.run_linear(f"{at}.w3", x)
        for part, rows_met in (("w1", x), ("w3", x), ("w2", u)):
            name = f"{at}.{part}.weight"
            check_mask(name, found[name], tensors[name].numpy(), rows_met)


def check_qwen2_moe(folder, rows):
    config = {**networks.DECODER, "model_type": "qwen2_moe", "num_experts": 5, "num_experts_per_tok": 2, "decoder_sparse_step": 1,
        "moe_intermediate_size": 24, "shared_expert_intermediate_size": 56, "norm_topk_prob": False}
    for what, changes in [
        ("qwen2_moe", {}),
        ("qwen2_moe, shares of those chosen", {"norm_topk_prob": True}),
        ("qwen2_moe, every second layer", {"decoder_sparse_step": 2, "num_hidden_layers": 4}),
    ]:
        own = {**config, **changes}
        compare(folder, what, networks.make_qwen2_moe(own, 13), own, networks.run_decoder, rows)
    tensors = networks.make_qwen2_moe(config, 14)
    turned = {n: v for n, v in tensors.items() if "shared_expert_gate" not in n}
    for layer in range(2): # a GGUF has the gate as a vector
        turned[f"blk.{layer}.ffn_gate_inp_shexp.weight"] = tensors[f"model.layers.{layer}.mlp.shared_expert_gate.weight"][0]
    compare(folder, "qwen2_moe, a vector", turned, config, lambda _, *given: networks.run_decoder(tensors, *given), rows)


def main():
    generator = numpy.random.default_rng(4)
    rows = [generator.integers(0, 96, count) for count in (33, 2, 17)]
    with tempfile.TemporaryDirectory() as folder:
        check_qwen2(folder, rows)
        check_qwen3(folder, rows)
        check_gpt2(folder, rows)
        check_gpt2_turned(folder, rows)
        check_gpt2_wanda(folder, rows)
        check_bert(folder, rows)
        check_mixtral(folder, rows)
        check_mixtral_turned(folder, rows)
        check_mixtral_wanda(folder, rows)
        check_qwen2_moe(folder, rows)
    finish("networks")


main()
