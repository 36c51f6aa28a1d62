"""Writes more_optimizers.safetensors: twelve steps of each further optimizer on one sequence of gradients.

    python make_more_optimizers.py       (in this folder; torch 2.15, pytorch-optimizer 4.1.0, lion-pytorch 0.2.5)

    start.P        the parameter before the first step; P: tall [20, 7], wide [6, 18], square [9, 9], vector [11]
    grad.P         [12, ...]  the gradients, the same for every optimizer and whatever the weights have become
    lr             [12]       the multiplier of the learning rate at each step: linear warm-up to 1, then a cosine to 0.1
    RUN.P          [12, ...]  the parameter after each step, by pytorch_optimizer; runs of SOAP and NorMuon have matrices only

RUN                 lr     what (weight decay .1 throughout, decoupled)
lion                1e-3   Lion, betas .9 .99
signum              1e-3   SignSGD, momentum .9
soap                1e-2   SOAP, betas .9 .95, shampoo_beta .8, a refresh every 3 steps, max_precondition_dim 10: both sides of the square matrix,
                           the short sides of the others. (The gradients leave the long side's factor singular at first, and what basis of its null
                           space comes out of a decomposition is arbitrary.) In f64 but for the QR decomposition, which the package computes in f32.
normuon_original    0.02   NorMuon, momentum .95, Nesterov, beta2 .95, update_scale preserve_norm (the authors' code)
normuon_match_rms   0.02   the same, update_scale match_rms (the paper's algorithm)
normuon_plain       0.02   normuon_match_rms without Nesterov

NorMuon's Newton-Schulz is in f32 (the package's is in bf16). The script prints how far second implementations are off: lion-pytorch, SOAP in f32, and the
formula of normuon_update in the authors' code (github.com/zichongli5/NorMuon) written out.
"""
import math

import lion_pytorch
import pytorch_optimizer
import torch
from pytorch_optimizer.optimizer.muon import base, normuon
from safetensors.torch import save_file

SHAPES = {"tall": (20, 7), "wide": (6, 18), "square": (9, 9), "vector": (11,)}
MATRICES = ("tall", "wide", "square")
STEPS = 12


def newton_schulz(g, *_, **__):
    """Five quintic steps with Keller Jordan's coefficients, in the type of `g`; in place of the package's zero_power_via_newton_schulz_5."""
    x = g.mT if g.size(-2) > g.size(-1) else g
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if g.size(-2) > g.size(-1) else x


def authors_normuon(grad, momentum, second, beta=0.95, beta2=0.95):
    """The direction of normuon_update."""
    momentum.lerp_(grad, 1 - beta)
    update = newton_schulz(grad.lerp(momentum, beta))
    size = update.norm()
    second.lerp_((update * update).mean(dim=-1, keepdim=True), 1 - beta2)
    update = update / (second.sqrt() + 1e-10)
    update = update * (size / (update.norm() + 1e-10))
    return update * max(1, grad.size(-2) / grad.size(-1)) ** 0.5


def run(make, lr, names, start, grads, factors, dtype=torch.float32):
    out = {}
    for p in names:
        w = torch.nn.Parameter(start[p].to(dtype, copy=True))
        optimizer, path = make(w), []
        for t in range(STEPS):
            optimizer.param_groups[0]["lr"] = lr * factors[t].item()
            w.grad = grads[p][t].to(dtype, copy=True)
            optimizer.step()
            path.append(w.detach().clone())
        out[p] = torch.stack(path)
    return out


def run_authors_normuon(lr, start, grads, factors, decay=0.1):
    out = {}
    for p in MATRICES:
        w, path = start[p].clone(), []
        momentum, second = torch.zeros_like(w), torch.zeros_like(w[:, :1])
        for t in range(STEPS):
            rate = lr * factors[t].item()
            w = w * (1 - rate * decay) - rate * authors_normuon(grads[p][t], momentum, second)
            path.append(w.clone())
        out[p] = torch.stack(path)
    return out


def main():
    torch.set_num_threads(1)
    normuon.zero_power_via_newton_schulz_5 = base.zero_power_via_newton_schulz_5 = newton_schulz
    draw = torch.Generator().manual_seed(4)
    start = {p: 0.1 * torch.randn(s, generator=draw) for p, s in SHAPES.items()}
    # A steady part and a noisy one, with rows of different size, as gradients of weights have.
    size = {p: torch.logspace(-2, -1, s[0]).reshape(-1, *[1] * (len(s) - 1)) for p, s in SHAPES.items()}
    mean = {p: torch.randn(s, generator=draw) for p, s in SHAPES.items()}
    grads = {p: size[p] * (mean[p] + torch.randn(STEPS, *s, generator=draw)) for p, s in SHAPES.items()}
    factors = torch.tensor([min((t + 1) / 3, 0.55 + 0.45 * math.cos(math.pi * max(0, t - 2) / 9)) for t in range(STEPS)])

    o = pytorch_optimizer
    args = (start, grads, factors)
    soap = dict(betas=(0.9, 0.95), shampoo_beta=0.8, precondition_frequency=3, max_precondition_dim=10, weight_decay=0.1)

    def muon(**options):
        return lambda w: o.NorMuon([dict(params=[w], use_muon=True)], weight_decay=0.1, foreach=False, **options)

    runs = {
        "lion": run(lambda w: o.Lion([w], weight_decay=0.1), 1e-3, SHAPES, *args),
        "signum": run(lambda w: o.SignSGD([w], momentum=0.9, weight_decay=0.1), 1e-3, SHAPES, *args),
        "soap": run(lambda w: o.SOAP([w], **soap), 1e-2, MATRICES, *args, dtype=torch.float64),
        "normuon_original": run(muon(), 0.02, MATRICES, *args),
        "normuon_match_rms": run(muon(update_scale="match_rms"), 0.02, MATRICES, *args),
        "normuon_plain": run(muon(update_scale="match_rms", nesterov=False), 0.02, MATRICES, *args),
    }
    others = {
        "lion": run(lambda w: lion_pytorch.Lion([w], weight_decay=0.1), 1e-3, SHAPES, *args),
        "soap": run(lambda w: o.SOAP([w], **soap), 1e-2, MATRICES, *args),
        "normuon_original": run_authors_normuon(0.02, *args),
    }
    for name, other in others.items():  # what a tolerance can ask for
        for p, path in other.items():
            moved = (runs[name][p][-1] - start[p]).norm()
            print(f"{name} {p}: a second run is off by {((runs[name][p][-1] - path[-1]).norm() / moved).item():.1e}")

    out = {"lr": factors}
    out |= {f"start.{p}": v for p, v in start.items()} | {f"grad.{p}": v for p, v in grads.items()}
    out |= {f"{r}.{p}": v for r, steps in runs.items() for p, v in steps.items()}
    save_file({k: v.float().contiguous() for k, v in out.items()}, "more_optimizers.safetensors")


main()
