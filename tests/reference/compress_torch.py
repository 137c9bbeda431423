# SPDX-License-Identifier: MIT
"""GPTQ, SparseGPT and Wanda in PyTorch, f32, from the pseudo code of their papers, and grids of a few bits: what
stdlib/passes/quantize.gptq.cmp, prune.sparsegpt.cmp and prune.wanda.cmp are compared with."""
import torch


class Grid:
    """Integers of some bits times a scale, one for each row and group; the scale is rounded to `stored`."""

    def __init__(self, bits, group, symmetric=True, stored=torch.bfloat16):
        self.bits, self.group, self.symmetric, self.stored = bits, group, symmetric, stored

    def fit(self, x):
        """x[rows, group]; gives scale and zero point of each row."""
        most = 2**self.bits - 1
        low, high = x.amin(1).clamp(max=0), x.amax(1).clamp(min=0)
        if self.symmetric:
            high = torch.maximum(-low, high)
            low = -high
        scale = ((high - low) / most).to(self.stored).float()
        if self.symmetric:
            return scale, torch.full_like(scale, (most + 1) // 2)
        return scale, torch.where(scale > 0, torch.round(-low / scale), scale).clamp(0, most)

    def value(self, grid, x):
        scale, zero = grid
        codes = torch.where(scale > 0, torch.round(x / scale), torch.zeros_like(x))
        return scale * ((codes + zero).clamp(0, 2**self.bits - 1) - zero)


def factor(x, damp=0.01):
    """The upper Cholesky factor of the inverse of 2 x'x / t, damped, and the inputs that are always zero."""
    h = 2 * x.T @ x / len(x)
    diagonal = torch.arange(len(h))
    dead = h.diagonal() == 0
    h[diagonal, diagonal] += damp * h.diagonal().mean() + dead
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse).T, dead


def gptq(w, x, grid, lazy=128, act_order=False):
    w, order = w.clone(), torch.arange(w.shape[1])
    w[:, (x == 0).all(0)] = 0
    grids = None
    if act_order:  # static groups: grids are fitted before columns move
        grids = [grid.fit(w[:, j : j + grid.group]) for j in range(0, w.shape[1], grid.group)]
        order = torch.argsort((x * x).sum(0), descending=True, stable=True)
    w, x = w[:, order], x[:, order]
    u, _ = factor(x)
    out = torch.zeros_like(w)
    for begin in range(0, w.shape[1], lazy):
        end = min(begin + lazy, w.shape[1])
        errors = torch.zeros(len(w), end - begin)
        for j in range(begin, end):
            if act_order:
                now = grids[order[j] // grid.group]
            elif j % grid.group == 0:
                now = grid.fit(w[:, j : j + grid.group])
            out[:, j] = grid.value(now, w[:, j])
            error = (w[:, j] - out[:, j]) / u[j, j]
            w[:, j + 1 : end] -= error[:, None] * u[j, j + 1 : end]
            errors[:, j - begin] = error
        w[:, end:] -= errors @ u[begin:end, end:]
    return out[:, torch.argsort(order)]


def sparsegpt(w, x, sparsity=0.5, n=0, m=0, lazy=128):
    """n:m, or `sparsity` of each `lazy` columns of the whole matrix."""
    w = w.clone()
    u, dead = factor(x)
    w[:, dead] = 0
    for begin in range(0, w.shape[1], lazy):
        end = min(begin + lazy, w.shape[1])
        drop = torch.zeros(len(w), end - begin, dtype=torch.bool)
        errors = torch.zeros(len(w), end - begin)
        if not n:
            cost = (w[:, begin:end] / u.diagonal()[begin:end]) ** 2
            drop.view(-1)[torch.argsort(cost.reshape(-1), stable=True)[: round(sparsity * cost.numel())]] = True
        for j in range(begin, end):
            if n and j % m == 0:
                cost = (w[:, j : j + m] / u.diagonal()[j : j + m]) ** 2
                drop.scatter_(1, j - begin + torch.argsort(cost, dim=1, stable=True)[:, : m - n], True)
            kept = torch.where(drop[:, j - begin], torch.zeros(len(w)), w[:, j])
            error = (w[:, j] - kept) / u[j, j]
            w[:, j] = kept
            w[:, j + 1 : end] -= error[:, None] * u[j, j + 1 : end]
            errors[:, j - begin] = error
        w[:, end:] -= errors @ u[begin:end, end:]
    return w


def wanda(w, x, sparsity=0.5, n=0, m=0):
    cost = w.abs() * (x * x).sum(0).sqrt()
    if n:
        drop = torch.argsort(cost.view(len(w), -1, m), dim=2, stable=True)[:, :, : m - n]
        return w.view(len(w), -1, m).scatter(2, drop, 0).view_as(w)
    drop = torch.argsort(cost, dim=1, stable=True)[:, : round(sparsity * w.shape[1])]
    return w.scatter(1, drop, 0)


def awq(matrices, x, grid, steps=20):
    """Each candidate for what the columns of the matrices that read x are multiplied by, and the squared error of their
    outputs: [(error, scale)]."""
    mean, found = x.abs().mean(0).clamp(min=1e-4), []
    h = (x.double().T @ x.double()) / len(x)
    for step in range(steps):
        scale = mean ** (step / steps)
        scale = scale / torch.sqrt(scale.max() * scale.min())
        off = torch.cat([rounded(w * scale, grid) / scale - w for w in matrices]).double()
        found.append((((off @ h) * off).sum().item(), scale))
    return found


def rounded(w, grid):
    out = torch.empty_like(w)
    for j in range(0, w.shape[1], grid.group):
        scale, zero = grid.fit(w[:, j : j + grid.group])
        out[:, j : j + grid.group] = grid.value((scale[:, None], zero[:, None]), w[:, j : j + grid.group])
    return out


def smooth(matrices, x, alpha=0.5):
    a, m = x.abs().amax(0), torch.cat(matrices).abs().amax(0)
    scale = (a**alpha / m ** (1 - alpha)).clamp(min=1e-5)
    return torch.where((a > 0) & (m > 0), scale, torch.ones_like(scale))
