#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""NumPy reference of GPTQ (Frantar et al. 2022) for q8_0, q4_K and the ternary format of examples/gptq_from_h:
column by column, each grid fitted when its block is reached. Written from the paper and the formats'
definitions, apart from the .cmp files. All rows of a matrix are worked on at once.

  gptq_reference.py            tests itself
"""
import sys

import numpy as np

F32 = np.float32


def round_away(x):
    """To whole numbers, ties away from zero."""
    return np.sign(x) * np.floor(np.abs(x) + F32(0.5))


def in_order(x):
    """The sums along the last axis in index order, in f32."""
    return np.cumsum(np.asarray(x, F32), axis=-1, dtype=F32)[..., -1]


def half(x):
    """To f16 and back."""
    return x.astype(np.float16).astype(F32)


def quotient(a, b):
    """a / b; 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape, F32), where=b != 0)


# ---- formats: fit(blocks [rows, block]) -> grid; code(grid, place, x [rows]); value(grid, place, codes); read ----


class Q8_0:
    block, bytes = 32, 34

    @staticmethod
    def fit(x):
        d = np.max(np.abs(x), axis=1) / F32(127)
        return half(d), quotient(F32(1), d)

    @staticmethod
    def code(grid, place, x):
        return round_away(x * grid[1])

    @staticmethod
    def value(grid, place, code):
        return code * grid[0]

    @staticmethod
    def read(blocks):
        """Grids and codes of packed blocks [n, bytes]."""
        return [blocks[:, :2].copy().view("<f2").astype(F32)[:, 0]], blocks[:, 2:].view(np.int8).astype(F32)

    @staticmethod
    def stored(grid):
        return [grid[0]]


class Ternary:
    block = 64

    @staticmethod
    def fit(x):
        return (half(in_order(np.abs(x)) / F32(64)),)

    @staticmethod
    def code(grid, place, x):
        return np.clip(np.rint(quotient(x, grid[0])), F32(-1), F32(1))

    @staticmethod
    def value(grid, place, code):
        return code * grid[0]

    @staticmethod
    def stored(grid):
        return [grid[0]]


def fit_scale_min(x, w):
    """x ~ scale * l + lo, l in 0..15, lo <= 0: 21 candidates by weighted least squares. Gives scale, lo, ki, kl."""
    zero, top = F32(0), x.max(-1)
    lo = np.minimum(zero, x.min(-1))
    flat = top == lo
    sw, sx = in_order(w), in_order(w * x)
    ki, kl = quotient(F32(15), top - lo), lo
    scale = quotient(F32(1), ki)

    def codes_for(inverse, low):
        return np.clip(np.rint(inverse[..., None] * (x - low[..., None])), 0, 15).astype(F32)

    def error_of(scale, codes, low):
        off = scale[..., None] * codes + low[..., None] - x
        return in_order(w * (off * off))

    least = error_of(scale, codes_for(ki, kl), lo)
    first = lo
    for step in range(21):
        inverse = quotient(F32(-1) + F32(0.1) * F32(step) + F32(15), top - lo)  # lo as the better fits left it
        codes = codes_for(inverse, lo)
        sl, sl2, sxl = in_order(w * codes), in_order(w * codes * codes), in_order(w * codes * x)
        det = sw * sl2 - sl * sl
        new_lo = quotient(sl2 * sx - sl * sxl, det)
        new_scale = np.where(new_lo > 0, quotient(sxl, sl2), quotient(sw * sxl - sx * sl, det))
        new_lo = np.minimum(zero, new_lo)
        error = error_of(new_scale, codes, new_lo)
        better = (det > 0) & (error < least)
        least, scale = np.where(better, error, least), np.where(better, new_scale, scale)
        ki, kl, lo = np.where(better, inverse, ki), np.where(better, lo, kl), np.where(better, new_lo, lo)
    none = np.zeros_like(scale)
    return tuple(np.where(flat, a, b) for a, b in ((none, scale), (first, lo), (none, ki), (first, kl)))


class Q4_K:
    block, bytes = 256, 144

    @staticmethod
    def fit(x):
        x = x.reshape(len(x), 8, 32)
        weights = np.sqrt(in_order(x * x) / F32(32))[..., None] + np.abs(x)
        scale, lo, ki, kl = fit_scale_min(x, weights)
        top, bottom = np.maximum(F32(0), scale.max(1)), np.maximum(F32(0), (-lo).max(1))
        d, dmin = half(top / F32(63)), half(bottom / F32(63))
        sc = np.clip(np.rint(quotient(F32(63), top)[:, None] * scale), 0, 63).astype(F32)
        mn = np.clip(np.rint(quotient(F32(63), bottom)[:, None] * -lo), 0, 63).astype(F32)
        return d, dmin, sc, mn, ki, kl

    @staticmethod
    def code(grid, place, x):
        d, dmin, sc, mn, ki, kl = grid
        b = place // 32
        s, m = d * sc[:, b], dmin * mn[:, b]
        plain = np.rint(ki[:, b] * (x - kl[:, b]))
        return np.clip(np.where(s == 0, plain, np.rint(quotient(x + m, s))), F32(0), F32(15))

    @staticmethod
    def value(grid, place, code):
        d, dmin, sc, mn = grid[:4]
        b = place // 32
        return d * sc[:, b] * code - dmin * mn[:, b]

    @staticmethod
    def read(blocks):
        d, dmin = (blocks[:, i : i + 2].copy().view("<f2").astype(F32)[:, 0] for i in (0, 2))
        s, q = blocks[:, 4:16], blocks[:, 16:]
        low, high = s[:, 8:] & 15, s[:, 8:] >> 4
        sc = np.concatenate([s[:, :4] & 63, low | s[:, :4] >> 6 << 4], 1)
        mn = np.concatenate([s[:, 4:8] & 63, high | s[:, 4:8] >> 6 << 4], 1)
        q = q.reshape(-1, 4, 1, 32)
        codes = np.concatenate([q & 15, q >> 4], 2).reshape(-1, 256)
        return [d, dmin, sc.astype(F32), mn.astype(F32)], codes.astype(F32)

    @staticmethod
    def stored(grid):
        return list(grid[:4])


FORMATS = {"q8_0": Q8_0, "q4_K": Q4_K, "ternary": Ternary}


# ---- the method ----


def hessian(x):
    x = x.astype(np.float64)
    return 2 * x.T @ x / len(x)


def factor(h, damp=0.01):
    """Upper U with U'U = (H + damping)^-1, and which inputs are never other than zero."""
    dead = np.diag(h) == 0
    a = h + np.diag(damp * np.mean(np.diag(h)) + dead)
    return np.linalg.cholesky(np.linalg.inv(a)).T, dead


def gptq(form, w, u, dead, lazy=128):
    """Codes [rows, columns] and the stored parts of each block's grid, for the factor U."""
    w, u = np.where(dead, F32(0), w), u.astype(F32)
    columns, codes, grids = w.shape[1], np.zeros_like(w), []
    for begin in range(0, columns, lazy):
        end = min(begin + lazy, columns)
        errors = np.zeros((len(w), end - begin), F32)
        for j in range(begin, end):
            place = j % form.block
            if place == 0:
                grid = form.fit(w[:, j : j + form.block])
                grids.append(form.stored(grid))
            codes[:, j] = form.code(grid, place, w[:, j])
            error = (w[:, j] - form.value(grid, place, codes[:, j])) / u[j, j]
            w[:, j + 1 : end] -= error[:, None] * u[j, j + 1 : end]
            errors[:, j - begin] = error
        w[:, end:] -= errors @ u[begin:end, end:]
    return codes, grids


def nearest(form, w):
    """The same, each weight rounded by itself."""
    codes, grids = np.zeros_like(w), []
    for begin in range(0, w.shape[1], form.block):
        grid = form.fit(w[:, begin : begin + form.block])
        grids.append(form.stored(grid))
        for place in range(form.block):
            codes[:, begin + place] = form.code(grid, place, w[:, begin + place])
    return codes, grids


def decoded(form, codes, grids):
    columns = [form.value(grids[j // form.block], j % form.block, codes[:, j]) for j in range(codes.shape[1])]
    return np.stack(columns, 1)


def output_error(w, q, x):
    """||x (w - q)|| / ||x w||"""
    x = x.astype(np.float64)
    return np.linalg.norm(x @ (w.astype(np.float64) - q).T) / np.linalg.norm(x @ w.astype(np.float64).T)


# ---- the test of itself ----


def sample(rows, cols, t):
    random = np.random.default_rng(7)
    x = random.normal(size=(t, cols))
    x[:, 1:] += 0.7 * x[:, :-1]
    x[:, 5] = 0
    return random.normal(size=(rows, cols)).astype(F32), x.astype(F32)


def self_test():
    ok = True
    for name, form in FORMATS.items():
        w, x = sample(16, 2 * form.block, 300)
        u, dead = factor(hessian(x))
        a = hessian(x) + np.diag(0.01 * np.mean(np.diag(hessian(x))) + dead)
        ok &= np.allclose(u.T @ u @ a, np.eye(len(a)), atol=1e-6) and dead.sum() == 1
        plain = decoded(form, *nearest(form, w))
        alone = decoded(form, *gptq(form, w, *factor(np.eye(w.shape[1]))))
        ok &= np.array_equal(alone, plain)  # nothing in common: nothing to make up for
        error, before = output_error(w, decoded(form, *gptq(form, w, u, dead)), x), output_error(w, plain, x)
        ok &= error < 0.9 * before
        print(f"{name}: output error {error:.4f}, rounded to nearest {before:.4f}")
    print("gptq_reference: ok" if ok else "gptq_reference: failed")
    return ok


if __name__ == "__main__":
    sys.exit(0 if self_test() else 1)
