# SPDX-License-Identifier: MIT
"""For the scripts beside it: checks that are counted, programs that are run, files. Without NumPy, whose memory would
count as that of programs whose memory is measured; arrays.py has the rest."""
import json
import os
import struct
import subprocess
import sys

CMPC, TOP = os.environ["CMPC"], os.path.abspath(os.environ["TOP_SRCDIR"])
EXAMPLES = os.path.join(TOP, "examples")
SHARED = os.environ.get("SHARED", os.path.join(TOP, "..", "shared"))
sys.path.insert(0, os.path.join(TOP, "tests", "reference"))
failures = 0


# ---- checks ----


def check(is_true, what, *told):
    """What goes wrong is printed, with what is told of it."""
    global failures
    if not is_true:
        failures += 1
        print("FAILED:", "\n     ".join((what, *told)), flush=True)


def finish(said):
    print(f"{said}: {failures} failures" if failures else f"{said}: all right")
    sys.exit(failures > 0)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


# ---- programs ----


def call(*arguments, wants=0):
    """What it says, to stdout and then to stderr; its status is checked."""
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    check(result.returncode == wants, f"{' '.join(arguments)}: exit {result.returncode}", result.stdout + result.stderr)
    return result.stdout + result.stderr


def cmpc(*arguments):
    """Its status, stdout and stderr."""
    done = subprocess.run([CMPC, *arguments], capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


# ---- files ----


def bytes_of(path):
    """Of a file, or of all files of a folder."""
    if not os.path.isdir(path):
        with open(path, "rb") as file:
            return file.read()
    return [(name, bytes_of(os.path.join(path, name))) for name in sorted(os.listdir(path))]


def write_text(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    with open(path, "rb") as file:
        head = json.loads(file.read(*struct.unpack("<Q", file.read(8))))
        data = file.read()
    head.pop("__metadata__", None)
    return {name: (row["dtype"], row["shape"], data[slice(*row["data_offsets"])]) for name, row in head.items()}


def write_safetensors(path, tensors):
    head, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)
