#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/gptq_from_h end to end: calibrated, planned, built, run and compared with GPTQ in NumPy.

Two things are held apart. The factor U of the inverse Hessian is f32, LAPACK's work: against NumPy's in f64 it may be
off by its condition number times the precision of f32. With that very U the rest is arithmetic of known order but for
one sum, which BLAS forms: codes must be NumPy's, but for the few that such a sum pushes over a tie. With NumPy's own U
a weight is off by some 1e-4 of a rounding error, so one in some 1e5 falls on the other side of a tie, and what follows
it in its row may differ then.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np

from testing import CMPC, EXAMPLES, bytes_of, call, check, finish, read_safetensors, write_text
from decode_reference import read_gguf
from gptq_reference import FORMATS, decoded, factor, gptq, hessian, nearest

EXAMPLE = os.path.join(EXAMPLES, "gptq_from_h")
sys.path.insert(0, EXAMPLE)
from calibrate import read_tensors, write_tensors  # noqa: E402

FACTORS = """import "gptq_from_h.cmp"
pass factor_of(x[t, i]: tensor) on w[o, i] {
  (U, dead) = hessian_factor(x, 1%)
  w[o, i]  := U[o, i]
}
model squares from "squares.safetensors"
pipeline factors of squares {
  factor_of(x: tensor("calibration.safetensors", "{name}.input")) on all
  save "factors.safetensors"
}
"""


def copy_files(folder, to):
    """Without their modes: the source tree may be read-only."""
    os.mkdir(to)
    for entry in os.scandir(folder):
        if entry.is_file():
            shutil.copyfile(entry.path, os.path.join(to, entry.name))


def remove(path):
    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


# ---- what was saved ----


def split(codes, parts, rows, form):
    """Codes [rows, columns] and the grids of each column of blocks, from blocks in row-major order."""
    codes = codes.reshape(rows, -1)
    count = codes.shape[1] // form.block
    return codes, [[part.reshape(rows, count, *part.shape[1:])[:, g] for part in parts] for g in range(count)]


NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output":
         "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
HEADS = {"attn_q": 8, "attn_k": 2}


def as_in_model(name, blocks):
    """The name in the folder, and the rows of queries and keys in its order."""
    _, layer, matrix, _ = name.split(".")
    if matrix in HEADS:
        blocks = blocks.reshape(HEADS[matrix], -1, 2, *blocks.shape[1:]).swapaxes(1, 2).reshape(blocks.shape)
    return f"model.layers.{layer}.{NAMES[matrix]}.weight", blocks


def saved_gguf(path):
    """{name: (format, codes, grids)}"""
    kinds, out = {8: FORMATS["q8_0"], 12: FORMATS["q4_K"]}, {}
    for name, (kind, shape, data, start) in read_gguf(path).items():
        if kind in kinds:
            form, count = kinds[kind], int(np.prod(shape))
            name, blocks = as_in_model(
                name, np.frombuffer(data, np.uint8, count // form.block * form.bytes, start).reshape(shape[0], -1))
            parts, codes = form.read(blocks.reshape(-1, form.bytes))
            out[name] = (form, *split(codes, parts, shape[0], form))
    return out


def saved_ternary(path):
    tensors, out, form = read_safetensors(os.path.join(path, "model.safetensors")), {}, FORMATS["ternary"]
    for name, (_, shape, data) in tensors.items():
        if name.endswith(".weight_packed"):
            packed = np.frombuffer(data, np.uint8)
            codes = np.stack([packed >> 2 * m & 3 for m in range(4)], -1).astype(np.float32) - 1
            scales = np.frombuffer(tensors[name.replace("_packed", "_scale")][2], "<f2").astype(np.float32)
            out[name.replace("_packed", "")] = (form, *split(codes, [scales], shape[0], form))
    return out


# ---- against NumPy ----


def check_factor(name, x, got, wanted, dead):
    damped = hessian(x)
    damped += np.diag(0.01 * np.mean(np.diag(damped)) + dead)
    values = np.linalg.eigvalsh(damped)
    off, most = (np.linalg.norm(got - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max(), values[-1] / values[0] * 2**-23
    check(off < most and not np.tril(got, -1).any(), f"{name}: a row of U is off by {off:.2g}, more than {most:.2g}")
    return off


def squared(w, q, x):
    return np.linalg.norm(x.astype(np.float64) @ (w.astype(np.float64) - q).T) ** 2


def differing_grids(grids, others):
    """[rows, blocks]"""
    rows = len(grids[0][0])
    differ = [sum((a != b).reshape(rows, -1).sum(1) for a, b in zip(grid, other)) for grid, other in zip(grids, others)]
    return np.stack(differ, 1) > 0


def check_first(form, codes, others, codes_differ, grids_differ):
    """The first difference of a row is a tie: of a code, which is next to the other then, or in a grid."""
    for row in np.flatnonzero(codes_differ.any(1)):
        first = codes_differ[row].argmax()
        is_tie = abs(codes[row, first] - others[row, first]) == 1
        check(is_tie or grids_differ[row, : first // form.block + 1].any(), f"row {row}, code {first} is no tie")


class Total:
    """Over all matrices of a format: codes and rows that differ, for our U and for NumPy's; what the outputs are off."""

    def __init__(self):
        self.codes = self.rows = 0
        self.other_codes, self.other_rows = [0, 0], [0, 0]
        self.errors = np.zeros(4)  # ours, NumPy's with its own U, each weight rounded by itself, all weights 0

    def add(self, saved, w, x, u, own, dead):
        form, codes, grids = saved
        self.codes += codes.size
        self.rows += len(codes)
        for which, factor_used in enumerate((u, own)):
            wanted = gptq(form, w, factor_used, dead)
            codes_differ, grids_differ = codes != wanted[0], differing_grids(grids, wanted[1])
            self.other_codes[which] += codes_differ.sum()
            self.other_rows[which] += (codes_differ.any(1) | grids_differ.any(1)).sum()
            check_first(form, codes, wanted[0], codes_differ, grids_differ)
        results = decoded(form, codes, grids), decoded(form, *wanted), decoded(form, *nearest(form, w)), 0 * w
        self.errors += [squared(w, q, x) for q in results]

    def check(self, name):
        ours, numpy, plain = np.sqrt(self.errors[:3] / self.errors[3])
        print(
            f"  {name}: {self.codes} codes in {self.rows} rows; with the same U {self.other_codes[0]} differ, in "
            f"{self.other_rows[0]} rows, with NumPy's {self.other_codes[1]}, in {self.other_rows[1]}; "
            f"output error {ours:.7f}, NumPy's {numpy:.7f}, each weight rounded by itself {plain:.7f}"
        )
        check(self.codes > 0, f"{name}: nothing was saved")
        check(self.other_rows[0] <= max(2, 0.002 * self.rows), f"{name}: rows differ from NumPy's with the same U")
        check(self.other_rows[1] <= max(4, 0.01 * self.rows), f"{name}: rows differ from NumPy's with its own U")
        check(abs(ours - numpy) < 1e-5, f"{name}: the output error is not NumPy's")
        check(ours < 0.75 * plain, f"{name}: no better than rounding each weight by itself")


def compare():
    write_text("factors.cmp", FACTORS)
    inputs = {name[: -len(".input")]: x for name, x in read_tensors("calibration.safetensors").items()}
    write_tensors("squares.safetensors", {n: np.zeros((x.shape[1],) * 2, np.float32) for n, x in inputs.items()})
    call(CMPC, "run", "factors.cmp", "-p", "factors", "--quiet")
    factors, weights = read_tensors("factors.safetensors"), read_tensors("../tiny-llama/model.safetensors")
    own = {name: factor(hessian(x)) for name, x in inputs.items()}
    worst = max(check_factor(name, inputs[name], u, *own[name]) for name, u in factors.items())
    print(f"  rows of U are off by at most {worst:.2g}")
    saved = {**saved_gguf("gguf.gguf"), **{f"{n} ternary": s for n, s in saved_ternary("ternary").items()}}
    totals = {name: Total() for name in FORMATS}
    names = {form: name for name, form in FORMATS.items()}
    for key, parts in saved.items():
        name = key.split(" ")[0]
        totals[names[parts[0]]].add(parts, weights[name], inputs[name], factors[name], *own[name])
    for name, total in totals.items():
        total.check(name)
    check(len(saved) == 42, f"{len(saved)} matrices were saved")


# ---- the same bytes ----


def test_pipeline(pipeline, result):
    """Leaves the result of `cmpc run` under the pipeline's name."""
    program, out = ("gptq_from_h.cmp", "-p", pipeline), "other-" + result
    plan = call(CMPC, "plan", *program)
    call(CMPC, "run", *program, "--quiet", "--output", result)
    wanted = bytes_of(result)
    files = [result] if not os.path.isdir(result) else [os.path.join(result, "model.safetensors")]
    check(f"# output: {os.path.getsize(files[0])} bytes" in plan, f"{pipeline}: the plan's size")
    read = sum(x.nbytes for n, x in read_tensors("calibration.safetensors").items() if "lm_head" not in n)
    check(f"{read} bytes are read of \"calibration.safetensors\"" in plan, f"{pipeline}: the plan's reads: {plan}")
    exe = os.path.join(os.getcwd(), pipeline + ".exe")
    call(CMPC, "build", *program, "-o", exe)
    least = call(exe, "--memory", "1MiB", "--output", out, wants=1).split("the smallest that works is ")[1].split()[0]
    for options in (["1"], ["2"], ["3"], ["7"], ["1", "--memory", least]):
        call(exe, "--quiet", "--output", out, "--threads", *options)
        check(bytes_of(out) == wanted, f"{pipeline}: other bytes with --threads {' '.join(options)}")
        remove(out)
    check("memory   at most" in call(exe, "--dry-run"), f"{pipeline}: dry run")
    return exe, wanted, plan


def test_plan_again(plan):
    """A printed plan is a program with the same result, but for the hash of its text."""
    write_text("again.cmp", plan)
    check(call(CMPC, "plan", "again.cmp") == plan, "the plan of a printed plan")
    call(CMPC, "run", "again.cmp", "--quiet", "--output", "again.gguf")
    got, wanted = saved_gguf("again.gguf"), saved_gguf("gguf.gguf")
    check(got.keys() == wanted.keys() and all((got[n][1] == wanted[n][1]).all() for n in got), "a printed plan's codes")


def kill_run(exe, seconds):
    """True: it was at work by then."""
    child = subprocess.Popen([exe, "--quiet", "--no-sync", "--output", "killed"])
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return os.path.exists(".killed.cmpc-journal")


def test_kills(exe, wanted):
    """Resumed, it is the same; with other rows to read it is what it would have been from the start."""
    started = time.monotonic()
    call(exe, "--quiet", "--no-sync", "--output", "killed")
    seconds, begun = time.monotonic() - started, 0
    for part in (0.2, 0.5, 0.8):
        remove("killed")
        begun += kill_run(exe, part * seconds)
        call(exe, "--quiet", "--no-sync", "--output", "killed")
        check(bytes_of("killed") == wanted, f"other bytes after a kill at {part}")
    check(begun > 0, "no kill came while the run was at work")
    inputs = read_tensors("calibration.safetensors")
    remove("killed")
    kill_run(exe, 0.5 * seconds)
    shutil.copy("calibration.safetensors", "kept.safetensors")
    write_tensors("calibration.safetensors", {name: x[::-1] * np.float32(1.5) + x for name, x in inputs.items()})
    call(exe, "--quiet", "--no-sync", "--output", "killed")
    call(exe, "--quiet", "--no-sync", "--output", "fresh")
    check(bytes_of("killed") == bytes_of("fresh") != wanted, "resumed with rows that had changed")
    shutil.move("kept.safetensors", "calibration.safetensors")


def test_refusals(exe, wanted):
    """One line each, the destination as it was. A file that lies elsewhere is given by --input."""
    inputs = read_tensors("calibration.safetensors")
    name = "model.layers.1.self_attn.q_proj.weight.input"
    os.rename("calibration.safetensors", "kept.safetensors")

    def refuse(text, tensors=None, arguments=()):
        if tensors:
            write_tensors("calibration.safetensors", tensors)
        said = call(exe, "--output", "refused.gguf", *arguments, wants=1)
        check(text in said and said.count("\n") == 1, f"{said} instead of {text}")

    refuse("calibration.safetensors: could not open: No such file or directory")
    refuse("reads no such file beside the model; it reads calibration.safetensors", None, ("--input", "rows=kept"))
    call(exe, "--quiet", "--output", "moved.gguf", "--input=calibration.safetensors=kept.safetensors")
    check(bytes_of("moved.gguf") == wanted, "other bytes from a file that was moved")
    refuse(f'no tensor "{name}" (1 of 21 are missing)', {n: x for n, x in inputs.items() if n != name})
    refuse("is F32 [511, 256] instead of F32 [512, 256] (1 of 21 differ)", {**inputs, name: inputs[name][1:]})
    spoiled = inputs[name].copy()
    spoiled[3, 4] = np.nan
    refuse(f'tensor "{name}": element [3, 4] is NaN or infinite', {**inputs, name: spoiled})
    write_tensors("calibration.safetensors", inputs)
    os.link("calibration.safetensors", "same.gguf")
    refuse("is the input", arguments=("--output", "same.gguf"))
    check(not os.path.exists("refused.gguf"), "a refusal left a result")
    os.rename("kept.safetensors", "calibration.safetensors")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="gptq.") as base:
        for folder in (EXAMPLE, os.path.join(EXAMPLES, "tiny-llama")):
            copy_files(folder, os.path.join(base, os.path.basename(folder)))
        os.chdir(os.path.join(base, "gptq_from_h"))
        said = call(sys.executable, "calibrate.py")
        check(float(said.split()[-1]) < 12, f"the network was not understood: {said}")
        gguf_exe, gguf, plan = test_pipeline("gguf", "gguf.gguf")
        ternary_exe, ternary, _ = test_pipeline("ternary", "ternary")
        compare()
        test_plan_again(plan)
        test_kills(ternary_exe, ternary)
        test_refusals(gguf_exe, gguf)
    finish("gptq")
