#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""NumPy references of the formats that no golden file covers: f8_e4m3, int8, int4_g128,
int4_g128_asym (compressed-tensors) and nf4. Written from the formats' definitions, apart from
stdlib's equations: rounding to E4M3 is a search in the table of its values, not bit arithmetic.

  encode_reference.py DTYPE ROWS COLS IN.f32 OUTDIR [--input f32|f16|bf16]
      reads ROWS x COLS little-endian f32, writes OUTDIR/PLANE.bin for each plane, and value.bin,
      what a reader decodes, as f32. --input is the tensor's stored type, which scales keep.
  encode_reference.py --self-test
  encode_reference.py --sample ROWS COLS OUT.f32
      rows with ties, zero blocks, zeros of both signs, one-sided blocks, huge and tiny magnitudes.

As a library: encode(dtype, x, input) -> {plane: array of the file's type and shape}, and "value".
"""
import os
import sys

import numpy as np

F32 = np.float32


# ---- storage ----

def to_bf16_bits(x):
    """f32 -> bits of bf16, nearest even."""
    bits = np.asarray(x, F32).view(np.uint32).astype(np.uint64)
    lower, upper = bits & 0xFFFF, bits >> 16
    up = (lower > 0x8000) | ((lower == 0x8000) & ((upper & 1) == 1))
    return (upper + up).astype(np.uint16)


def from_bf16_bits(bits):
    return (bits.astype(np.uint32) << 16).view(F32)


def store_scale(d, kind):
    """(what lies in the file, what a reader computes with) for a scale in the tensor's own type."""
    d = np.asarray(d, F32)
    if kind == "f32":
        return d, d
    if kind == "f16":
        stored = d.astype(np.float16)
        return stored, stored.astype(F32)
    stored = to_bf16_bits(d)
    return stored, from_bf16_bits(stored)


def e4m3_values():
    """The 127 finite magnitudes of E4M3 by code: 4 exponent bits with bias 7, 3 mantissa bits."""
    values = [m * 2.0**-9 for m in range(8)]
    values += [(8 + m) * 2.0**(e - 10) for e in range(1, 16) for m in range(8)]
    return np.array(values[:127])


def to_e4m3(x):
    """f32 -> codes: nearest, a tie to the even code, larger magnitudes saturate at 448; NaN is 127."""
    table = e4m3_values()
    magnitude = np.fmin(np.abs(np.asarray(x, F32)).astype(np.float64), 448.0)
    below = np.clip(np.searchsorted(table, magnitude, "right") - 1, 0, 126)
    above = np.minimum(below + 1, 126)
    to_below, to_above = magnitude - table[below], table[above] - magnitude
    is_up = (to_above < to_below) | ((to_above == to_below) & (below % 2 == 1))
    code = np.where((above > below) & is_up, above, below).astype(np.uint8)
    return np.where(np.isnan(x), np.uint8(127), code | (np.signbit(x).astype(np.uint8) << 7))


def from_e4m3(code):
    magnitude = np.append(e4m3_values(), np.nan)[code & 127].astype(F32)
    return np.where(code >> 7, -magnitude, magnitude)


def divide(x, d):
    """x / d in f32, 0 where d is 0."""
    d = np.broadcast_to(d, x.shape)
    return np.where(d == 0, F32(0), x / np.where(d == 0, F32(1), d)).astype(F32)


def largest(x, axis, keepdims=False):
    """NaN do not count; of nothing it is -inf."""
    return np.fmax.reduce(x, axis, keepdims=keepdims, initial=-np.inf).astype(F32)


def clamp(x, low, high):
    """Whole numbers; a NaN is the lowest."""
    return np.fmin(np.fmax(np.rint(x), low), high).astype(np.int32)


# ---- packing ----

def pack_words(codes, axis):
    """Unsigned 4-bit codes -> int32, eight to a word along axis, the first lowest, zeros behind the end."""
    codes = np.moveaxis(np.asarray(codes, np.uint32), axis, -1)
    pad = -codes.shape[-1] % 8
    codes = np.concatenate([codes, np.zeros(codes.shape[:-1] + (pad,), np.uint32)], -1)
    words = np.zeros(codes.shape[:-1] + (codes.shape[-1] // 8,), np.uint32)
    for j in range(8):
        words |= codes[..., j::8] << np.uint32(4 * j)
    return np.ascontiguousarray(np.moveaxis(words, -1, axis)).view(np.int32)


def shape_plane(x):
    return np.array(x.shape, np.int64)


# ---- formats ----

def encode_f8_e4m3(x, kind):
    stored, d = store_scale(largest(np.abs(x), 1, True) / F32(448), kind)
    code = to_e4m3(divide(x, d))
    code[np.broadcast_to(d == 0, x.shape)] = 0
    return {"weight": code, "weight_scale": stored, "value": from_e4m3(code) * d}


def encode_int8(x, kind):
    stored, d = store_scale(largest(np.abs(x), 1, True) / F32(127.5), kind)
    code = clamp(divide(x, d), -128, 127).astype(np.int8)
    return {"weight": code, "weight_scale": stored, "value": code.astype(F32) * d}


def encode_int4_g128(x, kind):
    rows, cols = x.shape
    g = x.reshape(rows, cols // 128, 128)
    stored, d = store_scale(largest(np.abs(g), 2) / F32(7.5), kind)
    code = clamp(divide(g, d[:, :, None]), -8, 7)
    return {"weight_packed": pack_words((code + 8).reshape(rows, cols), 1), "weight_scale": stored,
            "weight_shape": shape_plane(x), "value": (code.astype(F32) * d[:, :, None]).reshape(rows, cols)}


def encode_int4_g128_asym(x, kind):
    rows, cols = x.shape
    g = x.reshape(rows, cols // 128, 128)
    low, high = -np.fmax(largest(-g, 2), F32(0)), np.fmax(largest(g, 2), F32(0))
    stored, d = store_scale((high - low) / F32(15), kind)
    zero = clamp(F32(-8) - divide(low, d), -8, 7)
    zero[d == 0] = -8
    code = clamp(divide(g, d[:, :, None]) + zero[:, :, None].astype(F32), -8, 7)
    code[d == 0] = -8
    value = (code - zero[:, :, None]).astype(F32) * d[:, :, None]
    return {"weight_packed": pack_words((code + 8).reshape(rows, cols), 1), "weight_scale": stored,
            "weight_zero_point": pack_words(zero + 8, 0), "weight_shape": shape_plane(x),
            "value": value.reshape(rows, cols)}


NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1.0], F32)


def encode_nf4(x, kind):
    """Rows of bytes: of each 64 the f32 scale, then 32 bytes, element 2j in the low half of byte j."""
    rows, cols = x.shape
    b = x.reshape(rows, cols // 64, 64)
    d = largest(np.abs(b), 2)
    r = np.where(d == 0, F32(0), F32(1) / np.where(d == 0, F32(1), d)).astype(F32)
    distance = np.abs(NF4 - (b * r[:, :, None])[..., None])
    distance[np.isnan(distance)] = np.inf
    code = distance.argmin(-1).astype(np.uint8)          # the lowest of equally near codes; of a NaN the first
    packed = code[..., 0::2] | code[..., 1::2] << 4
    scale = np.ascontiguousarray(d[:, :, None]).view(np.uint8)
    bytes_ = np.concatenate([scale, packed], 2).reshape(rows, -1)
    return {"self": bytes_, "value": (NF4[code] * d[:, :, None]).reshape(rows, cols)}


ENCODERS = {"f8_e4m3": encode_f8_e4m3, "int8": encode_int8, "int4_g128": encode_int4_g128,
            "int4_g128_asym": encode_int4_g128_asym, "nf4": encode_nf4}


def encode(dtype, x, kind="f32"):
    with np.errstate(all="ignore"):
        return ENCODERS[dtype](np.ascontiguousarray(x, F32), kind)


# ---- samples and self-test ----

def sample(rows, cols, seed=1):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((rows, cols)) * 0.02).astype(F32)
    makers = [
        lambda n: np.zeros(n),
        lambda n: np.where(np.arange(n) % 3 == 0, -0.0, 0.0),
        lambda n: np.full(n, 0.37),
        lambda n: np.where(np.arange(n) % 2, 0.5, -0.5),
        lambda n: np.concatenate([[7.5], (np.arange(n - 1) % 31 - 15) * 0.5]),     # int4 with scale 1: every half is a tie
        lambda n: np.concatenate([[127.5], (np.arange(n - 1) % 511 - 255) * 0.5]),  # int8 likewise
        lambda n: np.concatenate([[15.0], (np.arange(n - 1) % 31) * 0.5]),          # asymmetric likewise
        lambda n: np.concatenate([[448.0], (np.arange(n - 1) % 129 - 64) * 0.0625]),  # E4M3 likewise
        lambda n: np.concatenate([[1.0], np.resize((NF4[:-1] + NF4[1:]) / 2, n - 1)]),  # between two NF4 codes
        lambda n: np.abs(rng.standard_normal(n)),
        lambda n: -np.abs(rng.standard_normal(n)) - 1,
        lambda n: rng.standard_normal(n) * 1e-8,
        lambda n: rng.standard_normal(n) * 1e-40,                                   # subnormal
        lambda n: rng.standard_normal(n) * 300,
        lambda n: rng.standard_t(2, n),
        lambda n: np.where(np.arange(n) // 64 % 2, rng.standard_normal(n), 0),
    ]
    for row in range(rows):
        if row % (len(makers) + 1):
            x[row] = makers[row % (len(makers) + 1) - 1](cols).astype(F32)
    return x


def self_test():
    codes = np.arange(127, dtype=np.uint8)
    assert (to_e4m3(from_e4m3(codes)) == codes).all() and from_e4m3(np.uint8(126)) == 448
    assert (to_e4m3(F32([17, 19, 1e9, -0.0, 2.0**-10, 3 * 2.0**-10])) == [88, 90, 126, 128, 0, 2]).all()
    assert pack_words(np.arange(8)[None], 1)[0, 0] == 0x76543210
    assert pack_words(np.full((9, 1), 15), 0)[:, 0].tolist() == [-1, 15]
    x = sample(37, 256)
    for kind in ("f32", "f16", "bf16"):
        for dtype, largest in (("f8_e4m3", 0.05), ("int8", 0.01), ("int4_g128", 0.2), ("int4_g128_asym", 0.2), ("nf4", 0.2)):
            value = encode(dtype, x, kind)["value"]
            usual = np.arange(37) % 17 == 0
            error = np.linalg.norm(value[usual] - x[usual]) / np.linalg.norm(x[usual])
            assert error < largest, (dtype, kind, error)
            assert (value[np.arange(37) % 17 == 1] == 0).all(), dtype
    half = encode("int8", np.array([[127.5, 0.5, 1.5, 2.5, -0.5, -1.5]], F32))["weight"]
    assert half.tolist() == [[127, 0, 2, 2, 0, -2]]
    print("ok")


def main(argv):
    if argv[:1] == ["--self-test"]:
        return self_test()
    if argv[:1] == ["--sample"] and len(argv) == 4:
        sample(int(argv[1]), int(argv[2])).tofile(argv[3])
        return None
    kind = "f32"
    if "--input" in argv:
        at = argv.index("--input")
        kind = argv[at + 1]
        argv = argv[:at] + argv[at + 2:]
    if len(argv) != 5 or argv[0] not in ENCODERS or kind not in ("f32", "f16", "bf16"):
        sys.exit(__doc__)
    dtype, rows, cols, source, folder = argv
    x = np.fromfile(source, "<f4").reshape(int(rows), int(cols))
    os.makedirs(folder, exist_ok=True)
    for plane, array in encode(dtype, x, kind).items():
        np.ascontiguousarray(array).tofile(os.path.join(folder, plane + ".bin"))
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
