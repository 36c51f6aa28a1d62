// Attention in f32: tiles of 32 queries and 32 keys; four threads share a row, each takes every fourth key or feature.

#include "attention.cuh"

constexpr unsigned TILE = 32;
constexpr unsigned LANES = 4;
constexpr unsigned KEYS = TILE / LANES;

// Copies `rows` rows of one head, `stride` apart, into a tile of TILE rows of D + 1 values; what lies outside is zero.
template <int D> __device__ void load(float* tile, const float* source, unsigned stride, unsigned rows, unsigned width) {
    for (unsigned i = threadIdx.x; i < TILE * D; i += blockDim.x) {
        const unsigned row = i / D, column = i % D;
        tile[row * (D + 1) + column] = row < rows && column < width ? source[u64(row) * stride + column] : 0.0f;
    }
}

template <int D> __device__ float dot(const float* a, const float* b) {
    float sum = 0.0f;
#pragma unroll 8
    for (int d = 0; d < D; d++) sum += a[d] * b[d];
    return sum;
}

__device__ inline float sum_of_four(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

__device__ inline float max_of_four(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ inline unsigned rows_from(unsigned first, unsigned time) { return first >= time ? 0 : min(TILE, time - first); }

template <int D> __device__ void forward(float* out, float* log_sums, const float* q, const float* k, const float* v, Attention shape) {
    DYNAMIC_SHARED(memory);
    float* queries = reinterpret_cast<float*>(memory);
    float *keys = queries + TILE * (D + 1), *values = keys + TILE * (D + 1), *weights = values + TILE * (D + 1);
    const unsigned first = (gridDim.x - 1 - blockIdx.x) * TILE, head = blockIdx.y, sequence = blockIdx.z;
    const unsigned r = threadIdx.x / LANES, lane = threadIdx.x % LANES, query = first + r;
    const u64 at = shape.at(sequence, head), kv_at = shape.kv_at(sequence, shape.kv_head(head));
    load<D>(queries, q + at + u64(first) * shape.row(), shape.row(), rows_from(first, shape.time), shape.width);
    float sums[D / LANES] = {}, top = -INFINITY, total = 0.0f;
    for (unsigned start = 0; start <= first; start += TILE) {
        __syncthreads();
        const unsigned rows = rows_from(start, shape.time);
        load<D>(keys, k + kv_at + u64(start) * shape.kv_row(), shape.kv_row(), rows, shape.width);
        load<D>(values, v + kv_at + u64(start) * shape.kv_row(), shape.kv_row(), rows, shape.width);
        __syncthreads();
        float scores[KEYS], new_top = top;
#pragma unroll
        for (unsigned c = 0; c < KEYS; c++) {
            const unsigned key = lane + LANES * c;
            const float score = dot<D>(queries + r * (D + 1), keys + key * (D + 1)) * shape.scale;
            scores[c] = start + key <= query ? score : -INFINITY;
            new_top = fmaxf(new_top, scores[c]);
        }
        const float factor = rescale(top, max_of_four(new_top));
        float sum = 0.0f;
#pragma unroll
        for (unsigned c = 0; c < KEYS; c++) {
            const float p = expf(scores[c] - top);
            weights[r * (TILE + 1) + lane + LANES * c] = p;
            sum += p;
        }
        total = total * factor + sum_of_four(sum);
        __syncwarp();
#pragma unroll
        for (unsigned j = 0; j < D / LANES; j++) {
            float sum = sums[j] * factor;
            for (unsigned key = 0; key < TILE; key++) sum += weights[r * (TILE + 1) + key] * values[key * (D + 1) + lane + LANES * j];
            sums[j] = sum;
        }
    }
    if (query >= shape.time) return;
#pragma unroll
    for (unsigned j = 0; j < D / LANES; j++) {
        const unsigned feature = lane + LANES * j;
        if (feature < shape.width) out[at + u64(query) * shape.row() + feature] = sums[j] / total;
    }
    if (lane == 0) log_sums[shape.log_sums_at(sequence, head) + query] = top + logf(total);
}

// dQ = dS K with dS = P (d_out V^T - D) scale.
template <int D>
__device__ void backward_queries(float* dq, const float* q, const float* k, const float* v, const float* log_sums, const float* dots,
                                 const float* d_out, Attention shape) {
    DYNAMIC_SHARED(memory);
    float* queries = reinterpret_cast<float*>(memory);
    float *d_outs = queries + TILE * (D + 1), *keys = d_outs + TILE * (D + 1), *values = keys + TILE * (D + 1);
    float* weights = values + TILE * (D + 1);
    const unsigned first = (gridDim.x - 1 - blockIdx.x) * TILE, head = blockIdx.y, sequence = blockIdx.z;
    const unsigned r = threadIdx.x / LANES, lane = threadIdx.x % LANES, query = first + r;
    const u64 at = shape.at(sequence, head), kv_at = shape.kv_at(sequence, shape.kv_head(head));
    const unsigned own_rows = rows_from(first, shape.time);
    load<D>(queries, q + at + u64(first) * shape.row(), shape.row(), own_rows, shape.width);
    load<D>(d_outs, d_out + at + u64(first) * shape.row(), shape.row(), own_rows, shape.width);
    const u64 sums_at = shape.log_sums_at(sequence, head);
    const float log_sum = query < shape.time ? log_sums[sums_at + query] : 0.0f, mean = query < shape.time ? dots[sums_at + query] : 0.0f;
    float sums[D / LANES] = {};
    for (unsigned start = 0; start <= first; start += TILE) {
        __syncthreads();
        const unsigned rows = rows_from(start, shape.time);
        load<D>(keys, k + kv_at + u64(start) * shape.kv_row(), shape.kv_row(), rows, shape.width);
        load<D>(values, v + kv_at + u64(start) * shape.kv_row(), shape.kv_row(), rows, shape.width);
        __syncthreads();
#pragma unroll
        for (unsigned c = 0; c < KEYS; c++) {
            const unsigned key = lane + LANES * c;
            float ds = 0.0f;
            if (start + key <= query && query < shape.time) {
                const float p = expf(dot<D>(queries + r * (D + 1), keys + key * (D + 1)) * shape.scale - log_sum);
                ds = p * (dot<D>(d_outs + r * (D + 1), values + key * (D + 1)) - mean) * shape.scale;
            }
            weights[r * (TILE + 1) + key] = ds;
        }
        __syncwarp();
#pragma unroll
        for (unsigned j = 0; j < D / LANES; j++) {
            for (unsigned key = 0; key < TILE; key++) sums[j] += weights[r * (TILE + 1) + key] * keys[key * (D + 1) + lane + LANES * j];
        }
    }
    if (query >= shape.time) return;
#pragma unroll
    for (unsigned j = 0; j < D / LANES; j++) {
        const unsigned feature = lane + LANES * j;
        if (feature < shape.width) dq[at + u64(query) * shape.row() + feature] = sums[j];
    }
}

// dV = P^T d_out and dK = dS^T Q, summed over the query heads that read this key head: blockIdx.y is the key head.
template <int D>
__device__ void backward_keys(float* dk, float* dv, const float* q, const float* k, const float* v, const float* log_sums,
                              const float* dots, const float* d_out, Attention shape) {
    DYNAMIC_SHARED(memory);
    float* queries = reinterpret_cast<float*>(memory);
    float *d_outs = queries + TILE * (D + 1), *keys = d_outs + TILE * (D + 1), *values = keys + TILE * (D + 1);
    float *weights = values + TILE * (D + 1), *score_gradients = weights + TILE * (TILE + 1);
    const unsigned first = blockIdx.x * TILE, kv_head = blockIdx.y, sequence = blockIdx.z;
    const unsigned r = threadIdx.x / LANES, lane = threadIdx.x % LANES, key = first + r;
    const u64 kv_at = shape.kv_at(sequence, kv_head);
    const unsigned own_rows = rows_from(first, shape.time), group = shape.heads / shape.kv_heads;
    load<D>(keys, k + kv_at + u64(first) * shape.kv_row(), shape.kv_row(), own_rows, shape.width);
    load<D>(values, v + kv_at + u64(first) * shape.kv_row(), shape.kv_row(), own_rows, shape.width);
    float key_sums[D / LANES] = {}, value_sums[D / LANES] = {};
    for (unsigned head = kv_head * group; head < (kv_head + 1) * group; head++) {
        const u64 at = shape.at(sequence, head), sums_at = shape.log_sums_at(sequence, head);
        for (unsigned start = first; start < shape.time; start += TILE) {
            __syncthreads();
            const unsigned rows = rows_from(start, shape.time);
            load<D>(queries, q + at + u64(start) * shape.row(), shape.row(), rows, shape.width);
            load<D>(d_outs, d_out + at + u64(start) * shape.row(), shape.row(), rows, shape.width);
            __syncthreads();
#pragma unroll
            for (unsigned c = 0; c < KEYS; c++) {
                const unsigned i = lane + LANES * c, query = start + i;
                float p = 0.0f, ds = 0.0f;
                if (key <= query && query < shape.time) {
                    p = expf(dot<D>(queries + i * (D + 1), keys + r * (D + 1)) * shape.scale - log_sums[sums_at + query]);
                    ds = p * (dot<D>(d_outs + i * (D + 1), values + r * (D + 1)) - dots[sums_at + query]) * shape.scale;
                }
                weights[r * (TILE + 1) + i] = p;
                score_gradients[r * (TILE + 1) + i] = ds;
            }
            __syncwarp();
#pragma unroll
            for (unsigned j = 0; j < D / LANES; j++) {
                const unsigned feature = lane + LANES * j;
                for (unsigned i = 0; i < TILE; i++) {
                    value_sums[j] += weights[r * (TILE + 1) + i] * d_outs[i * (D + 1) + feature];
                    key_sums[j] += score_gradients[r * (TILE + 1) + i] * queries[i * (D + 1) + feature];
                }
            }
        }
    }
    if (key >= shape.time) return;
#pragma unroll
    for (unsigned j = 0; j < D / LANES; j++) {
        const unsigned feature = lane + LANES * j;
        if (feature < shape.width) {
            dk[kv_at + u64(key) * shape.kv_row() + feature] = key_sums[j];
            dv[kv_at + u64(key) * shape.kv_row() + feature] = value_sums[j];
        }
    }
}

#define ATTENTION_F32(D)                                                                                                        \
    KERNEL(attention_f32_##D, (float* out, float* log_sums, const float* q, const float* k, const float* v,                     \
                               ATTENTION_PARAMETERS)) {                                                                         \
        forward<D>(out, log_sums, q, k, v, ATTENTION_SHAPE);                                                                    \
    }                                                                                                                           \
    KERNEL(attention_dq_f32_##D, (float* dq, const float* q, const float* k, const float* v, const float* log_sums,             \
                                  const float* dots, const float* d_out, ATTENTION_PARAMETERS)) {                               \
        backward_queries<D>(dq, q, k, v, log_sums, dots, d_out, ATTENTION_SHAPE);                                               \
    }                                                                                                                           \
    KERNEL(attention_dkv_f32_##D, (float* dk, float* dv, const float* q, const float* k, const float* v, const float* log_sums, \
                                   const float* dots, const float* d_out, ATTENTION_PARAMETERS)) {                              \
        backward_keys<D>(dk, dv, q, k, v, log_sums, dots, d_out, ATTENTION_SHAPE);                                              \
    }

ATTENTION_F32(32)
ATTENTION_F32(64)
ATTENTION_F32(128)

// D = <d_out, out> of every query and head: a warp each; blockIdx is (tokens of a sequence by 4, head, sequence).
template <class T> __device__ void row_dots(float* dots, const T* d_out, const T* out, Attention shape) {
    const unsigned t = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (t >= shape.time) return;
    const u64 at = shape.at(blockIdx.z, blockIdx.y) + u64(t) * shape.row();
    float sum = 0.0f;
    for (unsigned j = lane; j < shape.width; j += 32) sum += to_float(d_out[at + j]) * to_float(out[at + j]);
    sum = warp_sum(sum);
    if (lane == 0) dots[shape.log_sums_at(blockIdx.z, blockIdx.y) + t] = sum;
}

KERNEL(attention_dots_f32, (float* dots, const float* d_out, const float* out, ATTENTION_PARAMETERS)) {
    row_dots<float>(dots, d_out, out, ATTENTION_SHAPE);
}

KERNEL(attention_dots_bf16, (float* dots, const bf16* d_out, const bf16* out, ATTENTION_PARAMETERS)) {
    row_dots<bf16>(dots, d_out, out, ATTENTION_SHAPE);
}
