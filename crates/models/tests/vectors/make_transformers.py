"""Writes gpt2/ and llama/: tiny Hugging Face models, and what PyTorch computes with them in f32.

    python make_transformers.py          (in this folder; torch 2.15, transformers 5.23)

Each folder has the checkpoint exactly as `save_pretrained` writes it (config.json, model.safetensors) and
expected.safetensors:
    ids      [2, 12]  i64   input tokens
    targets  [2, 12]  i64   the token after each input token; -100 where it does not count
    logits   [2, 12, 61]    of the model on ids
    loss     []             mean cross-entropy in nats over the counted targets
    grad.N                  d loss / d parameter, N its Hugging Face name
    curve    [10]           the loss before each of ten AdamW steps (lr 3e-3, betas .9 .95, eps 1e-8, no decay) on this batch
"""
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

GPT2 = GPT2Config(vocab_size=61, n_positions=16, n_embd=24, n_layer=2, n_head=3, activation_function="gelu_new",
                  resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0)
LLAMA = LlamaConfig(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, max_position_embeddings=16, rope_theta=10000.0, rms_norm_eps=1e-5,
                    tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)


def batch(draw):
    """Random tokens; the targets of positions 4..7 of the first row and 0..3 of the second do not count."""
    tokens = torch.randint(0, 61, (2, 13), generator=draw)
    ids, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].clone()
    targets[0, 4:7] = -100
    targets[1, 0:3] = -100
    return ids, targets


def loss_of(model, ids, targets):
    logits = model(input_ids=ids).logits
    return logits, F.cross_entropy(logits.reshape(-1, 61), targets.reshape(-1), ignore_index=-100)


def write(folder, model, seed):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():  # biases and norms too, so that no gradient hides behind a zero
            centre = 1.0 if p.dim() == 1 and name.endswith("weight") else 0.0
            p.copy_(centre + 0.2 * torch.randn(p.shape, generator=draw))
    model.eval().save_pretrained(folder)
    os.remove(f"{folder}/generation_config.json")
    ids, targets = batch(draw)
    logits, loss = loss_of(model, ids, targets)
    loss.backward()
    out = {"ids": ids, "targets": targets, "logits": logits.detach(), "loss": loss.detach()}
    out |= {f"grad.{n}": p.grad.clone() for n, p in model.named_parameters()}

    exact = type(model)(model.config).double().eval()  # the same in f64: how far f32 itself is from the truth
    exact.load_state_dict(model.double().state_dict())
    loss_of(exact, ids, targets)[1].backward()
    model.float()
    far = max(((out[f"grad.{n}"] - p.grad).norm() / p.grad.norm()).item() for n, p in exact.named_parameters())

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    curve = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = loss_of(model, ids, targets)[1]
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    out["curve"] = torch.tensor(curve)
    save_file({k: v.contiguous() for k, v in out.items()}, f"{folder}/expected.safetensors")
    print(folder, "loss", curve[0], "->", curve[-1], "worst f32 gradient against f64:", far)


torch.use_deterministic_algorithms(True)
write("gpt2", GPT2LMHeadModel._from_config(GPT2, attn_implementation="eager"), 1)
write("llama", LlamaForCausalLM._from_config(LLAMA, attn_implementation="eager"), 2)
