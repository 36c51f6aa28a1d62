"""Writes optimizers.safetensors: ten steps of each optimizer on one sequence of gradients.

    python make_optimizers.py            (in this folder; torch 2.15)

    start.P        the parameter before the first step; P: tall [20, 7], wide [6, 18], square [9, 9], vector [11]
    grad.P         [10, ...]  the gradients, the same for every optimizer and whatever the weights have become
    lr             [10]       the multiplier of the learning rate at each step: linear warm-up to 1, then a cosine to 0.1
    RUN.P          [10, ...]  the parameter after each step; Muon's runs have matrices only
    clip.norm, clip.M.P       the norm over grad.*[0], and those gradients after clip_grad_norm_ to norm M (0.5 or 100)
    ns.P, polar.P             Newton-Schulz and Polar Express of grad.P[0], in f32

RUN                    lr     what
adamw                  3e-3   torch.optim.AdamW, betas .9 .95, eps 1e-8, decoupled decay .1
sgd, sgd_nesterov      0.1    torch.optim.SGD, momentum .9, no dampening, weight decay .1 (torch adds it to the gradient)
sgd_plain              0.1    the same without momentum and decay
muon_original          0.02   muon() below: f32, momentum .95, Nesterov, decoupled decay .1, scale sqrt(max(1, rows / cols))
muon_match_rms         0.02   the same, scale 0.2 sqrt(max(rows, cols))
muon_polar             0.02   muon_original with Polar Express in place of Newton-Schulz
torch_muon_original    0.02   torch.optim.Muon with the same settings: its Newton-Schulz computes in bf16
torch_muon_match_rms   0.02   the same
"""
import math

import torch
from safetensors.torch import save_file

from make_polar_express import COEFFICIENTS

SHAPES = {"tall": (20, 7), "wide": (6, 18), "square": (9, 9), "vector": (11,)}
MATRICES = ("tall", "wide", "square")
STEPS = 10


def odd_polynomials(g, coefficients, margin, eps):
    """x (a + b x'x + c (x'x)^2) for each (a, b, c), on the side with the smaller Gram matrix."""
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() * margin + eps)
    for a, b, c in coefficients:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def newton_schulz(g):
    return odd_polynomials(g, 5 * [(3.4445, -4.7750, 2.0315)], 1.0, 1e-7)


def polar_express(g):
    return odd_polynomials(g, [(a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in COEFFICIENTS], 1.01, 1e-7)


def muon(w, g, buf, lr, scale, orthogonalise, momentum=0.95, decay=0.1):
    """One step in place, with torch.optim.Muon's conventions; returns nothing, `buf` is the momentum."""
    buf.lerp_(g, 1 - momentum)
    rows, cols = w.shape
    factor = math.sqrt(max(1, rows / cols)) if scale == "original" else 0.2 * math.sqrt(max(rows, cols))
    w.mul_(1 - lr * decay).sub_(lr * factor * orthogonalise(g.lerp(buf, momentum)))


def run_torch(make, lr, names, start, grads, factors):
    params = {p: torch.nn.Parameter(start[p].clone()) for p in names}
    optimizer = make(list(params.values()))
    path = {p: [] for p in names}
    for t in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = lr * factors[t].item()
        for p, w in params.items():
            w.grad = grads[p][t].clone()
        optimizer.step()
        for p, w in params.items():
            path[p].append(w.detach().clone())
    return {p: torch.stack(path[p]) for p in names}


def run_muon(scale, orthogonalise, lr, start, grads, factors):
    out = {}
    for p in MATRICES:
        w, buf, path = start[p].clone(), torch.zeros(SHAPES[p]), []
        for t in range(STEPS):
            muon(w, grads[p][t], buf, lr * factors[t].item(), scale, orthogonalise)
            path.append(w.clone())
        out[p] = torch.stack(path)
    return out


def main():
    draw = torch.Generator().manual_seed(3)
    start = {p: 0.1 * torch.randn(s, generator=draw) for p, s in SHAPES.items()}
    # A steady part and a noisy one, with rows of very different size, as gradients of weights have.
    size = {p: torch.logspace(-3, -1, s[0]).reshape(-1, *[1] * (len(s) - 1)) for p, s in SHAPES.items()}
    mean = {p: torch.randn(s, generator=draw) for p, s in SHAPES.items()}
    grads = {p: size[p] * (mean[p] + torch.randn(STEPS, *s, generator=draw)) for p, s in SHAPES.items()}
    factors = torch.tensor([min((t + 1) / 3, 0.55 + 0.45 * math.cos(math.pi * max(0, t - 2) / 7)) for t in range(STEPS)])

    o = torch.optim
    names = tuple(SHAPES)
    sgd = dict(lr=0.0, momentum=0.9, weight_decay=0.1)
    tm = dict(lr=0.0, momentum=0.95, nesterov=True, weight_decay=0.1)
    args = (start, grads, factors)
    runs = {
        "adamw": run_torch(lambda p: o.AdamW(p, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1), 3e-3, names, *args),
        "sgd": run_torch(lambda p: o.SGD(p, **sgd), 0.1, names, *args),
        "sgd_nesterov": run_torch(lambda p: o.SGD(p, nesterov=True, **sgd), 0.1, names, *args),
        "sgd_plain": run_torch(lambda p: o.SGD(p, lr=0.0), 0.1, names, *args),
        "muon_original": run_muon("original", newton_schulz, 0.02, *args),
        "muon_match_rms": run_muon("match_rms", newton_schulz, 0.02, *args),
        "muon_polar": run_muon("original", polar_express, 0.02, *args),
        "torch_muon_original": run_torch(lambda p: o.Muon(p, adjust_lr_fn="original", **tm), 0.02, MATRICES, *args),
        "torch_muon_match_rms": run_torch(lambda p: o.Muon(p, adjust_lr_fn="match_rms_adamw", **tm), 0.02, MATRICES, *args),
    }

    out = {"lr": factors}
    out |= {f"start.{p}": v for p, v in start.items()} | {f"grad.{p}": v for p, v in grads.items()}
    out |= {f"{r}.{p}": v for r, run in runs.items() for p, v in run.items()}
    out |= {f"ns.{p}": newton_schulz(grads[p][0]) for p in MATRICES}
    out |= {f"polar.{p}": polar_express(grads[p][0]) for p in MATRICES}
    for limit in (0.5, 100.0):
        params = {p: torch.nn.Parameter(start[p].clone()) for p in names}
        for p, w in params.items():
            w.grad = grads[p][0].clone()
        out["clip.norm"] = torch.nn.utils.clip_grad_norm_(list(params.values()), limit)
        out |= {f"clip.{limit:g}.{p}": w.grad for p, w in params.items()}
    save_file({k: v.detach().clone().contiguous() for k, v in out.items()}, "optimizers.safetensors")

    print("norm of the first gradients", out["clip.norm"].item())
    for p in MATRICES:  # what a tolerance can ask for
        before = torch.cat([start[p][None], runs["muon_original"][p][:-1]])
        for r in ("original", "match_rms"):
            ours, theirs = runs[f"muon_{r}"][p], runs[f"torch_muon_{r}"][p]
            total = ((ours[-1] - theirs[-1]).norm() / (ours[-1] - start[p]).norm()).item()
            step = max(((o - t).norm() / (o - start[p]).norm()).item() for o, t in zip(ours, theirs))
            print(f"{p} {r}: torch.optim.Muon (bf16) against f32: total update {total:.2e}, worst over steps {step:.2e}")
        for name, f in (("newton_schulz", newton_schulz), ("polar_express", polar_express)):
            g = grads[p][0]
            print(f"{p} {name}: f32 against f64 {((f(g) - f(g.double())).norm() / f(g.double()).norm()).item():.1e},",
                  "singular values", [round(v, 3) for v in torch.linalg.svdvals(f(g.double())).tolist()])


main()
