#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GPTQ and SparseGPT as scripts for PyTorch do them: eager, column by column, a Hessian inverted by potrf, potri, potrf.

    gptq_torch.py METHOD MATRIX.safetensors HESSIAN.safetensors THREADS

METHOD is gptq or sparsegpt. Prints seconds, the relative output error |(W' - W) X^T| / |W X^T|, from the Hessian X^T X
of the second file's only tensor, W being the first one's, and the file of the BLAS that was loaded. The time is that of the method: neither reading nor the
Hessian is in it. Groups of 128, unsymmetric, 4 bits; half of the weights pruned; 128 columns at a time.
"""

import json
import re
import struct
import sys
import time

import numpy
import torch

GROUP = BLOCK = 128
DAMP = 0.01
LEVELS = 15


def read_matrix(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        (entry,) = [value for name, value in header.items() if name != "__metadata__"]
        return torch.from_numpy(numpy.fromfile(file, numpy.float32).reshape(entry["shape"]))


def factor(hessian):
    """The upper Cholesky factor of the damped Hessian's inverse; inputs that are never other than zero."""
    h = hessian.clone()
    dead = torch.diag(h) == 0
    h[dead, dead] = 1
    places = torch.arange(len(h))
    h[places, places] += DAMP * torch.mean(torch.diag(h))
    h = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(h, upper=True), dead


def grid(w):
    """Scale and zero point of each row."""
    zero = torch.zeros(len(w))
    low, high = torch.minimum(w.min(1)[0], zero), torch.maximum(w.max(1)[0], zero)
    is_flat = (low == 0) & (high == 0)
    low[is_flat], high[is_flat] = -1, 1
    scale = (high - low) / LEVELS
    return scale.unsqueeze(1), torch.round(-low / scale).unsqueeze(1)


def quantize(w, scale, zero):
    q = torch.clamp(torch.round(w / scale) + zero, 0, LEVELS)
    return scale * (q - zero)


def gptq(w, hessian):
    u, dead = factor(hessian)
    w = w.clone()
    w[:, dead] = 0
    scale, zero = grid(w)
    done, losses = torch.zeros_like(w), torch.zeros_like(w)
    for begin in range(0, w.shape[1], BLOCK):
        end = min(begin + BLOCK, w.shape[1])
        block, own = w[:, begin:end].clone(), u[begin:end, begin:end]
        rounded, errors, lost = torch.zeros_like(block), torch.zeros_like(block), torch.zeros_like(block)
        for i in range(end - begin):
            column, d = block[:, i], own[i, i]
            if (begin + i) % GROUP == 0:
                scale, zero = grid(w[:, begin + i : begin + i + GROUP])
            q = quantize(column.unsqueeze(1), scale, zero).flatten()
            rounded[:, i] = q
            lost[:, i] = (column - q) ** 2 / d**2
            error = (column - q) / d
            block[:, i:] -= error.unsqueeze(1).matmul(own[i, i:].unsqueeze(0))
            errors[:, i] = error
        done[:, begin:end], losses[:, begin:end] = rounded, lost / 2
        w[:, end:] -= errors.matmul(u[begin:end, end:])
    return done


def sparsegpt(w, hessian):
    u, dead = factor(hessian)
    w = w.clone()
    w[:, dead] = 0
    losses = torch.zeros(len(w))
    for begin in range(0, w.shape[1], BLOCK):
        end = min(begin + BLOCK, w.shape[1])
        block, own = w[:, begin:end].clone(), u[begin:end, begin:end]
        kept, errors, lost = torch.zeros_like(block), torch.zeros_like(block), torch.zeros_like(block)
        score = block**2 / torch.diag(own).reshape((1, -1)) ** 2
        mask = score <= torch.sort(score.flatten())[0][int(score.numel() * 0.5)]
        for i in range(end - begin):
            column, d = block[:, i], own[i, i]
            q = column.clone()
            q[mask[:, i]] = 0
            kept[:, i] = q
            lost[:, i] = (column - q) ** 2 / d**2
            error = (column - q) / d
            block[:, i:] -= error.unsqueeze(1).matmul(own[i, i:].unsqueeze(0))
            errors[:, i] = error
        w[:, begin:end] = kept
        losses += torch.sum(lost, 1) / 2
        w[:, end:] -= errors.matmul(u[begin:end, end:])
    return w


def blas_file():
    """The first of the libraries loaded that has a BLAS in it."""
    with open("/proc/self/maps") as maps:
        paths = dict.fromkeys(line.split()[-1] for line in maps if re.search(r"/lib(openblas|blas|mkl)[^/]*[.]so", line))
    return next(iter(paths), "unknown")


def main():
    method = {"gptq": gptq, "sparsegpt": sparsegpt}[sys.argv[1]]
    w, hessian = read_matrix(sys.argv[2]), read_matrix(sys.argv[3])
    torch.set_num_threads(int(sys.argv[4]))
    with torch.no_grad():
        started = time.perf_counter()
        found = method(w, hessian)
        seconds = time.perf_counter() - started
        off = found - w
        error = torch.sqrt(torch.sum((off @ hessian) * off) / torch.sum((w @ hessian) * w))
    print(f"{seconds:.3f} s, output error {error:.5f}, {blas_file()}")


if __name__ == "__main__":
    main()
