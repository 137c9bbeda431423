# SPDX-License-Identifier: MIT
"""IDX files, as MNIST has them."""

import struct


def write_idx(path, values):
    with open(path, "wb") as file:
        file.write(bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", n) for n in values.shape))
        file.write(values.astype("u1").tobytes())
