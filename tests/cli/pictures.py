#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Folders of pictures: what a network sees of PNG files of every kind of color and of JPEG files, which are written here
after their specifications; their classes, their order, the samples that are taken; and what is
said of files with something wrong in them. Skipped where cmpc is built without libpng and libjpeg."""

import os
import shutil
import tempfile

import numpy

from testing import CMPC, call, check, cmpc, finish, skip, write_safetensors, write_text
from pictures import jpeg, png

NET = """net look {
  one[a, b] = weight "one"
  pixel[c, p, q] = data "image"
  label = data "label"
  seen[c, p, q] = pixel[c, p, q] * one[0, 0]
  class[u < 1] = label * one[0, 0]
  correct = if class[0] == label then one[0, 0] else 0
}
"""


class Folder:
    def __init__(self, path):
        self.path = path
        os.mkdir(self.at("model"))
        write_safetensors(self.at("model", "model.safetensors"), {"one": ("F32", (1, 1), numpy.ones(1, "<f4").tobytes())})
        write_text(self.at("model", "config.json"), "{}")

    def at(self, *names):
        return os.path.join(self.path, *names)

    def put(self, pictures):
        """{path: bytes}, in the place of those that were there"""
        shutil.rmtree(self.at("data"), ignore_errors=True)
        os.mkdir(self.at("data"))
        for name, data in pictures.items():
            os.makedirs(os.path.dirname(self.at("data", name)), exist_ok=True)
            with open(self.at("data", name), "wb") as file:
                file.write(data)

    def program(self, properties=""):
        write_text(self.at("look.cmp"), NET + f'model m from "model" as look\ndata d from "data" {properties}\n')
        return self.at("look.cmp")

    def array(self, name, properties=""):
        call(CMPC, "eval", self.program(properties), "--array", name, "-o", self.at(name + ".npy"))
        return numpy.load(self.at(name + ".npy"))

    def refuse(self, what, *messages):
        status, text, errors = cmpc("eval", self.program())
        lines = [line for line in errors.splitlines() if "error:" in line]
        check(status == 1 and len(lines) == 1 and all(m in lines[0] for m in messages), f"{what}: {status}", text + errors)


def planes(values):
    return values.transpose(2, 0, 1)


def check_kinds(folder, random):
    """Colors from all kinds of files; the gray ones among them have three equal ones."""
    colors = random.integers(0, 256, (8, 16, 3))
    gray = random.integers(0, 256, (8, 16, 1))
    alpha = random.integers(0, 256, (8, 16, 1))
    palette, codes = random.integers(0, 256, (16, 3)), random.integers(0, 16, (8, 16, 1))
    deep = random.integers(0, 65536, (8, 16, 3))
    two = random.integers(0, 4, (8, 16, 1))
    level = random.integers(0, 256, (1, 2, 1))
    wanted = {
        "a.png": (png(gray, 0), gray), "b.PNG": (png(colors, 2), colors),
        "c.png": (png(codes, 3, 4, palette), palette[codes[..., 0]]),
        "d.png": (png(numpy.concatenate([gray, alpha], 2), 4), gray),
        "e.png": (png(numpy.concatenate([colors, alpha], 2), 6), colors),
        "f.png": (png(deep, 2, 16), numpy.floor(deep / 257 + 0.5)), "g.png": (png(two, 0, 2), two * 85),
        "h.png": (png(colors, 2, interlaced=True), colors),
        "i.jpg": (jpeg(level), numpy.repeat(numpy.repeat(level, 8, 0), 8, 1)),
    }
    folder.put({f"only/{name}": data for name, (data, _) in wanted.items()})
    seen = folder.array("seen")
    check(seen.shape == (len(wanted), 3, 8, 16), f"kinds: {seen.shape}")
    for i, (name, (_, values)) in enumerate(wanted.items()):
        check((seen[i] == planes(numpy.broadcast_to(values, (8, 16, 3)))).all(), f"{name}: other pixels")
    folder.put({"only/a.png": wanted["a.png"][0], "only/i.jpeg": wanted["i.jpg"][0]})
    check(folder.array("seen").shape == (2, 1, 8, 16), "gray ones have one channel")


def check_jpeg_colors(folder, random):
    blocks = random.integers(90, 166, (2, 3, 3))
    y, cb, cr = (blocks[..., i] - (128 if i else 0) for i in range(3))
    colors = numpy.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 2)
    folder.put({"only/a.JPEG": jpeg(blocks)})
    seen = folder.array("seen")[0]
    wanted = planes(numpy.repeat(numpy.repeat(colors, 8, 0), 8, 1))
    check(seen.shape == wanted.shape and abs(seen - wanted).max() <= 1, f"JPEG: off by {abs(seen - wanted).max()}")


def check_order(folder, random):
    """Folders by their names, one without pictures counts; in each its pictures by theirs."""
    names = ["Zebra/2.png", "ant/10.png", "ant/9.png", "cow/x.y.png"]
    pictures = {name: random.integers(0, 256, (4, 5, 1)) for name in names}
    files = {name: png(values, 0) for name, values in pictures.items()}
    folder.put({**files, "notes.txt": b"no class", "ant/notes.txt": b"no picture", ".hidden/1.png": b"", "ant/.1.png": b""})
    os.mkdir(folder.at("data", "bee"))
    check((folder.array("seen") == numpy.stack([planes(pictures[n]) for n in names])).all(), "order: other pictures")
    labels = numpy.array([0, 1, 1, 3])
    check((folder.array("class").reshape(-1) == labels).all(), "order: other labels")
    check((folder.array("class", "{ samples 2 }").reshape(-1) == labels[:2]).all(), "the first two")
    said = call(CMPC, "eval", folder.program())
    check(said == "accuracy(d) = 1.00000 +- 0.00000  (4 images)\n", f"accuracy: {said}")


def check_refusals(folder, random):
    gray = random.integers(0, 256, (8, 8, 1))
    good, also = png(gray, 0), jpeg(numpy.full((1, 1, 1), 70))
    for what, bad, *messages in (
        ("a PNG that is cut", good[:-20], "b.png is no good PNG picture: "),
        ("a PNG without its end", good[:-12], "b.png is no good PNG picture: it ends early"),
        ("a wrong sum", good[:60] + b"\x55" + good[61:], "b.png is no good PNG picture: "),
        ("huge sides", good[:16] + b"\0\0\xff\xff\0\0\xff\xff" + good[24:], "b.png"),
        ("a JPEG that is cut", also[:-3], "b.png is no good JPEG picture: "),
        ("a JPEG of its head", also[:30], "b.png is no good JPEG picture: "),
        ("JPEG without tables", also[:2] + also[71:], "b.png is no good JPEG picture: "),
        ("another file", b"GIF89a" + good, "b.png is neither a PNG nor a JPEG picture"),
        ("nothing", b"", "b.png is neither a PNG nor a JPEG picture"),
        ("another size", png(gray[:7], 0), "b.png is 8 x 7, and ", "a.png is 8 x 8: pictures of a data set are of one size"),
    ):
        folder.put({"x/a.png": good, "x/b.png": bad})
        folder.refuse(what, *messages)
    folder.put({"a.png": good})
    folder.refuse("no classes", "has no folders, one for each class of pictures")
    folder.put({"x/a.txt": good})
    folder.refuse("no pictures", "has no pictures in its folders, .png and .jpg")


def main():
    random = numpy.random.default_rng(12)
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        folder.put({"x/a.png": png(numpy.zeros((2, 2, 1), int), 0)})
        if "built with libpng" in cmpc("eval", folder.program())[2]:
            skip("built without libpng and libjpeg")
        for test in (check_kinds, check_jpeg_colors, check_order, check_refusals):
            test(folder, random)
    finish("pictures")


main()
