#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What readers make of stored tensors: GGUF files, the block types of GGUF and the planes of
compressed-tensors, in NumPy. Written from the byte layouts (ggml-quants.h; compressed-tensors), not from stdlib.

  BLOCKS[name] is (GGUF type, elements, bytes, reader of blocks [n, bytes] -> f32 [n, elements]),
  PLANES[name] a reader of (tensors of a file, module's name with its dot) -> f32 [rows, cols].
"""
import struct

import numpy as np

F = np.float32
IQ4_NL = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], F)
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], F)


def read_gguf(path):
    data = open(path, "rb").read()
    at = 24
    tensors, pairs = struct.unpack("<QQ", data[8:24])
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def number(code):
        nonlocal at
        at += struct.calcsize(code)
        return struct.unpack_from(code, data, at - struct.calcsize(code))[0]

    def string():
        nonlocal at
        length = number("<Q")
        at += length
        return data[at - length : at].decode()

    def skip(kind):
        nonlocal at
        if kind == 8:
            string()
        elif kind == 9:
            inner, count = number("<I"), number("<Q")
            for _ in range(count):
                skip(inner)
        else:
            at += sizes[kind]

    for _ in range(pairs):
        string()
        skip(number("<I"))
    infos = []
    for _ in range(tensors):
        name = string()
        shape = [number("<Q") for _ in range(number("<I"))][::-1]
        infos.append((name, shape, number("<I"), number("<Q")))
    start = (at + 31) // 32 * 32
    return {name: (code, shape, data, start + offset) for name, shape, code, offset in infos}


def half(b):
    return np.ascontiguousarray(b).view("<f2").astype(F)


def k4_scales(s):
    scale, least = np.empty((len(s), 8), np.uint8), np.empty((len(s), 8), np.uint8)
    scale[:, :4], least[:, :4] = s[:, :4] & 63, s[:, 4:8] & 63
    scale[:, 4:] = (s[:, 8:12] & 15) | ((s[:, :4] >> 6) << 4)
    least[:, 4:] = (s[:, 8:12] >> 4) | ((s[:, 4:8] >> 6) << 4)
    return scale.astype(F), least.astype(F)


def nibbles(q):
    return np.concatenate([q & 15, q >> 4], 1)


def q4_0(b):
    return (nibbles(b[:, 2:]).astype(F) - 8) * half(b[:, :2])


def q4_1(b):
    return nibbles(b[:, 4:]).astype(F) * half(b[:, :2]) + half(b[:, 2:4])


def fifth(b, at):
    word = np.ascontiguousarray(b[:, at : at + 4]).view("<u4")
    return nibbles(b[:, at + 4 :]) | (((word >> np.arange(32, dtype=np.uint32)) & 1).astype(np.uint8) << 4)


def q5_0(b):
    return (fifth(b, 2).astype(F) - 16) * half(b[:, :2])


def q5_1(b):
    return fifth(b, 4).astype(F) * half(b[:, :2]) + half(b[:, 2:4])


def q8_0(b):
    return b[:, 2:].view(np.int8).astype(F) * half(b[:, :2])


def iq4_nl(b):
    return IQ4_NL[nibbles(b[:, 2:])] * half(b[:, :2])


def mxfp4(b):
    return E2M1[nibbles(b[:, 1:])] * np.ldexp(F(1), b[:, :1].astype(int) - 127).astype(F)


def nvfp4(b):
    out = np.empty((len(b), 64), F)
    code = b[:, :4].astype(int)
    scale = np.where(code >> 3, np.ldexp(F(8) + (code & 7), (code >> 3) - 10), np.ldexp((code & 7).astype(F), -9)).astype(F)
    for j in range(4):
        out[:, 16 * j : 16 * j + 16] = E2M1[nibbles(b[:, 4 + 8 * j : 12 + 8 * j])] * scale[:, j : j + 1]
    return out


def q2_K(b):
    scale, q, d, least = b[:, :16], b[:, 16:80], half(b[:, 80:82]), half(b[:, 82:84])
    out = np.empty((len(b), 256), F)
    for i in range(16):
        at = i // 8 * 32 + i % 2 * 16
        code = (q[:, at : at + 16] >> (2 * (i % 8 // 2))) & 3
        low, high = (scale[:, i : i + 1] & 15).astype(F), (scale[:, i : i + 1] >> 4).astype(F)
        out[:, 16 * i : 16 * i + 16] = (d * low) * code.astype(F) - least * high
    return out


def q3_K(b):
    mask, q, s, d = b[:, :32], b[:, 32:96], b[:, 96:108], half(b[:, 108:110])
    out = np.empty((len(b), 256), F)
    for i in range(16):
        scale = ((s[:, i % 8] >> (4 * (i // 8))) & 15) | (((s[:, 8 + i % 4] >> (2 * (i // 4))) & 3) << 4)
        at, plane = i // 8 * 32 + i % 2 * 16, i // 8 * 4 + i % 8 // 2
        code = ((q[:, at : at + 16] >> (2 * (i % 8 // 2))) & 3).astype(int)
        is_high = (mask[:, i % 2 * 16 : i % 2 * 16 + 16] >> plane) & 1
        code = code - np.where(is_high, 0, 4)
        out[:, 16 * i : 16 * i + 16] = (d * (scale.astype(int) - 32).astype(F)[:, None]) * code.astype(F)
    return out


def q45_K(b, fifth_at, q_at):
    d, least = half(b[:, :2]), half(b[:, 2:4])
    scale, low = k4_scales(b[:, 4:16])
    out = np.empty((len(b), 256), F)
    for i in range(8):
        code = (b[:, q_at + i // 2 * 32 : q_at + i // 2 * 32 + 32] >> (4 * (i % 2))) & 15
        if fifth_at:
            code = code | (((b[:, fifth_at : fifth_at + 32] >> i) & 1) << 4)
        out[:, 32 * i : 32 * i + 32] = (d * scale[:, i : i + 1]) * code.astype(F) - least * low[:, i : i + 1]
    return out


def q6_K(b):
    low, high, scale, d = b[:, :128], b[:, 128:192], b[:, 192:208].view(np.int8), half(b[:, 208:210])
    out = np.empty((len(b), 256), F)
    for i in range(16):
        part, quarter, side = i // 8, i % 8 // 2, i % 2 * 16
        at = part * 64 + quarter % 2 * 32 + side
        four = (low[:, at : at + 16] >> (4 * (quarter // 2))) & 15
        two = (high[:, part * 32 + side : part * 32 + side + 16] >> (2 * quarter)) & 3
        code = (four | (two << 4)).astype(int) - 32
        out[:, 16 * i : 16 * i + 16] = (d * scale[:, i : i + 1].astype(F)) * code.astype(F)
    return out


BLOCKS = {  # name: type id, elements, bytes, reader
    "q4_0": (2, 32, 18, q4_0), "q4_1": (3, 32, 20, q4_1), "q5_0": (6, 32, 22, q5_0), "q5_1": (7, 32, 24, q5_1),
    "q8_0": (8, 32, 34, q8_0), "q2_K": (10, 256, 84, q2_K), "q3_K": (11, 256, 110, q3_K),
    "q4_K": (12, 256, 144, lambda b: q45_K(b, 0, 16)), "q5_K": (13, 256, 176, lambda b: q45_K(b, 16, 48)),
    "q6_K": (14, 256, 210, q6_K), "iq4_nl": (20, 32, 18, iq4_nl), "mxfp4": (39, 32, 17, mxfp4),
    "nvfp4": (40, 64, 36, nvfp4),
}


def bf16(data):
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(F)


def words(data, shape):
    return (np.frombuffer(data, "<u4").reshape(shape)[..., None] >> (4 * np.arange(8, dtype=np.uint32))) & 15


def e4m3(data):
    code = np.frombuffer(data, np.uint8).astype(int)
    size = code & 127
    value = np.where(size >> 3, np.ldexp(F(8) + (size & 7), (size >> 3) - 10), np.ldexp((size & 7).astype(F), -9))
    return np.where(code >> 7, -value, value).astype(F)


def planes_int8(t, m):
    return np.frombuffer(t[m + "weight"][2], np.int8).reshape(t[m + "weight"][1]).astype(F) * scales(t, m)


def planes_f8(t, m):
    return e4m3(t[m + "weight"][2]).reshape(t[m + "weight"][1]) * scales(t, m)


def scales(t, m):
    return bf16(t[m + "weight_scale"][2]).reshape(t[m + "weight_scale"][1])


def planes_int4(t, m):
    code = words(t[m + "weight_packed"][2], t[m + "weight_packed"][1]).reshape(len(scales(t, m)), -1, 128).astype(F)
    zero = F(8)
    if m + "weight_zero_point" in t:
        points = words(t[m + "weight_zero_point"][2], t[m + "weight_zero_point"][1])
        zero = points.transpose(0, 2, 1).reshape(-1, points.shape[1])[: len(code)].astype(F)[:, :, None]
    return ((code - zero) * scales(t, m)[:, :, None]).reshape(len(code), -1)


def planes_mxfp4(t, m):
    packed, shape = t[m + "weight_packed"][2], t[m + "weight_packed"][1]
    b = np.frombuffer(packed, np.uint8).reshape(shape)
    value = E2M1[np.stack([b & 15, b >> 4], -1).reshape(shape[0], -1)]
    scale = np.frombuffer(t[m + "weight_scale"][2], np.uint8).reshape(t[m + "weight_scale"][1]).astype(int)
    return value * np.repeat(np.ldexp(F(1), scale - 127).astype(F), 32, 1)


def planes_nvfp4(t, m):
    packed, shape = t[m + "weight_packed"][2], t[m + "weight_packed"][1]
    b = np.frombuffer(packed, np.uint8).reshape(shape)
    value = E2M1[np.stack([b & 15, b >> 4], -1).reshape(shape[0], -1)]
    scale = e4m3(t[m + "weight_scale"][2]).reshape(t[m + "weight_scale"][1])
    whole = np.frombuffer(t[m + "weight_global_scale"][2], F)
    return value * np.repeat((scale / whole).astype(F), 16, 1)


PLANES = {"int8": planes_int8, "f8_e4m3": planes_f8, "int4_g128": planes_int4, "int4_g128_asym": planes_int4,
          "mxfp4": planes_mxfp4, "nvfp4": planes_nvfp4}
