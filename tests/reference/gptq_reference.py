#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""NumPy reference of GPTQ (Frantar et al. 2022) for q8_0, q4_K and the ternary format of examples/gptq_from_h:
column by column, each grid fitted when its block is reached. Written from the paper and the formats'
definitions, apart from the .cmp files.

  gptq_reference.py DTYPE ROWS COLS W.f32 T X.f32 OUT.f32 [--damp 0.01]
      reads W [ROWS, COLS] and X [T, COLS], little-endian f32, writes the values a reader decodes.
  gptq_reference.py DTYPE ROWS COLS W.f32 T X.f32 GOT.f32 --compare
      GOT is what a kernel made: all its weights must be on a grid like the reference's, row by row the same
      but for rows in which a weight lay on a tie, and as good for the output.
  gptq_reference.py --self-test
"""
import sys

import numpy as np

F32 = np.float32


def round_away(x):
    """To whole numbers, ties away from zero."""
    return np.sign(x) * np.floor(np.abs(x) + F32(0.5))


def in_order(x):
    """The sum in index order, in f32."""
    return np.cumsum(np.asarray(x, F32), dtype=F32)[-1]


# ---- formats: fit(block) -> grid; code(grid, place, x); value(grid, place, code) ----

class Q8_0:
    block = 32

    @staticmethod
    def fit(x):
        d = np.max(np.abs(x)) / F32(127)
        return F32(np.float16(d)), F32(0) if d == 0 else F32(1) / d

    @staticmethod
    def code(grid, place, x):
        return round_away(x * grid[1])

    @staticmethod
    def value(grid, place, code):
        return F32(code) * grid[0]


class Ternary:
    block = 64

    @staticmethod
    def fit(x):
        return F32(np.float16(in_order(np.abs(x)) / F32(64)))

    @staticmethod
    def code(grid, place, x):
        return F32(0) if grid == 0 else np.clip(np.rint(x / grid), F32(-1), F32(1))

    @staticmethod
    def value(grid, place, code):
        return code * grid


def fit_scale_min(x, w):
    """x ~ scale * l + lo, l in 0..15, lo <= 0: 21 candidates by weighted least squares. Gives scale, lo, ki, kl."""
    lo, top = min(F32(0), x.min()), x.max()
    if lo == top:
        return F32(0), lo, F32(0), lo
    sw, sx = in_order(w), in_order(w * x)
    ki, kl = F32(15) / (top - lo), lo
    scale = F32(1) / ki
    codes = np.clip(np.rint(ki * (x - lo)), 0, 15).astype(F32)
    least = in_order(w * (scale * codes + lo - x) ** 2)
    for step in range(21):
        inv = (F32(-1) + F32(0.1) * F32(step) + F32(15)) / (top - lo)
        codes = np.clip(np.rint(inv * (x - lo)), 0, 15).astype(F32)
        sl, sl2, sxl = in_order(w * codes), in_order(w * codes * codes), in_order(w * codes * x)
        det = sw * sl2 - sl * sl
        if not det > 0:
            continue
        new_lo = (sl2 * sx - sl * sxl) / det
        new_scale = sxl / sl2 if new_lo > 0 else (sw * sxl - sx * sl) / det
        new_lo = min(F32(0), new_lo)
        error = in_order(w * (new_scale * codes + new_lo - x) ** 2)
        if error < least:
            least, scale, ki, kl, lo = error, new_scale, inv, lo, new_lo
    return scale, lo, ki, kl


class Q4_K:
    block = 256

    @staticmethod
    def fit(x):
        x = x.reshape(8, 32)
        fits = []
        for group in x:
            weights = np.sqrt(in_order(group * group) / F32(32)) + np.abs(group)
            fits.append(fit_scale_min(group, weights))
        scales, mins = np.array([f[0] for f in fits]), np.array([-f[1] for f in fits])
        top, bottom = max(F32(0), scales.max()), max(F32(0), mins.max())
        d, dmin = F32(np.float16(top / F32(63))), F32(np.float16(bottom / F32(63)))
        sc = np.clip(np.rint((F32(63) / top if top > 0 else F32(0)) * scales), 0, 63).astype(F32)
        mn = np.clip(np.rint((F32(63) / bottom if bottom > 0 else F32(0)) * mins), 0, 63).astype(F32)
        return d, dmin, sc, mn, fits

    @staticmethod
    def code(grid, place, x):
        d, dmin, sc, mn, fits = grid
        b = place // 32
        if d * sc[b] == 0:
            return np.clip(np.rint(fits[b][2] * (x - fits[b][3])), F32(0), F32(15))
        return np.clip(np.rint((x + dmin * mn[b]) / (d * sc[b])), F32(0), F32(15))

    @staticmethod
    def value(grid, place, code):
        d, dmin, sc, mn, _ = grid
        b = place // 32
        return d * sc[b] * code - dmin * mn[b]


FORMATS = {"q8_0": Q8_0, "q4_K": Q4_K, "ternary": Ternary}


# ---- the method ----

def hessian(x):
    x = x.astype(np.float64)
    return 2 * x.T @ x / len(x)


def factor(h, damp):
    """Upper U with U'U = (H + damping)^-1, and which inputs are never other than zero."""
    dead = np.diag(h) == 0
    a = h + np.diag(damp * np.mean(np.diag(h)) + dead)
    return np.linalg.cholesky(np.linalg.inv(a)).T, dead


def gptq(form, w, x, damp=0.01):
    u, dead = factor(hessian(x), damp)
    out = np.zeros_like(w)
    for o, row in enumerate(np.where(dead, F32(0), w)):
        row = row.copy()
        for j in range(len(row)):
            if j % form.block == 0:
                grid = form.fit(row[j:j + form.block])
            place = j % form.block
            out[o, j] = form.value(grid, place, form.code(grid, place, row[j]))
            error = (np.float64(row[j]) - np.float64(out[o, j])) / u[j, j]
            row[j + 1:] = (row[j + 1:] - error * u[j, j + 1:]).astype(F32)
    return out


def nearest(form, w):
    out = np.zeros_like(w)
    for o, row in enumerate(w):
        for j in range(len(row)):
            if j % form.block == 0:
                grid = form.fit(row[j:j + form.block])
            place = j % form.block
            out[o, j] = form.value(grid, place, form.code(grid, place, row[j]))
    return out


def output_error(w, q, x):
    d = w.astype(np.float64) - q
    return np.trace(d @ hessian(x) @ d.T)


# ---- commands ----

def compare(name, w, x, got, damp):
    form = FORMATS[name]
    expected = gptq(form, w, x, damp)
    different = [o for o in range(len(w)) if not np.allclose(got[o], expected[o], rtol=1e-4, atol=1e-6)]
    ours, theirs = output_error(w, got, x), output_error(w, expected, x)
    plain = output_error(w, nearest(form, w), x)
    print(f"{name}: {len(different)} of {len(w)} rows differ; output error {ours:.6g}, reference {theirs:.6g}, "
          f"rounded to nearest {plain:.6g}")
    return len(different) <= max(1, len(w) // 4) and abs(ours - theirs) < 0.02 * theirs and ours < plain


def sample(rows, cols, t):
    random = np.random.default_rng(7)
    x = random.normal(size=(t, cols))
    x[:, 1:] += 0.7 * x[:, :-1]
    x[:, 5] = 0
    return random.normal(size=(rows, cols)).astype(F32), x.astype(F32)


def self_test():
    ok = True
    for name, form in FORMATS.items():
        w, x = sample(4, 2 * form.block, 300)
        u, dead = factor(hessian(x), 0.01)
        a = hessian(x) + np.diag(0.01 * np.mean(np.diag(hessian(x))) + dead)
        ok &= np.allclose(u.T @ u @ a, np.eye(len(a)), atol=1e-6) and dead.sum() == 1
        independent = gptq(form, w, np.eye(w.shape[1], dtype=F32))
        ok &= np.array_equal(independent, nearest(form, w))  # nothing in common: nothing to make up for
        got = gptq(form, w, x)
        ok &= output_error(w, got, x) < 0.8 * output_error(w, nearest(form, w), x)
        ok &= compare(name, w, x, got, 0.01)
    print("gptq_reference: ok" if ok else "gptq_reference: failed")
    return ok


def main(arguments):
    damp = 0.01
    if "--damp" in arguments:
        at = arguments.index("--damp")
        damp = float(arguments[at + 1])
        del arguments[at:at + 2]
    if arguments == ["--self-test"]:
        return 0 if self_test() else 1
    is_compare = "--compare" in arguments
    arguments = [a for a in arguments if a != "--compare"]
    if len(arguments) != 7 or arguments[0] not in FORMATS:
        print(__doc__, file=sys.stderr)
        return 2
    name, rows, cols, t = arguments[0], int(arguments[1]), int(arguments[2]), int(arguments[4])
    w = np.fromfile(arguments[3], "<f4").reshape(rows, cols)
    x = np.fromfile(arguments[5], "<f4").reshape(t, cols)
    if is_compare:
        got = np.fromfile(arguments[6], "<f4").reshape(rows, cols)
        return 0 if compare(name, w, x, got, damp) else 1
    gptq(FORMATS[name], w, x, damp).tofile(arguments[6])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
