"""Compares a checkpoint as this project reads it with Transformers' reading of the same files.

    cargo run --release -p models --example text_loss -- CHECKPOINT TEXT.txt logits.safetensors > ours.txt
    python scripts/compare_checkpoint.py CHECKPOINT TEXT.txt ours.txt logits.safetensors

Needs torch, transformers, safetensors and, for a .gguf file, gguf and accelerate. CHECKPOINT is a folder or a .gguf file. Prints whether the ids
are the same, both losses in nats per token, and the largest and the relative (Frobenius) difference of the logits; for a folder also how far
greedy generation from the first eight tokens goes before it stops. Exit code 1 if ids or logits (1e-4 relative) differ.
"""
import json
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

checkpoint, text, ours, logits = sys.argv[1:]
place = (os.path.dirname(checkpoint) or ".", {"gguf_file": os.path.basename(checkpoint)}) if checkpoint.endswith(".gguf") else (checkpoint, {})
tokenizer = AutoTokenizer.from_pretrained(place[0], **place[1])
model = AutoModelForCausalLM.from_pretrained(place[0], dtype=torch.float32, attn_implementation="eager", **place[1]).eval()
lines = dict(line.split(" ", 1) for line in open(ours))
tokens = json.loads(lines["ids"])
theirs = tokenizer(open(text, newline="").read())["input_ids"][: len(tokens)]
same = theirs == tokens
print("ids", "the same" if same else f"differ: {tokens[:20]} here, {theirs[:20]} there", f"({len(tokens)})")
with torch.no_grad():
    expected = model(input_ids=torch.tensor([tokens[:-1]])).logits[0]
print("loss", float(lines["loss"]), "here,", F.cross_entropy(expected, torch.tensor(tokens[1:])).item(), "there")
found = load_file(logits)["logits"]
relative = ((found - expected).norm() / expected.norm()).item()
print("logits: largest difference", (found - expected).abs().max().item(), "relative", relative)
if not place[1]:
    made = model.generate(torch.tensor([tokens[:8]]), do_sample=False, max_new_tokens=200)[0, 8:].tolist()
    print("generation:", len(made), "tokens, ends with", made[-1:], "eos", model.generation_config.eos_token_id)
sys.exit(0 if same and relative < 1e-4 else 1)
