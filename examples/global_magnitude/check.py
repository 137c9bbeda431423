#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py IN OUT: how many of the projections' weights in OUT are zero, and whether they are the smallest of IN."""

import json
import struct
import sys

import numpy


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        head, data = json.loads(file.read(length)), file.read()
    names = [name for name in head if name.endswith("_proj.weight")]
    bits = [numpy.frombuffer(data[slice(*head[name]["data_offsets"])], "<u2") for name in names]
    return (numpy.concatenate(bits).astype(numpy.uint32) << 16).view(numpy.float32)


before, after = read(sys.argv[1]), read(sys.argv[2])
order = numpy.argsort(numpy.abs(before), kind="stable")
half = (before.size + 1) // 2
print(f"{(after == 0).sum()} of {after.size} are zero")
print("the smallest:", not after[order[:half]].any())
print("the others as they were:", (after[order[half:]] == before[order[half:]]).all())
