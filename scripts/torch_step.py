#!/usr/bin/env python3
"""A training step of GPT-2 in PyTorch, for comparison: train-bench --peer-python python3 --peer-script scripts/torch_step.py

The network that `train-bench` times: learned positions, LayerNorm before attention and MLP, biases, tanh GELU, tied head. A step is forward, backward, clipping to norm 1 and the update, on
the same random tokens every time. Prints one line of JSON: torch (its version), step_ms (the median of --steps after --warmup), loss (before the last update), and on a GPU peak_bytes.
Muon (torch 2.9 or later) takes the matrices inside the blocks, AdamW the rest.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x):
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(x)), split(self.value(x)), is_causal=True
        )
        return self.out(mixed.transpose(1, 2).flatten(-2))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention, self.attention_norm = Attention(width, heads), nn.LayerNorm(width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Network(nn.Module):
    def __init__(self, vocabulary, context, layers, width, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        logits = F.linear(self.norm(self.layers(x)), self.tokens.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def optimizers(network, name):
    adamw = dict(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    if name == "adamw":
        return [torch.optim.AdamW(network.parameters(), **adamw)]
    matrices = [p for p in network.layers.parameters() if p.ndim == 2]
    taken = set(map(id, matrices))
    rest = [p for p in network.parameters() if id(p) not in taken]
    muon = torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, **adamw)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default in [
        ("vocab", 1024), ("ctx", 128), ("layers", 4), ("dim", 128), ("heads", 4), ("batch", 16), ("steps", 20), ("warmup", 5), ("threads", 1)
    ]:  # fmt: skip
        parser.add_argument(f"--{flag}", type=int, default=default)
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32", help="bf16: autocast")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--evaluate", action="store_true", help="the loss alone: no gradient, no update")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.set_float32_matmul_precision("high")
    network = Network(options.vocab, options.ctx, options.layers, options.dim, options.heads).to(device)
    rules = optimizers(network, options.optimizer)
    loss_of = torch.compile(network) if options.compile else network
    ids, targets = torch.randint(options.vocab, (2, options.batch, options.ctx), device=device)

    times = []
    for _ in range(options.warmup + options.steps):
        start = time.perf_counter()
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=options.dtype == "bf16")
        with autocast, torch.set_grad_enabled(not options.evaluate):
            loss = loss_of(ids, targets)
        if not options.evaluate:
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            for rule in rules:
                rule.step()
                rule.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.synchronize(device)
        times.append(1e3 * (time.perf_counter() - start))

    result = dict(torch=torch.__version__, step_ms=statistics.median(times[options.warmup :]), loss=loss.item())
    if on_gpu:
        result["peak_bytes"] = torch.cuda.max_memory_allocated(device)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
