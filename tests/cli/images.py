#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Labelled images: stdlib's mlp against NumPy, accuracy with its standard error, also of what a pipeline makes, the samples
that are taken, and what is said of IDX files that are none, of images that a network does not know and of labels that it has no class for.
"""

import json
import os
import re
import tempfile

import numpy

from testing import CMPC, call, check, finish, write_safetensors, write_text
from images import write_idx

CLASSES, SIDES, WIDTH = 5, (6, 4), 16


class Folder:
    def __init__(self, path):
        self.path = path

    def at(self, *names):
        return os.path.join(self.path, *names)

    def write(self, data="test-images-idx3-ubyte", properties="", net="as mlp"):
        write_text(self.at("eval.cmp"), f'model m from "model" {net}\ndata d from "{data}" {properties}\n')
        return self.at("eval.cmp")

    def logits(self, **program):
        call(CMPC, "eval", self.write(**program), "--array", "logits", "-o", self.at("logits.npy"))
        return numpy.load(self.at("logits.npy"))


def write_model(folder, generator):
    shapes = {"input.weight": (WIDTH, SIDES[0] * SIDES[1]), "input.bias": (WIDTH,), "hidden.0.weight": (WIDTH, WIDTH),
        "hidden.1.weight": (WIDTH, WIDTH), "hidden.1.bias": (WIDTH,), "output.weight": (CLASSES, WIDTH)}
    w = {name: generator.normal(size=shape) / shape[-1] ** 0.5 for name, shape in shapes.items()}
    os.mkdir(folder.at("model"))
    write_safetensors(folder.at("model", "model.safetensors"),
        {n: ("F32", v.shape, v.astype("<f4").tobytes()) for n, v in w.items()})
    write_text(folder.at("model", "config.json"), json.dumps({"num_layers": 2, "mean": 0.25, "std": 0.5}))
    return w


def forward(w, images):
    x = (images.reshape(len(images), -1) / 255 - 0.25) / 0.5
    x = numpy.maximum(x @ w["input.weight"].T + w["input.bias"], 0)
    x = numpy.maximum(x @ w["hidden.0.weight"].T, 0)
    x = numpy.maximum(x @ w["hidden.1.weight"].T + w["hidden.1.bias"], 0)
    return x @ w["output.weight"].T


def check_accuracy(folder, wanted, labels):
    right = (wanted.argmax(1) == labels).astype(float)
    said = call(CMPC, "eval", folder.write())
    error = right.std(ddof=1) / len(right) ** 0.5
    check(said == f"accuracy(d) = {right.mean():.5f} +- {error:.5f}  ({len(right)} images)\n", f"accuracy: {said}")


def check_table(folder, w, images, labels):
    """Half of each row is zero: which half, NumPy says too."""
    kept = dict(w)
    for name in ("hidden.0.weight", "hidden.1.weight", "output.weight"):
        size = abs(w[name].astype("f4"))
        kept[name] = w[name] * (size >= numpy.sort(size, axis=1)[:, WIDTH // 2, None])
    logits = [forward(v, images) for v in (w, kept)]
    before, after = ((x.argmax(1) == labels).astype(float) for x in logits)
    p, q = (x - numpy.log(numpy.exp(x).sum(1, keepdims=True)) for x in logits)
    divergence = (numpy.exp(p) * (p - q)).sum(1)
    pipeline = 'pipeline half of m { prune.magnitude(sparsity: 50%) on "hidden*weight", "output.weight"  save "out" }'
    text = call(CMPC, "eval", folder.write(properties="\n" + pipeline))
    check("accuracy(d)" in text and "minus the original's" in text, f"the head of the table: {text}")
    found = [float(number) for number in re.findall(r"-?[0-9]+\.[0-9]{4}", text)]
    wanted = [f(v) for v in (before, after, after - before, divergence)
              for f in (numpy.mean, lambda v: v.std(ddof=1) / len(v) ** 0.5)]
    check(len(found) == 8 and abs(numpy.array(found) - wanted).max() < 6e-5, f"table: {text}, wanted {wanted}")
    check(before.mean() != after.mean(), "the pipeline changes nothing that is measured")


def check_samples(folder, wanted):
    """The first, or those that a seed chooses, with their own labels."""
    check(abs(folder.logits() - wanted).max() < 1e-5, "mlp: logits are off")
    first = folder.logits(properties="{ samples 7 }")
    check(first.shape == (7, CLASSES) and abs(first - wanted[:7]).max() < 1e-5, "mlp: the first seven")
    chosen = folder.logits(properties="{ samples 7  seed 3 }")
    places = [int(abs(wanted - row).max(1).argmin()) for row in chosen]
    check(places == sorted(set(places)) and places != list(range(7)), f"mlp: seed 3 chooses {places}")
    check(abs(chosen - wanted[places]).max() < 1e-5, "mlp: other images than those of the file")


def check_files(folder, images, labels):
    good = open(folder.at("test-images-idx3-ubyte"), "rb").read()
    names = {"labels": f'{{ labels "{folder.at("test-labels-idx1-ubyte")}" }}'}

    def refuse(data, message, properties=names["labels"], net="as mlp"):
        said = call(CMPC, "eval", folder.write(data=data, properties=properties, net=net), wants=1)
        check(message in said, f"{data}: wants {message}", said)

    for name, content, message in [
        ("short", good[:-1], "longer than the file"),
        ("long", good + b"x", "is longer than its header says"),
        ("cut", good[:9], "ends inside its header"),
        ("none", b"\x89PNG" + good, "is no IDX file"),
        ("gzip", b"\x1f\x8b" + good, "is compressed"),
        ("float", good[:2] + b"\x0d" + good[3:], "other numbers than unsigned bytes"),
        ("rank", good[:3] + b"\x09" + good[4:], "of another rank"),
        ("huge", good[:3] + b"\x04" + b"\xff" * 16, "longer than the file"),
        ("flat", b"\0\0\x08\1\0\0\0\2ab", "holds no images"),
        ("empty", b"\0\0\x08\3\0\0\0\0\0\0\0\6\0\0\0\4", "holds no image"),
    ]:
        with open(folder.at(name + "-ubyte"), "wb") as file:
            file.write(content)
        refuse(name + "-ubyte", message)
    refuse("missing-images-ubyte", "No such file")
    refuse("short-ubyte", 'no "images" in its name', properties="")
    write_idx(folder.at("few-labels"), labels[:-1])
    refuse("test-images-idx3-ubyte", "39 labels for 40 images", properties='{ labels "few-labels" }')
    write_idx(folder.at("high-labels"), numpy.where(numpy.arange(40) == 11, CLASSES, labels))
    refuse("test-images-idx3-ubyte", f"the label of image 11 is {CLASSES}, the network knows {CLASSES} classes",
        properties='{ labels "high-labels" }')
    for what, changed in (("large", numpy.pad(images, ((0, 0), (0, 1), (0, 0)))), ("small", images[:, 1:])):
        write_idx(folder.at(what + "-images-idx3-ubyte"), changed)
        refuse(what + "-images-idx3-ubyte", "the subscript runs to")
    refuse("test-images-idx3-ubyte", 'data of images gives no array "tokens"', net="as llama")
    numpy.save(folder.at("tokens.npy"), numpy.arange(9))
    refuse("tokens.npy", "only images have labels")
    refuse("tokens.npy", 'data of tokens gives no array "image"', properties="")


def main():
    generator = numpy.random.default_rng(8)
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        w = write_model(folder, generator)
        images, labels = generator.integers(0, 256, (40, *SIDES)), generator.integers(0, CLASSES, 40)
        write_idx(folder.at("test-images-idx3-ubyte"), images)
        write_idx(folder.at("test-labels-idx1-ubyte"), labels)
        wanted = forward(w, images)
        check_accuracy(folder, wanted, labels)
        check_table(folder, w, images, labels)
        check_samples(folder, wanted)
        check_files(folder, images, labels)
    finish("images")


main()
