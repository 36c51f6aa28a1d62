"""Compares LoRA's adapter as this project keeps it for PEFT with the weights that it was merged into.

    tradeoff ... --methods adamw,lora-16 --keep weights --out OUT
    tradeoff ... --methods adamw,lora-16 --keep adapters --out OUT
    python scripts/compare_adapter.py BASE OUT/runs/finetune-ADAPTER OUT/runs/finetune-MERGED

Needs torch, transformers and peft. BASE is the checkpoint's folder, or its `import-` or `pretrain-` folder in OUT/runs; ADAPTER and MERGED are the same run
(`store list` shows which is what). Prints the relative (Frobenius) difference of the logits of 64 tokens: base and adapter in PEFT, and PEFT's own merging of
them, against the merged weights; and how far the base itself is from these. Exit code 1 if one is above 1e-4.
"""
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, merged = sys.argv[1:]


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


plain, expected = load(base), load(merged)
ids = torch.randint(0, plain.config.vocab_size, (2, 32), generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    expected, without = expected(input_ids=ids).logits, plain(input_ids=ids).logits
    adapted = PeftModel.from_pretrained(plain, adapter).eval()
    found = adapted(input_ids=ids).logits
    by_peft = adapted.merge_and_unload()(input_ids=ids).logits


def distance(logits):
    return ((logits - expected).norm() / expected.norm()).item()


print("base and adapter", distance(found), "merged by PEFT", distance(by_peft), "base alone", distance(without))
print("tokenizer", type(AutoTokenizer.from_pretrained(adapter)).__name__)
sys.exit(0 if max(distance(found), distance(by_peft)) < 1e-4 else 1)
