# SPDX-License-Identifier: MIT
"""The global rank cut of examples/para in NumPy: independent of cmpc's equations where it can be. The singular values of
each product come from Gram matrices in f64, not from qr and svd of the factors."""

import numpy


def singular_values(down, up):
    """Of up @ down, falling, [r]: square roots of the eigenvalues of (up' up) (down down'), f64."""
    left, right = up.T.astype(float) @ up, down.astype(float) @ down.T
    return numpy.sqrt(numpy.maximum(numpy.sort(numpy.linalg.eigvals(left @ right).real)[::-1], 0))


def distance(down, up, other_down, other_up):
    """The Frobenius norm of up @ down - other_up @ other_down, which is never made."""
    left = numpy.concatenate([up, -other_up.astype(float)], axis=1)
    right = numpy.concatenate([down, other_down.astype(float)])
    return numpy.sqrt(max(numpy.sum((left.T @ left) * (right @ right.T).T), 0))


def ranks(pairs, energy):
    """pairs: [(down [r, n], up [m, r])]. How many directions of each product up @ down stay: over all products, the
    largest singular values whose squares together first reach `energy` of the sum of all squares. Gives the ranks and
    the smallest relative distance of a value to the threshold, which tells if rounding could decide."""
    values = [singular_values(down, up) for down, up in pairs]
    every = numpy.sort(numpy.concatenate(values))[::-1]
    before = numpy.cumsum(every**2) - every**2
    least = every[before < energy * (every**2).sum()].min()
    kept = [int((v >= least).sum()) for v in values]
    below = every[every < least]
    gap = (least - below.max()) / least if below.size else 1.0
    return kept, gap


def best(down, up, rank):
    """The best approximation of up @ down of that rank, [m, n], f64. Source: Eckart and Young 1936."""
    u, s, v = numpy.linalg.svd(up.astype(float) @ down.astype(float), full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]
