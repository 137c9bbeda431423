#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What later layers see of tensors whose passes ask nothing of the data: one pipeline on all tensors leaves the same
bytes as two, of which the second one, with the data, reads what the first one made. So in one file and after
`cmpc decode`, of a model whose head is its embedding too, with any threads, little memory, and after a kill.

The checkpoint is that of examples/tiny-llama, bf16."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

from testing import CMPC, EXAMPLES, bytes_of, call, check, finish, read_safetensors, write_safetensors, write_text

ATTENTION = '"*.self_attn.*"'
OTHERS = '"model.embed_tokens.weight", "*.mlp.*"'
INT4 = """
dtype int4 of x[k < 32] {
  d: f16   = max[k](abs(x[k])) / 7
  q[k]: u4 = if stored(d) == 0 then 8 else clamp(round_even(x[k] / stored(d)), -8, 7) + 8
  value[k] = (q[k] - 8) * d
}
"""


def write_tokens(path, rows, columns):
    """A .npy of i32, numbers below 512 that repeat late."""
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    state, tokens = 1, b""
    for _ in range(rows * columns):
        state = (state * 1103515245 + 12345) % 2**31
        tokens += (state >> 16 & 511).to_bytes(4, "little")
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + tokens)


def compress(name, model, statements, declarations=""):
    """All tensors of the result."""
    write_text(name + ".cmp", f'{declarations}model m from "{model}"\ndata d from "tokens.npy"\n'
               f'pipeline p of m {{\n  {statements}\n  save "{name}"\n}}\n')
    call(CMPC, "run", name + ".cmp", "--quiet", "--force")
    return read_safetensors(os.path.join(name, "model.safetensors"))


def count_other(one, two):
    return sum(one[name][2] != two[name][2] for name in one)


def check_pruned(name, model):
    other, asks = f"prune.magnitude(50%) on {OTHERS}", f"prune.wanda(sparsity: 50%, data: d) on {ATTENTION}"
    one = compress(name, model, f"{other}\n  {asks}")
    compress("first", model, other)
    two = compress("second", "first", asks)
    alone = compress("alone", model, asks)
    check(one.keys() == two.keys() and count_other(one, two) == 0, f"{name}: other bytes than two pipelines'")
    differ = sum(one[n][2] != alone[n][2] for n in one if "self_attn" in n)
    check(differ >= 8, f"{name}: of 12 masks {differ} differ from those of the original's inputs")


def make_plain(model, to):
    """Of f32, so that whoever reads it computes the same."""
    os.mkdir(to)
    call(CMPC, "decode", model, "-o", "plain.safetensors")
    shutil.copyfile(os.path.join(EXAMPLES, "tiny-llama", "config.json"), os.path.join(to, "config.json"))
    shutil.move("plain.safetensors", os.path.join(to, "model.safetensors"))


def check_quantized(model):
    other = f"quantize.rtn(int4) on {OTHERS}"
    asks = f"quantize.gptq(dtype: int4, data: d) on {ATTENTION}"
    make_plain(model, "plain")
    one = compress("quantized", "plain", f"{other}\n  {asks}", INT4)
    compress("first", "plain", other, INT4)
    make_plain("first", "rounded")
    two = compress("second", "rounded", asks, INT4)
    same = [name for name in one if "self_attn" in name]
    check(len(same) == 12 and all(one[n][2] == two[n][2] for n in same), "quantized: other bytes than two pipelines'")


def kill_run(exe, seconds):
    child = subprocess.Popen([exe, "--quiet", "--no-sync", "--output", "again"], stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return os.path.exists(".again.cmpc-journal")


def check_bytes(name):
    exe = os.path.join(os.getcwd(), name + ".exe")
    call(CMPC, "build", name + ".cmp", "-o", exe)
    wanted = bytes_of(os.path.join(name, "model.safetensors"))
    least = call(exe, "--memory", "1MiB", "--output", "again", wants=1).split("the smallest that works is ")[1].split()[0]
    for options in (["--threads", "1"], ["--threads", "7"], ["--no-fuse"], ["--memory", least]):
        call(exe, "--quiet", "--output", "again", *options)
        check(bytes_of(os.path.join("again", "model.safetensors")) == wanted, f"{name}: other bytes with {options}")
        shutil.rmtree("again")
    started, begun = time.monotonic(), 0
    call(exe, "--quiet", "--no-sync", "--output", "again")
    seconds = time.monotonic() - started
    for part in (0.3, 0.5, 0.7, 0.9):
        shutil.rmtree("again", ignore_errors=True)
        begun += kill_run(exe, part * seconds)
        call(exe, "--quiet", "--no-sync", "--output", "again", "--force")
        check(
            bytes_of(os.path.join("again", "model.safetensors")) == wanted, f"{name}: other bytes after a kill at {part}")
    shutil.rmtree("again")
    check(begun > 0, "no kill came while the run was at work")


def make_tied(model):
    """Its head is its embedding."""
    shutil.copytree(model, "tied", copy_function=shutil.copyfile)
    path = os.path.join("tied", "model.safetensors")
    tensors = read_safetensors(path)
    del tensors["lm_head.weight"]
    write_safetensors(path, tensors)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sequential.") as base:
        os.chdir(base)
        tiny = os.path.join(EXAMPLES, "tiny-llama")
        write_tokens("tokens.npy", 6, 100)
        make_tied(tiny)
        check_pruned("pruned", tiny)
        check_pruned("tied-pruned", "tied")
        check_quantized(tiny)
        check_bytes("pruned")
        check_bytes("quantized")
    finish("sequential")
