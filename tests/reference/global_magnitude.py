# SPDX-License-Identifier: MIT
"""Magnitude pruning over several tensors together, in NumPy: what prune.global has to give."""

import numpy


def round_away(x):
    return int(numpy.floor(x + 0.5))


def smallest(keys, limit):
    """For a list of f32 arrays: masks of the `limit` elements that come first, ascending, ties by array and place,
    NaN last. -0 and +0 are the same key."""
    flat = numpy.concatenate([key.reshape(-1) for key in keys]).astype(numpy.float32)
    mask = numpy.zeros(flat.size, bool)
    mask[numpy.argsort(flat, kind="stable")[:limit]] = True
    masks, at = [], 0
    for key in keys:
        masks.append(mask[at : at + key.size].reshape(key.shape))
        at += key.size
    return masks


def prune_global(weights, sparsity):
    """f32 arrays -> the same with exactly round(sparsity * n) of all their elements made 0."""
    count = sum(w.size for w in weights)
    masks = smallest([numpy.abs(w) for w in weights], round_away(sparsity * count))
    return [numpy.where(mask, numpy.float32(0), w) for mask, w in zip(masks, weights)]
