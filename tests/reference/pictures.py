# SPDX-License-Identifier: MIT
"""PNG files of any kind of color, and JPEG files of blocks of one color each, from their specifications."""

import struct
import zlib


# ---- PNG ----


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(values, bits):
    """values[row][column, sample]: each row behind its filter, which is none"""
    rows = b""
    for row in values:
        text = "".join(format(v, f"0{bits}b") for v in row.reshape(-1).tolist())
        text += "0" * (-len(text) % 8)
        rows += b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    return rows


SEVEN = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(values, kind, bits=8, palette=None, interlaced=False):
    """values[h, w, samples]; kind 0 gray, 2 colors, 3 palette, 4 gray and alpha, 6 colors and alpha"""
    height, width = values.shape[:2]
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced))
    out += chunk(b"gAMA", struct.pack(">I", 100000))
    if palette is not None:
        out += chunk(b"PLTE", palette.astype("u1").tobytes())
    parts = [values[y::dy, x::dx] for x, y, dx, dy in SEVEN] if interlaced else [values]
    rows = b"".join(packed_rows(part, bits) for part in parts if part.size)
    return out + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ---- JPEG: of each block of 8 x 8 its mean alone ----


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(blocks):
    """blocks[rows, columns, components]: levels from 0 to 255, one component or Y, Cb, Cr"""
    rows, columns, components = blocks.shape
    out = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    frame = b"".join(bytes([i + 1, 0x11, 0]) for i in range(components))
    out += segment(0xC0, struct.pack(">BHHB", 8, 8 * rows, 8 * columns, components) + frame)
    # codes of four bits for the lengths 0 to 11 of a mean's difference; one bit, 0, for the end of a block
    out += segment(0xC4, b"\x00" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12)))
    out += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
    scan = b"".join(bytes([i + 1, 0]) for i in range(components))
    out += segment(0xDA, bytes([components]) + scan + b"\0\x3f\0")
    bits, before = "", [0] * components
    for row in blocks.tolist():
        for block in row:
            for i, level in enumerate(block):
                mean = 8 * (level - 128)
                apart, before[i] = mean - before[i], mean
                size = abs(apart).bit_length()
                bits += format(size, "04b")
                bits += format(apart if apart > 0 else apart + 2**size - 1, f"0{size}b") if size else ""
                bits += "0"
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return out + data.replace(b"\xff", b"\xff\0") + b"\xff\xd9"
