// Where the heads of a batch lie, for both kinds of attention kernel.
//
// A block of threads takes a tile of queries (or keys) of one head of one sequence: blockIdx is (tile, head, sequence). Heads are read in
// place from [tokens, heads * width]. Tiles of keys behind the last query of a block are skipped, so that half of the scores are never computed; the backward
// makes the probabilities again from the log-sums (Dao, arXiv 2307.08691). Sums run in a fixed order, without atomics: the gradients of the queries
// and those of keys and values are two kernels.

#pragma once

#include "common.cuh"

struct Attention {
    unsigned time, heads, kv_heads, width;
    float scale;

    __device__ unsigned row() const { return heads * width; }
    __device__ unsigned kv_row() const { return kv_heads * width; }
    // Where the first token of a sequence has this head's features.
    __device__ u64 at(unsigned sequence, unsigned head) const { return u64(sequence) * time * row() + u64(head) * width; }
    __device__ u64 kv_at(unsigned sequence, unsigned kv_head) const { return u64(sequence) * time * kv_row() + u64(kv_head) * width; }
    __device__ unsigned kv_head(unsigned head) const { return head * kv_heads / heads; }
    __device__ u64 log_sums_at(unsigned sequence, unsigned head) const { return (u64(sequence) * heads + head) * time; }
};

#define ATTENTION_PARAMETERS unsigned time, unsigned heads, unsigned kv_heads, unsigned width, float scale
#define ATTENTION_SHAPE Attention{time, heads, kv_heads, width, scale}

// Lowers (top, sum) of a running softmax to a new top and returns the factor for what was summed before.
__device__ inline float rescale(float& top, float new_top) {
    const float factor = expf(top - new_top);
    top = new_top;
    return factor;
}
