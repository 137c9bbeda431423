#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cmpc decode against NumPy, bit for bit: every block type of GGUF that the library has, and every form of planes."""
import os
import subprocess
import sys
import tempfile

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["TOP_SRCDIR"], "tests", "reference"))
from decode_reference import BLOCKS, F, PLANES, read_gguf, read_safetensors

CMPC = os.environ["CMPC"]
MODEL = os.path.join(os.environ["TOP_SRCDIR"], "examples", "tiny-llama")


def run(*arguments):
    subprocess.run([CMPC, *arguments], check=True, stdout=subprocess.DEVNULL)


def different(a, b):
    return int(np.count_nonzero(a.reshape(-1).view(np.uint32) != b.reshape(-1).view(np.uint32)))


def check(name, pairs):
    count = bad = 0
    for wanted, got in pairs:
        count += wanted.size
        bad += different(np.ascontiguousarray(wanted, F), got)
    print(f"{'ok  ' if count and not bad else 'FAIL'} {name}: {count} values, {bad} different")
    return bool(count) and not bad


def check_blocks(name, folder):
    code, elements, size, reader = BLOCKS[name]
    coded, plain = os.path.join(folder, name + ".gguf"), os.path.join(folder, name + ".safetensors")
    run("quantize", MODEL, name, "-o", coded, "--quiet")
    run("decode", coded, "-o", plain)
    values, pairs = read_safetensors(plain), []
    for tensor, (kind, shape, data, offset) in read_gguf(coded).items():
        if kind != code:
            continue
        count = int(np.prod(shape)) // elements
        blocks = np.frombuffer(data, np.uint8, count * size, offset).reshape(count, size)
        assert values[tensor][:2] == ("F32", shape), tensor
        pairs.append((reader(blocks), np.frombuffer(values[tensor][2], F)))
    return check(name, pairs)


def check_planes(name, folder):
    coded, plain = os.path.join(folder, name), os.path.join(folder, name + ".planes.safetensors")
    run("quantize", MODEL, name, "-o", coded, "--quiet")
    run("decode", coded, "-o", plain)
    tensors, values, pairs = read_safetensors(os.path.join(coded, "model.safetensors")), read_safetensors(plain), []
    for tensor in tensors:
        if tensor.endswith("weight_scale"):
            module = tensor[: -len("weight_scale")]
            pairs.append((PLANES[name](tensors, module), np.frombuffer(values[module + "weight"][2], F)))
    assert not any(tensor.endswith("_scale") for tensor in values)
    return check(name + " planes", pairs)


with tempfile.TemporaryDirectory() as work:
    results = [check_blocks(name, work) for name in BLOCKS] + [check_planes(name, work) for name in PLANES]
sys.exit(not all(results))
