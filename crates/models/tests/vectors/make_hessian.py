"""Exact second derivatives of the stored Llama's mean loss, in f64 by PyTorch's double backward.

Needs torch alone. Prints <d, H d> and <e, H d> for two directions over the hidden matrices: entry i of the matrix at
place p (sorted by name) is cos(0.7 i + p) in d and sin(0.3 i + 2 p) in e. The numbers stand in ../numerics/curvature.rs.
"""

import json
import math
import struct
from pathlib import Path

import torch

here = Path(__file__).parent / "llama"


def read(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    kinds = {"F32": torch.float32, "I64": torch.int64}
    header = json.loads(raw[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            data = bytearray(raw[8 + length + begin : 8 + length + end])
            tensors[name] = torch.frombuffer(data, dtype=kinds[entry["dtype"]]).reshape(entry["shape"])
    return tensors


w = {name: tensor.double() for name, tensor in read(here / "model.safetensors").items()}
expected = read(here / "expected.safetensors")
ids, targets = expected["ids"].reshape(2, 12), expected["targets"].reshape(-1)
heads, key_heads, size, layers, eps = 4, 2, 6, 2, 1e-5

frequencies = 10000.0 ** (-torch.arange(0, size, 2).double() / size)
angles = torch.arange(12).double()[:, None] * frequencies
cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()


def norm(x, gain):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gain


def rotate(x):
    first, second = x[..., : size // 2], x[..., size // 2 :]
    return x * cos + torch.cat([-second, first], -1) * sin


def loss(w):
    x = w["model.embed_tokens.weight"][ids]
    for layer in range(layers):
        p = lambda name: w[f"model.layers.{layer}.{name}.weight"]
        h = norm(x, p("input_layernorm"))
        split = lambda name, count: (h @ p(f"self_attn.{name}").T).reshape(2, 12, count, size).transpose(1, 2)
        q, k = rotate(split("q_proj", heads)), rotate(split("k_proj", key_heads))
        k, v = (t.repeat_interleave(heads // key_heads, 1) for t in (k, split("v_proj", key_heads)))
        scores = q @ k.transpose(-1, -2) / math.sqrt(size)
        scores = scores.masked_fill(torch.ones(12, 12).triu(1).bool(), float("-inf"))
        x = x + (scores.softmax(-1) @ v).transpose(1, 2).reshape(2, 12, -1) @ p("self_attn.o_proj").T
        h = norm(x, p("post_attention_layernorm"))
        gated = torch.nn.functional.silu(h @ p("mlp.gate_proj").T) * (h @ p("mlp.up_proj").T)
        x = x + gated @ p("mlp.down_proj").T
    logits = norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T
    return torch.nn.functional.cross_entropy(logits.reshape(-1, 61), targets, ignore_index=-100)


assert abs(loss(w).item() - expected["loss"].item()) < 1e-6
names = sorted(name for name in w if "proj" in name)
hidden = [w[name].requires_grad_() for name in names]
index = lambda t: torch.arange(t.numel()).double().reshape(t.shape)
d = [torch.cos(0.7 * index(t) + p) for p, t in enumerate(hidden)]
e = [torch.sin(0.3 * index(t) + 2 * p) for p, t in enumerate(hidden)]
gradient = torch.autograd.grad(loss(w), hidden, create_graph=True)
hd = torch.autograd.grad(sum((g * t).sum() for g, t in zip(gradient, d)), hidden)
dot = lambda a, b: sum((x * y).sum() for x, y in zip(a, b)).item()
print("<g, d>", dot(gradient, d), "<d, d>", dot(d, d), "<d, H d>", dot(d, hd), "<e, H d>", dot(e, hd))
