#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stdlib's resnet against PyTorch's own convolutions on random images: a random checkpoint with two blocks in each stage,
images that are not square, and ResNet-20 where ../shared is there. Skipped where PyTorch is not installed.
"""

import json
import os
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
import llama

MEAN, DEVIATION = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def batch_norm(w, name, x):
    mean, variance, gain, bias = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, variance, gain, bias, eps=1e-5)


def forward(w, images):
    """Logits in f64."""
    mean, deviation = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    x = (torch.tensor(images, dtype=torch.float64) / 255 - mean) / deviation
    x = F.relu(batch_norm(w, "bn1", F.conv2d(x, w["conv1.weight"], padding=1)))
    for stage in (1, 2, 3):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in w:
            at = f"layer{stage}.{block}."
            stride = 2 if stage > 1 and block == 0 else 1
            y = F.relu(batch_norm(w, at + "bn1", F.conv2d(x, w[at + "conv1.weight"], stride=stride, padding=1)))
            y = batch_norm(w, at + "bn2", F.conv2d(y, w[at + "conv2.weight"], padding=1))
            if stride == 2:
                spare = x.shape[1] // 2
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, spare, spare))
            x = F.relu(x + y)
            block += 1
    return F.linear(x.mean((2, 3)), w["linear.weight"], w["linear.bias"])


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
        shared = os.path.join(SHARED, "models", "resnet20-cifar10")
        if os.path.isdir(shared):
            tensors = llama.read_tensors(os.path.join(shared, "model.safetensors"))
            compare(folder, shared, {n: torch.tensor(v) for n, v in tensors.items()}, 10, (32, 32), "ResNet-20")
    finish("resnet")


main()
