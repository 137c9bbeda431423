# SPDX-License-Identifier: MIT
"""For the scripts beside it: tensors of safetensors files as (dtype, array of f32 whose values the dtype has)."""
import numpy as np

from testing import read_safetensors, write_safetensors


def bf16_bits(values):
    """Rounded to nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def encode(dtype, values):
    if dtype == "BF16":
        return bf16_bits(values).tobytes()
    return values.astype({"F16": "<f2", "F32": "<f4"}[dtype]).tobytes()


def decode(dtype, data):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[dtype]).astype(np.float32)


def rounded(dtype, values):
    """As they are after a dtype has had them."""
    return decode(dtype, encode(dtype, values)).reshape(values.shape)


def read_arrays(path):
    """{name: (dtype, array of f32)}"""
    return {name: (dtype, decode(dtype, data).reshape(shape)) for name, (dtype, shape, data) in read_safetensors(path).items()}


def write_arrays(path, tensors):
    write_safetensors(path, {name: (dtype, x.shape, encode(dtype, x)) for name, (dtype, x) in tensors.items()})


def same(got, wanted):
    """Bit for bit."""
    return got.shape == wanted.shape and np.array_equal(got.view(np.uint32), wanted.view(np.uint32))
