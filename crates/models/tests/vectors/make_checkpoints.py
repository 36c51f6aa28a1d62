"""Writes checkpoints/: tiny Hugging Face checkpoints and GGUF files of every supported kind, with Transformers' logits.

    python make_checkpoints.py           (in this folder; torch 2.15, transformers 5.24, gguf 0.19)

Each folder or .gguf file NAME comes with NAME.expected.safetensors:
    ids      [2, 12]  i64   input tokens
    logits   [2, 12, 61]    in f32, of the weights as they were stored

folders, exactly as `save_pretrained` writes them but for `sharded`'s small shards
    gpt2-bf16-sharded       several files with an index
    gpt2-f16-untied         a head of its own, an MLP of another width
    llama-bf16              tied; grouped queries, heads wider than width / heads, biases of attention, Llama 3's scaling, theta 500000
    llama-f32-linear        biases everywhere, linear scaling, one key head
    mistral-f16             a sliding window as long as the context
    qwen2-f16-sharded       tied; biases of queries, keys and values
    qwen3-f32               norms of queries and keys, heads wider than width / heads
files
    llama.gguf              f32, f16, bf16, q8_0, q4_0, q4_1, q4_k and q6_k side by side; queries and keys permuted as llama.cpp has them;
                            Llama 3's scaling as a tensor of factors
    qwen2.gguf              f16, tied, biases, nothing permuted
    gpt2.gguf               f16, fused queries, keys and values
"""
import os
import shutil

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config)

COMMON = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=32, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=0)
GPT2 = dict(vocab_size=61, n_positions=32, n_embd=24, n_layer=2, n_head=3, activation_function="gelu_new", bos_token_id=0, eos_token_id=0)
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
FOLDERS = {
    "gpt2-bf16-sharded": (GPT2Config(**GPT2), torch.bfloat16, "8KB"),
    "gpt2-f16-untied": (GPT2Config(**GPT2 | dict(n_inner=56, tie_word_embeddings=False)), torch.float16, "5GB"),
    "llama-bf16": (LlamaConfig(**COMMON, head_dim=8, attention_bias=True, tie_word_embeddings=True,
                               rope_parameters=LLAMA3 | {"rope_theta": 500000.0}), torch.bfloat16, "5GB"),
    "llama-f32-linear": (LlamaConfig(**COMMON | dict(num_key_value_heads=1), attention_bias=True, mlp_bias=True,
                                     rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}), torch.float32, "5GB"),
    "mistral-f16": (MistralConfig(**COMMON, sliding_window=32), torch.float16, "5GB"),
    "qwen2-f16-sharded": (Qwen2Config(**COMMON, tie_word_embeddings=True), torch.float16, "8KB"),
    "qwen3-f32": (Qwen3Config(**COMMON, head_dim=10, tie_word_embeddings=False), torch.float32, "5GB"),
}


def randomise(model, seed):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            centre = 1.0 if p.dim() == 1 and name.endswith("weight") else 0.0
            p.copy_(centre + 0.2 * torch.randn(p.shape, generator=draw))
    return draw


def expect(name, model, draw):
    ids = torch.randint(0, 61, (2, 12), generator=draw)
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits
    save_file({"ids": ids, "logits": logits.contiguous()}, f"checkpoints/{name}.expected.safetensors")
    print(name, "rms of the logits", logits.square().mean().sqrt().item())


def folder(name, config, dtype, shard, seed):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    draw = randomise(model, seed)
    model.to(dtype).save_pretrained(f"checkpoints/{name}", max_shard_size=shard)
    os.remove(f"checkpoints/{name}/generation_config.json")
    expect(name, AutoModelForCausalLM.from_pretrained(f"checkpoints/{name}", dtype=torch.float32, attn_implementation="eager"), draw)


def k_blocks(kind, rows, columns, rng):
    """Random blocks of a K type: any bits are some numbers, as long as the scales are small."""
    size = {"Q4_K": 144, "Q6_K": 210}[kind]
    blocks = rng.integers(0, 256, (rows * columns // 256, size), dtype=np.uint8)
    scale = lambda of: (of * rng.uniform(0.5, 1.5, (len(blocks), 1))).astype(np.float16).view(np.uint8)
    if kind == "Q4_K":
        blocks[:, 0:2], blocks[:, 2:4] = scale(1e-3), scale(8e-3)
    else:
        blocks[:, 208:210] = scale(1e-4)
    return blocks.reshape(rows, columns // 256 * size)


def add(writer, name, values, kind):
    values = np.ascontiguousarray(values, dtype=np.float32)
    if values.ndim == 1 or kind == "F32":
        return writer.add_tensor(name, values)
    quantised = gguf.GGMLQuantizationType[kind]
    writer.add_tensor(name, gguf.quantize(values, quantised), raw_dtype=quantised)


def permuted(w, heads):
    """Pairs of a head side by side, as llama.cpp rotates them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def header(path, arch, context, width, layers, heads, kv_heads, mlp):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_feed_forward_length(mlp)
    writer.add_vocab_size(61)
    return writer


def tokenizer(writer):
    """61 tokens of GPT-2's kind: a few bytes, merges, the end of text."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,!?\u0120\u010a")
    merges = ["t h", "th e", "\u0120 the", "i n", "\u0120 a", "a n", "an d", "o n", "e r", "r e"]
    tokens = ["<|endoftext|>"] + letters + [m.replace(" ", "") for m in merges]
    tokens += [f"<|extra_{i}|>" for i in range(61 - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    special = lambda t: t.startswith("<|")
    writer.add_token_types([gguf.TokenType.CONTROL if special(t) else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_like(path, config, kinds, arch, factors=None):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    draw = randomise(model, 21)
    c = config
    writer = header(path, arch, c.max_position_embeddings, c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.num_key_value_heads,
                    c.intermediate_size)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(c.hidden_size // c.num_attention_heads)
    tokenizer(writer)
    rng = np.random.default_rng(3)
    state = {n: p.detach().numpy() for n, p in model.named_parameters()}
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    add(writer, "token_embd.weight", state["model.embed_tokens.weight"], kinds["embed"])
    add(writer, "output_norm.weight", state["model.norm.weight"], "F32")
    if not c.tie_word_embeddings:
        add(writer, "output.weight", state["lm_head.weight"], kinds["head"])
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm"}
    for name, value in state.items():
        if not name.startswith("model.layers."):
            continue
        layer, module = name.removeprefix("model.layers.").split(".", 1)
        module, leaf = module.rsplit(".", 1)
        target, kind = f"blk.{layer}.{names[module]}.{leaf}", kinds.get(names[module], kinds["other"])
        kind = kind[int(layer)] if isinstance(kind, list) else kind
        if arch == "llama" and module in ("self_attn.q_proj", "self_attn.k_proj"):
            value = permuted(value, c.num_attention_heads if "q_proj" in module else c.num_key_value_heads)
        if kind.endswith("_K"):
            blocks = k_blocks(kind, *value.shape, rng)
            writer.add_tensor(target, blocks, raw_dtype=gguf.GGMLQuantizationType[kind])
        else:
            add(writer, target, value, kind)
    finish(writer)
    return draw


def read_back(name):
    return AutoModelForCausalLM.from_pretrained("checkpoints", gguf_file=f"{name}.gguf", dtype=torch.float32, attn_implementation="eager")


def gguf_llama():
    config = LlamaConfig(**COMMON | dict(hidden_size=32, intermediate_size=256), tie_word_embeddings=False, rope_parameters=LLAMA3 | {"rope_theta": 10000.0})
    kinds = dict(embed="Q8_0", head="F32", attn_q="Q4_0", attn_k="Q4_1", attn_v="F16", attn_output="BF16", ffn_gate="Q8_0", ffn_up="F32",
                 ffn_down=["Q4_K", "Q6_K"], other="F32")
    frequency = 10000.0 ** (-np.arange(0, 8, 2) / 8)
    wave = 2 * np.pi / frequency
    smooth = (16 / wave - 1.0) / (4.0 - 1.0)
    factors = np.where(wave < 16 / 4, 1.0, np.where(wave > 16, 4.0, 1 / ((1 - smooth) / 4.0 + smooth))).astype(np.float32)
    draw = llama_like("checkpoints/llama.gguf", config, kinds, "llama", factors)
    model = read_back("llama")
    # Transformers does not read the factors: what they stand for is put in by hand.
    scaled = AutoModelForCausalLM.from_config(LlamaConfig(**model.config.to_dict() | dict(rope_parameters=config.rope_parameters)),
                                              attn_implementation="eager")
    scaled.load_state_dict(model.state_dict())
    expect("llama", scaled, draw)


def gguf_qwen2():
    config = Qwen2Config(**COMMON | dict(hidden_size=32), tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    draw = llama_like("checkpoints/qwen2.gguf", config, dict(embed="F16", other="F16"), "qwen2")
    expect("qwen2", read_back("qwen2"), draw)


def gguf_gpt2():
    model = AutoModelForCausalLM.from_config(GPT2Config(**GPT2), attn_implementation="eager")
    draw = randomise(model, 22)
    writer = header("checkpoints/gpt2.gguf", "gpt2", 32, 24, 2, 3, 3, 96)
    writer.add_layer_norm_eps(1e-5)
    tokenizer(writer)
    names = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv",
             "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    for name, p in model.named_parameters():
        value = p.detach().numpy()
        module, leaf = name.removeprefix("transformer.").rsplit(".", 1)
        prefix = ""
        if module.startswith("h."):
            _, layer, module = module.split(".", 2)
            prefix = f"blk.{layer}."
        add(writer, f"{prefix}{names[module]}.{leaf}", value.T if "c_" in module else value, "F32" if module == "wpe" else "F16")
    finish(writer)
    # Transformers takes 1024 positions for granted in such a file: the logits are those of what was written.
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2 and "wpe" not in name:
                p.copy_(p.half().float())
    expect("gpt2", model, draw)


shutil.rmtree("checkpoints", ignore_errors=True)
os.makedirs("checkpoints")
for seed, (name, of) in enumerate(FOLDERS.items()):
    folder(name, *of, seed + 11)
gguf_llama()
gguf_qwen2()
gguf_gpt2()
