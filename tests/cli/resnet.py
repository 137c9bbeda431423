#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stdlib's resnet against PyTorch's own convolutions on random images: a random checkpoint with two blocks in each stage,
images that are not square, and ResNet-20 where ../shared is there; GPTQ and Wanda on the windows that meet the
convolutions. Skipped where PyTorch is not installed.
"""

import functools
import json
import os
import re
import tempfile

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy

from testing import CMPC, SHARED, call, check, finish, skip, write_safetensors, write_text
from images import write_idx

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    skip("PyTorch is not installed")
import compress_torch
import llama

MEAN, DEVIATION = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def batch_norm(w, name, x):
    mean, variance, gain, bias = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, variance, gain, bias, eps=1e-5)


def convolve(w, name, x, met, stride=1):
    """Keeps the windows that meet the kernel, in the order of its columns."""
    met[name] = F.unfold(x, 3, padding=1, stride=stride).transpose(1, 2).flatten(0, 1)
    return F.conv2d(x, w[name], stride=stride, padding=1)


def scaled(images):
    mean, deviation = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    return (torch.tensor(images, dtype=torch.float64) / 255 - mean) / deviation


def run_stem(w, x, met):
    return F.relu(batch_norm(w, "bn1", convolve(w, "conv1.weight", x, met)))


def run_block(at, w, x, met):
    stride = 2 if at.endswith(".0.") and not at.startswith("layer1") else 1
    y = F.relu(batch_norm(w, at + "bn1", convolve(w, at + "conv1.weight", x, met, stride)))
    y = batch_norm(w, at + "bn2", convolve(w, at + "conv2.weight", y, met))
    if stride == 2:
        spare = x.shape[1] // 2
        x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, spare, spare))
    return F.relu(x + y)


def run_head(w, x, met):
    met["linear.weight"] = x.mean((2, 3))
    return F.linear(met["linear.weight"], w["linear.weight"], w["linear.bias"])


def parts(w):
    yield run_stem
    for name in w:
        if re.fullmatch(r"layer\d\.\d\.conv1\.weight", name):
            yield functools.partial(run_block, name.removesuffix("conv1.weight"))
    yield run_head


def forward(w, images):
    """Logits in f64."""
    x = scaled(images)
    for part in parts(w):
        x = part(w, x, {})
    return x


def random_weights(blocks):
    generator = torch.Generator().manual_seed(4)
    w = {}

    def convolution(name, norm, out, of):
        w[name + ".weight"] = torch.randn(out, of, 3, 3, generator=generator) / (9 * of) ** 0.5
        for part, shift in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            w[f"{norm}.{part}"] = shift + 0.3 * torch.rand(out, generator=generator)

    convolution("conv1", "bn1", 8, 3)
    for stage, width in ((1, 8), (2, 16), (3, 32)):
        for block in range(blocks):
            at = f"layer{stage}.{block}."
            convolution(at + "conv1", at + "bn1", width, width // 2 if stage > 1 and block == 0 else width)
            convolution(at + "conv2", at + "bn2", width, width)
    w["linear.weight"], w["linear.bias"] = torch.randn(7, 32, generator=generator), torch.randn(7, generator=generator)
    return {name: values.float() for name, values in w.items()}


def compare(folder, model, w, classes, shape, what):
    generator = numpy.random.default_rng(5)
    images, labels = generator.integers(0, 256, (6, 3, *shape)), generator.integers(0, classes, 6)
    write_idx(os.path.join(folder, "images-idx4-ubyte"), images)
    write_idx(os.path.join(folder, "labels-idx1-ubyte"), labels)
    program, out = os.path.join(folder, "eval.cmp"), os.path.join(folder, "logits.npy")
    write_text(program, f'model m from "{model}" as resnet\ndata d from "images-idx4-ubyte"\n')
    call(CMPC, "eval", program, "--array", "logits", "-o", out)
    found, wanted = numpy.load(out), forward({n: v.double() for n, v in w.items()}, images).numpy()
    off = abs(found - wanted).max()
    check(found.shape == wanted.shape and off < 1e-4, f"{what}: logits off by {off}")
    print(f"{what}: off by {off:.1e} of {abs(wanted).max():.1f}")
    said = call(CMPC, "eval", program)
    accuracy = (wanted.argmax(1) == labels).mean()
    check(said.startswith(f"accuracy(d) = {accuracy:.5f} +- "), f"{what}: accuracy is {accuracy}, not: {said}")


def compress(folder, model, statement):
    """What the pipeline makes of it"""
    program, out, plain = (os.path.join(folder, name) for name in ("p.cmp", "out.safetensors", "plain.safetensors"))
    write_text(program, f'model m from "{model}" as resnet\ndata d from "images-idx4-ubyte"\n'
        f'pipeline p of m {{ {statement} save "out.safetensors" }}\n')
    call(CMPC, "run", program, "--output", out, "--force")
    call(CMPC, "decode", out, "-o", plain)
    return {n: torch.tensor(v) for n, v in llama.read_tensors(plain).items()}


def check_calibrated(folder, model, w, what):
    """Windows are the rows that meet a convolution; each block on what the ones before it have become. The matrices are so
    small that rows which differ by 1e-6 change PyTorch's own errors by 2%: 1% is asked of the mean of all."""
    def error(name, q, x):
        return torch.linalg.norm(x @ (w[name] - q.view_as(w[name])).flatten(1).double().T).item()

    generator, grid = numpy.random.default_rng(6), compress_torch.Grid(4, 9, stored=torch.float32)
    images = generator.integers(0, 256, (12, 3, 32, 32))
    write_idx(os.path.join(folder, "images-idx4-ubyte"), images)
    write_idx(os.path.join(folder, "labels-idx1-ubyte"), generator.integers(0, 7, 12))
    before, ratios, same = {n: v.double() for n, v in w.items()}, [], []
    gptq, wanda = (compress(folder, model, statement) for statement in
        ("quantize.gptq(dtype: int4(group: 9), data: d) on conv", "prune.wanda(data: d) on conv, head"))
    for found in (gptq, wanda):
        x, after = scaled(images), {n: v.double().view(before[n].shape) for n, v in found.items()}
        for part in parts(before):
            met = {}
            part(before, x, met)
            x = part(after, x, {})
            for name, rows in met.items():
                matrix = w[name].flatten(1)
                if found is gptq and name != "linear.weight":
                    wanted = compress_torch.gptq(matrix, rows.float(), grid)
                    ratios.append(error(name, found[name], rows) / error(name, wanted, rows))
                    check(ratios[-1] <= 1.04, f"{what}: gptq of {name}: {ratios[-1]:.4f} of PyTorch's error")
                elif found is wanda:
                    wanted = compress_torch.wanda(matrix, rows.float())
                    same.append(((found[name].flatten(1) == 0) == (wanted == 0)).reshape(-1))
    same = torch.cat(same).double().mean().item()
    check(same > 0.999, f"{what}: {same} of Wanda's masks")
    mean = numpy.exp(numpy.mean(numpy.log(ratios)))
    check(mean <= 1.01, f"{what}: gptq: {mean:.4f} of PyTorch's errors")
    print(f"{what}: GPTQ's errors are {mean:.4f} of PyTorch's, {max(ratios):.4f} at most, {same:.5f} of Wanda's masks are the same")


def main():
    with tempfile.TemporaryDirectory() as folder:
        w = random_weights(2)
        model = os.path.join(folder, "random")
        os.mkdir(model)
        write_safetensors(os.path.join(model, "model.safetensors"),
            {n: ("F32", v.shape, v.numpy().astype("<f4").tobytes()) for n, v in w.items()})
        write_text(os.path.join(model, "config.json"), json.dumps({"num_blocks": 2}))
        compare(folder, model, w, 7, (32, 32), "random")
        compare(folder, model, w, 7, (20, 13), "other sides")
        check_calibrated(folder, model, w, "random")
        shared = os.path.join(SHARED, "models", "resnet20-cifar10")
        if os.path.isdir(shared):
            tensors = llama.read_tensors(os.path.join(shared, "model.safetensors"))
            tensors = {n: torch.tensor(v) for n, v in tensors.items()}
            compare(folder, shared, tensors, 10, (32, 32), "ResNet-20")
            check_calibrated(folder, shared, tensors, "ResNet-20")
    finish("resnet")


main()
