"""Writes lora.safetensors: LoRA trained with torch.optim.AdamW for ten steps, from B = 0.

    python make_lora.py                  (in this folder, after make_transformers.py; torch 2.15, transformers 5.23)

A layer computes y = x W^T + (alpha / rank) x A^T B^T, with A [rank, in] and B [out, rank]; only A and B are trained.
AdamW: betas .9 .95, eps 1e-8, no decay.

The model and the batch are those of llama/; rank 2, alpha 4, learning rate 5e-3, every matrix of the blocks adapted.
    A0.N, A.N, B.N      at the start and after ten steps, N the Hugging Face name of the module
    merged.N            W + (alpha / rank) B A after ten steps
    gradB.N             the gradient of B before the first step (A's is zero, as B = 0)
    curve   [10]        the loss before each step
    logits              of the trained model on the batch
"""
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM


class Lora(torch.nn.Module):
    def __init__(self, base, a, alpha):
        super().__init__()
        self.weight = base.requires_grad_(False)
        self.a = torch.nn.Parameter(a.clone())
        self.b = torch.nn.Parameter(torch.zeros(base.shape[0], a.shape[0]))
        self.scale = alpha / a.shape[0]

    def forward(self, x):
        return x @ self.weight.T + self.scale * (x @ self.a.T) @ self.b.T

    def merged(self):
        return self.weight + self.scale * self.b @ self.a


def train(layers, lr, loss):
    """Ten AdamW steps on the A and B of `layers`; the losses before each, and every B's first gradient."""
    optimizer = torch.optim.AdamW([w for l in layers for w in (l.a, l.b)], lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    losses, first = [], None
    for _ in range(10):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if first is None:
            first = [l.b.grad.clone() for l in layers]
            assert all((l.a.grad == 0).all() for l in layers)
        optimizer.step()
        losses.append(value.item())
    return torch.tensor(losses), first


draw = torch.Generator().manual_seed(4)
model = LlamaForCausalLM.from_pretrained("llama", attn_implementation="eager", dtype=torch.float32).requires_grad_(False)
data = load_file("llama/expected.safetensors")
adapted = {}
for name, module in list(model.named_modules()):
    if isinstance(module, torch.nn.Linear) and name.startswith("model.layers."):
        adapted[name] = Lora(module.weight, 0.2 * torch.randn(2, module.in_features, generator=draw), 4.0)
        model.set_submodule(name, adapted[name])
out = {f"A0.{n}": l.a.detach().clone() for n, l in adapted.items()}
logits = lambda: model(input_ids=data["ids"]).logits
loss = lambda: F.cross_entropy(logits().reshape(-1, 61), data["targets"].reshape(-1), ignore_index=-100)
curve, first = train(list(adapted.values()), 5e-3, loss)
out |= {f"gradB.{n}": g for n, g in zip(adapted, first)}
out |= {f"A.{n}": l.a for n, l in adapted.items()} | {f"B.{n}": l.b for n, l in adapted.items()}
out |= {f"merged.{n}": l.merged() for n, l in adapted.items()} | {"curve": curve, "logits": logits()}
save_file({k: v.detach().clone().contiguous() for k, v in out.items()}, "lora.safetensors")
print("loss", curve[0].item(), "->", curve[-1].item())
