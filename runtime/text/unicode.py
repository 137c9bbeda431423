#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes unicode.inc, the tables of unicode.c, from Python's unicodedata."""

import sys
import unicodedata

HANGUL = range(0xAC00, 0xAC00 + 11172)
CODES = [code for code in range(0x80, 0x110000) if not 0xD800 <= code < 0xE000]


def table(name, what, rows):
    print(f"/* {what} */\nstatic const int32_t {name}[][{len(rows[0])}] = {{")
    line = "\t"
    for row in rows:
        text = "{" + ", ".join(hex(value) if value > 255 else str(value) for value in row) + "},"
        if len(line) + len(text) > 116:
            print(line.rstrip())
            line = "\t"
        line += text + " "
    print(line.rstrip() + "\n};\n")


def ranges(value_of):
    """(first, last, step, value) of codes with one value, all or every other one"""
    rows = []
    for code in CODES:
        value = value_of(code)
        if not value:
            continue
        row = rows[-1] if rows else None
        if row and row[3] == value and code - row[1] in (1, 2) and row[2] in (0, code - row[1]):
            row[1], row[2] = code, code - row[1]
        else:
            rows.append([code, code, 0, value])
    return [[first, last, step or 1, value] for first, last, step, value in rows]


def decomposition(code):
    text = unicodedata.decomposition(chr(code))
    return [] if not text or text[0] == "<" else [int(part, 16) for part in text.split()]


def lower(code):
    text = chr(code).lower()
    return ord(text) - code if len(text) == 1 else 0


pairs = {code: decomposition(code) for code in CODES if code not in HANGUL and decomposition(code)}
made = sorted([*pair, code] for code, pair in pairs.items()
              if len(pair) == 2 and unicodedata.normalize("NFC", chr(code)) == chr(code))
assert all(len(pair) <= 2 for pair in pairs.values())
assert [c for c in CODES if len(chr(c).lower()) > 1] == [0x130]
print(f"""/* SPDX-License-Identifier: MIT
 *
 * unicode.inc: written by unicode.py from Unicode {unicodedata.unidata_version}.
 */
/* clang-format off */""")
table("decompositions", "a character and the one or two (else 0) that it stands for",
      [[code, *pair, *[0] * (2 - len(pair))] for code, pair in pairs.items()])
table("compositions", "two characters and the one that is written for them", made)
table("classes", "first, last, step: characters of this combining class",
      ranges(lambda code: unicodedata.combining(chr(code))))
table("lowercases", "first, last, step: what is added to the character", ranges(lower))
print("/* clang-format on */", file=sys.stdout)
