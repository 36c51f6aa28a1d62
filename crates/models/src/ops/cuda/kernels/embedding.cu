// Looking up embeddings, and adding gradients to the rows they came from in a fixed order.

#include "common.cuh"

// x_i = row ids_i of the table (+ row i mod time of the positions).
KERNEL(embed, (float* x, const unsigned* ids, const float* table, const float* positions, unsigned tokens, unsigned features, unsigned time)) {
    const u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= u64(tokens) * features) return;
    const unsigned token = i / features, feature = i % features;
    const float value = table[u64(ids[token]) * features + feature];
    x[i] = positions ? value + positions[u64(token % time) * features + feature] : value;
}

// Adds to one row of the table the rows of all tokens with its id, in their order: no two blocks write to the same place. Group g
// is order[starts[g]] to order[starts[g + 1] - 1], tokens that share an id.
KERNEL(add_rows, (float* table, const float* rows, const unsigned* ids, const unsigned* order, const unsigned* starts, unsigned features)) {
    const unsigned feature = blockIdx.y * blockDim.x + threadIdx.x;
    if (feature >= features) return;
    const unsigned start = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    const u64 at = u64(ids[order[start]]) * features + feature;
    float sum = table[at];
#pragma unroll 8
    for (unsigned i = start; i < end; i++) sum += rows[u64(order[i]) * features + feature];
    table[at] = sum;
}

// Row t of dp sums the rows of dx at time t; rows from `time` on are zero.
KERNEL(position_gradient, (float* dp, const float* dx, unsigned sequences, unsigned time, unsigned context, unsigned features)) {
    const u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= u64(context) * features) return;
    float sum = 0.0f;
    if (i < u64(time) * features) {
        for (unsigned b = 0; b < sequences; b++) sum += dx[u64(b) * time * features + i];
    }
    dp[i] = sum;
}

// (a, b) -> (a cos - b sin, b cos + a sin) for the two halves of every head; `sign` -1 turns back.
template <class T>
__device__ void turn(T* y, const T* x, const float* cosines, const float* sines, unsigned tokens, unsigned features, unsigned half,
                     unsigned time, float sign) {
    const u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    const unsigned pairs = features / 2;
    if (i >= u64(tokens) * pairs) return;
    const unsigned token = i / pairs, pair = i % pairs, head = pair / half, j = pair % half;
    const u64 at = u64(token) * features + u64(head) * 2 * half + j;
    const float c = cosines[u64(token % time) * half + j], s = sign * sines[u64(token % time) * half + j];
    const float a = to_float(x[at]), b = to_float(x[at + half]);
    y[at] = from_float<T>(a * c - b * s);
    y[at + half] = from_float<T>(b * c + a * s);
}

#define ROTATE(suffix, T)                                                                                                       \
    KERNEL(rotate_##suffix, (T * y, const T* x, const float* cosines, const float* sines, unsigned tokens, unsigned features,   \
                             unsigned half, unsigned time, float sign)) {                                                       \
        turn<T>(y, x, cosines, sines, tokens, features, half, time, sign);                                                      \
    }

ROTATE(f32, float)
ROTATE(bf16, bf16)
