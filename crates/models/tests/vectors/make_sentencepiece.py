"""Writes checkpoints/sentencepiece.gguf and checkpoints/sentencepiece.expected.json: a SentencePiece tokenizer in a GGUF file, and its ids.

    python make_sentencepiece.py           (in this folder; sentencepiece 0.2.3, torch 2.15, transformers 5.24, gguf 0.19)

A BPE of 420 pieces with bytes for what has none, as Llama's, is trained on made-up text. The file has its pieces, scores and types and a network
with one block, two features and weights of zero. Expected are, for each text, the ids of the SentencePiece library itself. The script stops unless
Transformers gives the same ids for the same file; but for a text that begins with a space, where Transformers 5 leaves out the space that the library
puts in front (there the ids are compared with those of Transformers' reading of Phi-3, which has it).
"""
import io
import json
import random

import gguf
import numpy as np
import sentencepiece as spm
from transformers import AutoTokenizer
from transformers.integrations.gguf.gguf_tokenizer_mapping import add_gguf_special_tokens, get_gguf_tokenizer, phi3_tokenizer

PIECES, WIDTH = 420, 2
TEXTS = ["Tom has 12 apples.", "the value of the next item", "a", "", " leading and trailing ", "two  spaces,   three", "line\nend\ttab\r\n",
         "caf\u00e9 \u4e2d\u6587 \U0001f600!", "\u2581 is a mark", "xqzj XQZJ 0x1F", "fn main() { let x = 7; }", "#### 48/2=24", "ab" * 40]

random.seed(1)
words = "the value of next item is and follows a reader writer function returns error when this with apples has Tom sum total".split()
lines = [" ".join(random.choices(words, k=9)) + f" {i * i}." for i in range(600)]
model = io.BytesIO()
spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=PIECES, model_type="bpe", byte_fallback=True,
                               split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                               allow_whitespace_only_pieces=True, character_coverage=1.0, hard_vocab_limit=False, minloglevel=1)
library = spm.SentencePieceProcessor(model_proto=model.getvalue())
size = library.get_piece_size()


def kind(i):
    if library.is_unknown(i):
        return gguf.TokenType.UNKNOWN
    if library.is_control(i):
        return gguf.TokenType.CONTROL
    return gguf.TokenType.BYTE if library.is_byte(i) else gguf.TokenType.NORMAL


path = "checkpoints/sentencepiece.gguf"
writer = gguf.GGUFWriter(path, "llama")
writer.add_context_length(16)
writer.add_embedding_length(WIDTH)
writer.add_block_count(1)
writer.add_head_count(1)
writer.add_head_count_kv(1)
writer.add_feed_forward_length(WIDTH)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_tokenizer_model("llama")
writer.add_token_list([library.id_to_piece(i) for i in range(size)])
writer.add_token_scores([library.get_score(i) for i in range(size)])
writer.add_token_types([kind(i) for i in range(size)])
writer.add_unk_token_id(library.unk_id())
writer.add_bos_token_id(library.bos_id())
writer.add_eos_token_id(library.eos_id())
writer.add_add_space_prefix(True)
shapes = {"token_embd": (size, WIDTH), "output_norm": (WIDTH,), "blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,)}
shapes |= {f"blk.0.{name}": (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
for name, shape in shapes.items():
    writer.add_tensor(f"{name}.weight", np.zeros(shape, dtype=np.float32 if len(shape) == 1 else np.float16))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

theirs = AutoTokenizer.from_pretrained("checkpoints", gguf_file="sentencepiece.gguf")
_, said, _ = get_gguf_tokenizer(path)
phi3 = add_gguf_special_tokens(phi3_tokenizer(said), said)
expected = []
for text in TEXTS:
    ids = library.encode(text)
    other = phi3 if text.startswith((" ", "\u2581")) else theirs
    assert other(text, add_special_tokens=False)["input_ids"] == ids, (text, ids, other(text, add_special_tokens=False)["input_ids"])
    expected.append({"text": text, "ids": ids})
print(size, "pieces;", sum(len(e["ids"]) for e in expected), "ids of", len(expected), "texts are the same in SentencePiece and Transformers")
with open("checkpoints/sentencepiece.expected.json", "w") as file:
    json.dump(expected, file, indent=1)
    file.write("\n")
