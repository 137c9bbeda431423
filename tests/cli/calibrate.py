#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Passes that look at what a network feeds their matrix, against NumPy in f64: the masks of Wanda through all layers,
the output error of GPTQ and of whitened factors, perplexity before and after; the same bytes for any threads, for
`run`, for executables and within a memory limit; and what is said where a net, data or a parameter is missing.

The checkpoint is that of examples/tiny-llama, bf16. Where ../shared is there, Wanda on stories260K too.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy

from testing import CMPC, SHARED, TOP, check, finish
import llama

WANDA = "prune.wanda(sparsity: 50%, data: d) on linear"
INT4 = """
dtype int4 of x[k < 32] {
  d: f16   = max[k](abs(x[k])) / 7
  q[k]: u4 = if stored(d) == 0 then 8 else clamp(round_even(x[k] / stored(d)), -8, 7) + 8
  value[k] = (q[k] - 8) * d
}
"""


def run(*arguments, folder):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=600, cwd=folder)


def write_program(folder, name, model, statement, declarations="", data="tokens.npy"):
    with open(os.path.join(folder, name + ".cmp"), "w") as file:
        file.write(f'{declarations}\nmodel m from "{model}"\ndata d from "{data}"\n')
        file.write(f'pipeline p of m {{\n  {statement}\n  save "{name}"\n}}\n')


def write_rows(folder, rows):
    table = -numpy.ones((len(rows), max(map(len, rows))), numpy.int32)
    for row, tokens in zip(table, rows):
        row[: len(tokens)] = tokens
    numpy.save(os.path.join(folder, "tokens.npy"), table)


def bytes_of(folder, name):
    with open(os.path.join(folder, name, "model.safetensors"), "rb") as file:
        return file.read()


def perplexity(folder, model):
    with open(os.path.join(folder, "eval.cmp"), "w") as file:
        file.write(f'model m from "{model}"\ndata d from "tokens.npy"\n')
    done = run(CMPC, "eval", "eval.cmp", folder=folder)
    found = re.match(r"perplexity\(d\) = ([0-9.]+)", done.stdout)
    check(found, f"perplexity: {done.stderr}")
    return float(found[1]) if found else 0


def reference_perplexity(tensors, config, rows):
    return numpy.exp(numpy.concatenate([llama.losses(llama.forward(tensors, config, r), r) for r in rows]).mean())


def wanda(w, x):
    score = abs(w) * numpy.sqrt((x * x).sum(0))
    rank = numpy.argsort(numpy.argsort(score, axis=1, kind="stable"), axis=1)
    return numpy.where(rank < w.shape[1] // 2, 0, w)


def check_wanda(folder, model, rows):
    tensors, config = llama.read_checkpoint(model)
    shutil.rmtree(os.path.join(folder, "wanda"), ignore_errors=True)
    write_program(folder, "wanda", model, WANDA)
    done = run(CMPC, "run", "wanda.cmp", folder=folder)
    check(done.returncode == 0, f"wanda: {done.stderr}")
    found, _ = llama.read_checkpoint(os.path.join(folder, "wanda"))
    wanted = llama.calibrate(tensors, config, rows, wanda)
    same = sum((found[n] == wanted[n]).sum() for n in tensors)
    count = sum(v.size for v in tensors.values())
    check(same >= 0.9999 * count, f"wanda: {count - same} of {count} weights differ")
    for tokens, what in ((found, "found"), (wanted, "wanted")):
        check(all((tokens[n] == 0).mean() >= 0.5 for n in tensors if "_proj" in n), f"wanda: {what} are not half zeros")
    after, reference = perplexity(folder, "wanda"), reference_perplexity(wanted, config, rows)
    check(abs(after / reference - 1) < 1e-3, f"wanda: perplexity {after}, not {reference}")
    return after


def check_one_shot(folder, model, rows):
    """The masks are those of the original's inputs in all layers; each part is run once."""
    tensors, config = llama.read_checkpoint(model)
    write_program(folder, "once", model, WANDA, data='tokens.npy" { one_shot true } # "')
    done = run(CMPC, "run", "once.cmp", folder=folder)
    check(done.returncode == 0, f"one shot: {done.stderr}")
    found, _ = llama.read_checkpoint(os.path.join(folder, "once"))
    wanted, other = (llama.calibrate(tensors, config, rows, wanda, is_one_shot) for is_one_shot in (True, False))
    differ, apart = (sum((found[n] != w[n]).sum() for n in tensors) for w in (wanted, other))
    count = sum(v.size for v in tensors.values())
    check(differ <= 0.0001 * count < apart, f"one shot: {differ} of {count} weights differ, {apart} layer by layer")
    done = run(CMPC, "plan", "once.cmp", folder=folder)
    check("4 calls of its parts leave 12 statistics" in done.stdout, f"one shot: {done.stdout[-600:]}")
    check("one_shot true" in done.stdout, f"one shot: {done.stdout[:600]}")


def check_bytes(folder):
    """An executable, other threads, a run that is not fused and one with little memory give what `cmpc run` gave."""
    wanted = bytes_of(folder, "wanda")
    done = run(CMPC, "build", "wanda.cmp", "-o", "exe", folder=folder)
    check(done.returncode == 0, f"build: {done.stderr}")
    for options in (["--threads", "1"], ["--threads", "7"], ["--no-fuse"]):
        run("./exe", "--output", "again", "--force", *options, folder=folder)
        check(bytes_of(folder, "again") == wanted, f"{options}: other bytes")
    shutil.rmtree(os.path.join(folder, "again"))
    done = run("./exe", "--output", "again", "--memory", "1MiB", folder=folder)
    found = re.search(r"([0-9]+)MiB", done.stderr)
    check(done.returncode == 1 and found, f"too little memory: {done.stderr}")
    done = run("./exe", "--output", "again", "--memory", found[0] if found else "1GiB", folder=folder)
    check(done.returncode == 0 and bytes_of(folder, "again") == wanted, f"{found and found[0]}: {done.stderr}")


def check_shared(folder):
    """Queries, keys and values meet the same rows, gates and what they gate too."""
    done = run(CMPC, "plan", "wanda.cmp", folder=folder)
    check("6 calls of its parts leave 12 statistics" in done.stdout, f"plan: {done.stdout[-600:]}")


def check_text(folder, model):
    """Of a text: an executable has the tokenizer in it then, and only then."""
    with open(os.path.join(model, "heldout.txt")) as file, open(os.path.join(folder, "some.txt"), "w") as to:
        to.write(file.read()[:9000])
    write_program(folder, "text", model, WANDA, data='some.txt" { window 64  samples 9  seed 3 } # "')
    done = run(CMPC, "check", "text.cmp", folder=folder)
    check(done.returncode == 0, f"check: {done.stderr}")
    done = run(CMPC, "run", "text.cmp", folder=folder)
    check(done.returncode == 0, f"text: {done.stderr}")
    check(bytes_of(folder, "text") != bytes_of(folder, "wanda"), "text: the masks of other tokens")
    for name, libraries, shared in (("text", 1, ["--shared"]), ("wanda", 0, ["--shared"]), ("text", 0, [])):
        done = run(CMPC, "build", name + ".cmp", *shared, "-o", "exe-" + name, folder=folder)
        check(done.returncode == 0, f"{name}: {done.stderr}")
        done = run("readelf", "--dynamic", "exe-" + name, folder=folder)
        check(done.stdout.count("libpcre2") == libraries, f"{name} {shared}: {done.stdout}")
        done = run("./exe-" + name, "--output", "again", "--force", folder=folder)
        check(done.returncode == 0, f"{name} {shared}: {done.stderr}")
        check(bytes_of(folder, "again") == bytes_of(folder, name), f"{name} {shared}: other bytes")
    shutil.rmtree(os.path.join(folder, "again"))


def check_dry_run(folder):
    """It tells what it reads for the net, and what the net's kernels take."""
    done = run("./exe", "--dry-run", "--json", folder=folder)
    check(done.returncode == 0, f"dry run: {done.stderr}")
    said = json.loads(done.stdout)
    tokens = numpy.load(os.path.join(folder, "tokens.npy"))
    check(said["net_tokens"] == (tokens >= 0).sum(), f"dry run: {said['net_tokens']} tokens")
    plan = run(CMPC, "plan", "wanda.cmp", folder=folder).stdout
    more = re.search(r"for which (\d+) bytes of weights are read", plan)
    once = re.search(r"weights are read once, (\d+) bytes", plan)
    check(more and once and said["bytes_read"] == int(more[1]) + int(once[1]), f"dry run: {said['bytes_read']} bytes")


def gptq(w, x, group=32):
    """Rounded to int4 as the dtype above has it; column by column, with the inverse Hessian's factor."""
    h = 2 * x.T @ x / len(x)
    u = numpy.linalg.cholesky(numpy.linalg.inv(h + 0.01 * h.diagonal().mean() * numpy.eye(len(h)))).T
    w, out = w.copy(), numpy.zeros_like(w)
    for j in range(w.shape[1]):
        if j % group == 0:
            d = (abs(w[:, j : j + group]).max(1).astype(numpy.float32) / numpy.float32(7)).astype(numpy.float16)
            d = d.astype(numpy.float64)
        out[:, j] = numpy.clip(numpy.rint(w[:, j] / d), -8, 7) * d
        w[:, j + 1 :] -= numpy.outer((w[:, j] - out[:, j]) / u[j, j], u[j, j + 1 :])
    return out


def check_gptq(folder, model, rows):
    """The first layer's rows are the same whatever became of its weights: output errors are compared on them."""
    tensors, config = llama.read_checkpoint(model)
    write_program(folder, "gptq", model, "quantize.gptq(dtype: int4, data: d) on linear", INT4)
    write_program(folder, "rtn", model, "quantize.rtn(int4) on linear", INT4)
    results = {}
    for name in ("gptq", "rtn"):
        done = run(CMPC, "run", name + ".cmp", folder=folder)
        check(done.returncode == 0, f"{name}: {done.stderr}")
        done = run(CMPC, "decode", name, "-o", name + "-f32.safetensors", folder=folder)
        check(done.returncode == 0, f"decode {name}: {done.stderr}")
        results[name] = llama.read_tensors(os.path.join(folder, name + "-f32.safetensors"))
    w = llama.layer_weights(tensors, 0)
    met = [llama.run_layer(w, config, tensors["model.embed_tokens.weight"][tokens])[1] for tokens in rows]
    for name in met[0]:
        x, full = numpy.concatenate([m[name] for m in met]), f"model.layers.0.{name}"
        error = {n: numpy.linalg.norm(x @ (r[full] - w[name]).T) for n, r in results.items()}
        reference = numpy.linalg.norm(x @ (gptq(w[name], x) - w[name]).T)
        check(error["gptq"] < 1.01 * reference, f"gptq: {name} is off by {error['gptq'] / reference} of the reference")
        check(error["gptq"] < 0.8 * error["rtn"], f"gptq: {name} is no better than rounding")


def whitened(w, x, rank):
    h = x.T @ x / len(x)
    s = numpy.linalg.cholesky(h + 0.01 * numpy.diag(h).mean() * numpy.eye(len(h)))
    u, g, v = numpy.linalg.svd(w @ s, full_matrices=False)
    return (u[:, :rank] * g[:rank]) @ v[:rank] @ numpy.linalg.inv(s)


def check_whitened(folder, model, rows, rank=24):
    """The error of the output is SVD-LLM's, and below that of factors that know nothing of the input."""
    tensors, config = llama.read_checkpoint(model)
    name, found, errors = "model.layers.0.mlp.up_proj", [], []
    w = tensors[name + ".weight"]

    def look(v, x):
        if v.shape == w.shape and (v == w).all():
            found.append(x)
        return v

    llama.calibrate(tensors, config, rows, look)
    x = found[0]
    for statement in (f"lowrank.whitened(rank: {rank}, data: d)", f"lowrank.svd(rank: {rank})", None):
        product = whitened(w, x, rank)
        if statement:
            shutil.rmtree(os.path.join(folder, "factors"), ignore_errors=True)
            write_program(folder, "factors", model, f'{statement} on "{name}.weight"')
            done = run(CMPC, "run", "factors.cmp", folder=folder)
            check(done.returncode == 0, f"{statement}: {done.stderr}")
            made, _ = llama.read_checkpoint(os.path.join(folder, "factors"))
            product = made[name + ".left.weight"] @ made[name + ".right.weight"]
        errors.append(numpy.linalg.norm(x @ (product - w).T) / numpy.linalg.norm(x @ w.T))
    check(abs(errors[0] / errors[2] - 1) < 0.01, f"whitened: output error {errors[0]}, not {errors[2]}")
    check(errors[0] < 0.99 * errors[1], f"whitened: output error {errors[0]}, that of lowrank.svd is {errors[1]}")


def check_errors(folder, model):
    blind = "pass blind() on w[o, i] {\n  x = input(w)\n  w[o, i] := w[o, i] * mean[t](x[t, i])\n}"
    odd = "pass odd(data: dataset) on w[o, i] {\n  x = input(w)\n  w[o, i] := w[o, i] * %s\n}"
    cases = [
        ("prune.wanda(sparsity: 50%, data: d) on embedding", "", "no sum of products of rows"),
        ("prune.wanda(sparsity: 50%) on linear", "", "data"),
        ("blind() on linear", blind, "give it a parameter `data: dataset`"),
        ("odd(data: d) on linear", odd % "x[0, i]", "other than one by one"),
        ("odd(data: d) on linear", odd % "quantile[t](x[t, i], 0.5)", "cannot be folded sample after sample"),
        ("odd(data: d) on linear", odd % "sum[t](x[t, i] * w[o, i])", "together with something else"),
    ]
    for statement, declarations, message in cases:
        write_program(folder, "bad", model, statement, declarations)
        done = run(CMPC, "plan", "bad.cmp", folder=folder)
        check(done.returncode == 1 and message in done.stderr, f"{statement} {declarations}: {done.stderr}")
    write_rows(folder, [numpy.arange(20), numpy.arange(9)])
    done = run("./exe", "--output", "never", folder=folder)
    check(done.returncode == 1 and "this program was built for" in done.stderr, f"other data: {done.stderr}")
    check(not os.path.exists(os.path.join(folder, "never")), "other data: something is left")


def main():
    generator = numpy.random.default_rng(5)
    model = os.path.join(TOP, "examples", "tiny-llama")
    with tempfile.TemporaryDirectory() as folder:
        rows = [generator.integers(0, 512, count) for count in (200, 150, 60, 2, 33)]
        write_rows(folder, rows)
        check_wanda(folder, model, rows)
        check_shared(folder)
        check_one_shot(folder, model, rows)
        check_bytes(folder)
        check_text(folder, model)
        check_dry_run(folder)
        check_gptq(folder, model, rows)
        check_whitened(folder, model, rows)
        check_errors(folder, model)
        stories, golden = (os.path.join(SHARED, *at, "stories260K") for at in (["models"], ["golden", "nets"]))
        if os.path.isdir(golden):
            with open(os.path.join(golden, "tales.json")) as file:
                rows = [numpy.array(document["tokens"]) for document in json.load(file)["documents"][:8]]
            write_rows(folder, rows)
            check(check_wanda(folder, stories, rows) > perplexity(folder, stories), "wanda: no worse than the original")
    finish("calibrate")


main()
