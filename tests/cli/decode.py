#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cmpc decode against NumPy, bit for bit: every block type of GGUF that the library has, and every form of planes."""
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from testing import CMPC, EXAMPLES, read_safetensors, write_text
from decode_reference import BLOCKS, F, PLANES, read_gguf

MODEL = os.path.join(EXAMPLES, "tiny-llama")


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
    """The blocks of a GGUF file."""
    code, elements, size, reader = BLOCKS[name]
    coded, plain = os.path.join(folder, name + ".gguf"), os.path.join(folder, name + ".safetensors")
    run("quantize", os.path.join(folder, "nameless.safetensors"), name, "-o", coded, "--quiet")
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


def check_single(name, folder):
    """One safetensors file of rows of bytes, or of planes: the values are those of the GGUF file."""
    coded, plain = os.path.join(folder, name + ".single.safetensors"), os.path.join(folder, "single.safetensors")
    run("quantize", MODEL, name, "-o", coded, "--quiet")
    run("decode", coded, "-o", plain)
    values, wanted = read_safetensors(plain), read_safetensors(os.path.join(folder, name + ".safetensors"))
    assert values.keys() == wanted.keys()
    return check(name + " in one file", [(np.frombuffer(wanted[t][2], F), np.frombuffer(values[t][2], F)) for t in wanted])


def check_planes(name, folder, *program):
    coded, plain = os.path.join(folder, name), os.path.join(folder, name + ".planes.safetensors")
    if program:
        write_text(coded + ".cmp", f'model m from "{MODEL}"\npipeline p of m {{\n  {program[0]}\n  save "{coded}"\n}}\n')
        run("run", coded + ".cmp", "--quiet", "--force")
    else:
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
    # without its config.json: tensors keep their names
    shutil.copy(os.path.join(MODEL, "model.safetensors"), os.path.join(work, "nameless.safetensors"))
    results = [check_blocks(name, work) for name in BLOCKS] + [check_planes(name, work) for name in PLANES]
    results += [check_single(name, work) for name in ("q5_0", "q3_K", "q6_K", "mxfp4")]
    results.append(check_planes("nvfp4", work, "quantize.nvfp4 on linear"))  # with a scale of the whole tensor
sys.exit(not all(results))
