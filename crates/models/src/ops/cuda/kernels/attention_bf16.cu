// Attention on the tensor cores: tiles of 64 queries and 64 keys of bf16, four warps with 16 rows each, sums and softmax in f32.

#include "attention.cuh"
#include "tensor_core.cuh"

constexpr unsigned TILE = 64;
constexpr unsigned THREADS = 128;
// Results of a warp that lie side by side: 16 x 8 each.
constexpr unsigned PARTS = TILE / 8;

template <int D> struct Tile {
    // The distance of two rows: 16 bytes past a multiple of all banks, so that the loads of eight rows do not collide.
    static constexpr unsigned STRIDE = D + 8;
    static constexpr unsigned SIZE = TILE * STRIDE;
};

__device__ inline unsigned rows_from(unsigned first, unsigned time) { return first >= time ? 0 : min(TILE, time - first); }

// Copies `rows` rows of one head, `row_length` apart, into a tile; what lies outside is zero.
template <int D> __device__ void load(bf16* tile, const bf16* source, unsigned row_length, unsigned rows, unsigned width) {
    constexpr unsigned EIGHTS = D / 8;
    const bool whole = width % 8 == 0;
    for (unsigned i = threadIdx.x; i < TILE * EIGHTS; i += THREADS) {
        const unsigned row = i / EIGHTS, column = i % EIGHTS * 8;
        uint4 values = make_uint4(0, 0, 0, 0);
        if (row < rows && whole && column < width) {
            values = *reinterpret_cast<const uint4*>(source + u64(row) * row_length + column);
        } else if (row < rows && !whole) {
            bf16 eight[8];
            for (unsigned j = 0; j < 8; j++) {
                eight[j] = column + j < width ? source[u64(row) * row_length + column + j] : from_float<bf16>(0.0f);
            }
            memcpy(&values, eight, sizeof values);
        }
        *reinterpret_cast<uint4*>(tile + row * Tile<D>::STRIDE + column) = values;
    }
}

// scores = left tile (16 rows from `row`) times right tile transposed, 16 x 64.
template <int D> __device__ void row_products(float (&scores)[PARTS][4], const bf16* left, unsigned row, const bf16* right) {
#pragma unroll
    for (unsigned n = 0; n < PARTS; n++) {
        for (unsigned i = 0; i < 4; i++) scores[n][i] = 0.0f;
    }
#pragma unroll
    for (unsigned d = 0; d < D; d += 16) {
        uint32_t a[4], b[4];
        load_left(a, left, Tile<D>::STRIDE, row, d);
#pragma unroll
        for (unsigned n = 0; n < PARTS; n += 2) {
            load_right_by_rows(b, right, Tile<D>::STRIDE, n * 8, d);
            mma(scores[n], a, b[0], b[1]);
            mma(scores[n + 1], a, b[2], b[3]);
        }
    }
}

// sums += weights (16 x 64, as results of a product) times a tile of 64 rows.
template <int D> __device__ void add_weighted(float (&sums)[D / 8][4], const float (&weights)[PARTS][4], const bf16* tile) {
#pragma unroll
    for (unsigned k = 0; k < PARTS / 2; k++) {
        const float(&low)[4] = weights[2 * k];
        const float(&high)[4] = weights[2 * k + 1];
        const uint32_t a[4] = {packed(low[0], low[1]), packed(low[2], low[3]), packed(high[0], high[1]), packed(high[2], high[3])};
#pragma unroll
        for (unsigned n = 0; n < D / 8; n += 2) {
            uint32_t b[4];
            load_right_by_columns(b, tile, Tile<D>::STRIDE, k * 16, n * 8);
            mma(sums[n], a, b[0], b[1]);
            mma(sums[n + 1], a, b[2], b[3]);
        }
    }
}

// Writes a warp's 16 rows of sums * factor[half] to rows of one head that are below `rows`.
template <int D>
__device__ void store(bf16* target, unsigned row_length, const float (&sums)[D / 8][4], const float (&factor)[2], unsigned row, unsigned rows,
                      unsigned width) {
    const unsigned lane = threadIdx.x % 32;
#pragma unroll
    for (unsigned half = 0; half < 2; half++) {
        const unsigned r = row + lane / 4 + 8 * half;
        if (r >= rows) continue;
        bf16* line = target + u64(r) * row_length;
#pragma unroll
        for (unsigned n = 0; n < D / 8; n++) {
            const unsigned column = n * 8 + lane % 4 * 2;
            const float low = sums[n][2 * half] * factor[half], high = sums[n][2 * half + 1] * factor[half];
            if (column + 1 < width && width % 2 == 0) {
                *reinterpret_cast<uint32_t*>(line + column) = packed(low, high);
            } else {
                if (column < width) line[column] = from_float<bf16>(low);
                if (column + 1 < width) line[column + 1] = from_float<bf16>(high);
            }
        }
    }
}

__device__ inline float sum_of_four(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

__device__ inline float max_of_four(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

template <int D> __device__ void forward(bf16* out, float* log_sums, const bf16* q, const bf16* k, const bf16* v, Attention shape) {
    DYNAMIC_SHARED(memory);
    bf16* queries = reinterpret_cast<bf16*>(memory);
    bf16 *keys = queries + Tile<D>::SIZE, *values = keys + Tile<D>::SIZE;
    const unsigned first = (gridDim.x - 1 - blockIdx.x) * TILE, head = blockIdx.y, sequence = blockIdx.z;
    const unsigned row = threadIdx.x / 32 * 16, lane = threadIdx.x % 32;
    const u64 at = shape.at(sequence, head) + u64(first) * shape.row(), kv_at = shape.kv_at(sequence, shape.kv_head(head));
    const unsigned own_rows = rows_from(first, shape.time);
    load<D>(queries, q + at, shape.row(), own_rows, shape.width);
    float sums[D / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    for (unsigned start = 0; start <= first; start += TILE) {
        __syncthreads();
        const unsigned rows = rows_from(start, shape.time);
        load<D>(keys, k + kv_at + u64(start) * shape.kv_row(), shape.kv_row(), rows, shape.width);
        load<D>(values, v + kv_at + u64(start) * shape.kv_row(), shape.kv_row(), rows, shape.width);
        __syncthreads();
        float scores[PARTS][4];
        row_products<D>(scores, queries, row, keys);
#pragma unroll
        for (unsigned half = 0; half < 2; half++) {
            const unsigned query = first + row + lane / 4 + 8 * half;
            float new_top = top[half];
#pragma unroll
            for (unsigned n = 0; n < PARTS; n++) {
                for (unsigned i = 2 * half; i < 2 * half + 2; i++) {
                    const unsigned key = start + n * 8 + lane % 4 * 2 + i % 2;
                    scores[n][i] = key <= query ? scores[n][i] * shape.scale : -INFINITY;
                    new_top = fmaxf(new_top, scores[n][i]);
                }
            }
            const float factor = rescale(top[half], max_of_four(new_top));
            float sum = 0.0f;
#pragma unroll
            for (unsigned n = 0; n < PARTS; n++) {
                for (unsigned i = 2 * half; i < 2 * half + 2; i++) {
                    scores[n][i] = __expf(scores[n][i] - top[half]);
                    sum += scores[n][i];
                }
            }
            total[half] = total[half] * factor + sum;
#pragma unroll
            for (unsigned n = 0; n < D / 8; n++) {
                sums[n][2 * half] *= factor;
                sums[n][2 * half + 1] *= factor;
            }
        }
        add_weighted<D>(sums, scores, values);
    }
    float factor[2];
#pragma unroll
    for (unsigned half = 0; half < 2; half++) {
        total[half] = sum_of_four(total[half]);
        factor[half] = 1.0f / total[half];
        const unsigned query = row + lane / 4 + 8 * half;
        if (lane % 4 == 0 && query < own_rows) {
            log_sums[shape.log_sums_at(sequence, head) + first + query] = top[half] + logf(total[half]);
        }
    }
    store<D>(out + at, shape.row(), sums, factor, row, own_rows, shape.width);
}

// dQ = dS K with dS = P (d_out V^T - D) scale.
template <int D>
__device__ void backward_queries(bf16* dq, const bf16* q, const bf16* k, const bf16* v, const float* log_sums, const float* dots,
                                 const bf16* d_out, Attention shape) {
    DYNAMIC_SHARED(memory);
    bf16* queries = reinterpret_cast<bf16*>(memory);
    bf16 *d_outs = queries + Tile<D>::SIZE, *keys = d_outs + Tile<D>::SIZE, *values = keys + Tile<D>::SIZE;
    const unsigned first = (gridDim.x - 1 - blockIdx.x) * TILE, head = blockIdx.y, sequence = blockIdx.z;
    const unsigned row = threadIdx.x / 32 * 16, lane = threadIdx.x % 32;
    const u64 at = shape.at(sequence, head) + u64(first) * shape.row(), kv_at = shape.kv_at(sequence, shape.kv_head(head));
    const unsigned own_rows = rows_from(first, shape.time);
    load<D>(queries, q + at, shape.row(), own_rows, shape.width);
    load<D>(d_outs, d_out + at, shape.row(), own_rows, shape.width);
    float log_sum[2], mean[2];
#pragma unroll
    for (unsigned half = 0; half < 2; half++) {
        const unsigned r = row + lane / 4 + 8 * half;
        const u64 place = shape.log_sums_at(sequence, head) + first + r;
        log_sum[half] = r < own_rows ? log_sums[place] : 0.0f;
        mean[half] = r < own_rows ? dots[place] : 0.0f;
    }
    float sums[D / 8][4] = {};
    for (unsigned start = 0; start <= first; start += TILE) {
        __syncthreads();
        const unsigned rows = rows_from(start, shape.time);
        load<D>(keys, k + kv_at + u64(start) * shape.kv_row(), shape.kv_row(), rows, shape.width);
        load<D>(values, v + kv_at + u64(start) * shape.kv_row(), shape.kv_row(), rows, shape.width);
        __syncthreads();
        float scores[PARTS][4], gradients[PARTS][4];
        row_products<D>(scores, queries, row, keys);
        row_products<D>(gradients, d_outs, row, values);
#pragma unroll
        for (unsigned n = 0; n < PARTS; n++) {
            for (unsigned i = 0; i < 4; i++) {
                const unsigned half = i / 2, r = row + lane / 4 + 8 * half, key = start + n * 8 + lane % 4 * 2 + i % 2;
                const bool seen = key <= first + r && r < own_rows;
                const float p = seen ? __expf(scores[n][i] * shape.scale - log_sum[half]) : 0.0f;
                gradients[n][i] = p * (gradients[n][i] - mean[half]) * shape.scale;
            }
        }
        add_weighted<D>(sums, gradients, keys);
    }
    const float factor[2] = {1.0f, 1.0f};
    store<D>(dq + at, shape.row(), sums, factor, row, own_rows, shape.width);
}

// dV = P^T d_out and dK = dS^T Q, summed over the query heads that read this key head: blockIdx.y is the key head. A warp has 16 keys and all
// queries of a tile, so that P^T and dS^T are already where the next product wants them.
template <int D>
__device__ void backward_keys(bf16* dk, bf16* dv, const bf16* q, const bf16* k, const bf16* v, const float* log_sums, const float* dots,
                              const bf16* d_out, Attention shape) {
    DYNAMIC_SHARED(memory);
    __shared__ float tile_log_sums[TILE], tile_dots[TILE];
    bf16* queries = reinterpret_cast<bf16*>(memory);
    bf16 *d_outs = queries + Tile<D>::SIZE, *keys = d_outs + Tile<D>::SIZE, *values = keys + Tile<D>::SIZE;
    const unsigned first = blockIdx.x * TILE, kv_head = blockIdx.y, sequence = blockIdx.z;
    const unsigned row = threadIdx.x / 32 * 16, lane = threadIdx.x % 32;
    const u64 kv_at = shape.kv_at(sequence, kv_head) + u64(first) * shape.kv_row();
    const unsigned own_rows = rows_from(first, shape.time), group = shape.heads / shape.kv_heads;
    load<D>(keys, k + kv_at, shape.kv_row(), own_rows, shape.width);
    load<D>(values, v + kv_at, shape.kv_row(), own_rows, shape.width);
    float key_sums[D / 8][4] = {}, value_sums[D / 8][4] = {};
    for (unsigned head = kv_head * group; head < (kv_head + 1) * group; head++) {
        const u64 at = shape.at(sequence, head), sums_at = shape.log_sums_at(sequence, head);
        for (unsigned start = first; start < shape.time; start += TILE) {
            __syncthreads();
            const unsigned rows = rows_from(start, shape.time);
            load<D>(queries, q + at + u64(start) * shape.row(), shape.row(), rows, shape.width);
            load<D>(d_outs, d_out + at + u64(start) * shape.row(), shape.row(), rows, shape.width);
            for (unsigned i = threadIdx.x; i < TILE; i += THREADS) {
                tile_log_sums[i] = i < rows ? log_sums[sums_at + start + i] : 0.0f;
                tile_dots[i] = i < rows ? dots[sums_at + start + i] : 0.0f;
            }
            __syncthreads();
            float weights[PARTS][4], gradients[PARTS][4];
            row_products<D>(weights, keys, row, queries);
            row_products<D>(gradients, values, row, d_outs);
#pragma unroll
            for (unsigned n = 0; n < PARTS; n++) {
                for (unsigned i = 0; i < 4; i++) {
                    const unsigned key = first + row + lane / 4 + 8 * (i / 2), query = n * 8 + lane % 4 * 2 + i % 2;
                    const bool seen = key <= start + query && query < rows;
                    weights[n][i] = seen ? __expf(weights[n][i] * shape.scale - tile_log_sums[query]) : 0.0f;
                    gradients[n][i] = weights[n][i] * (gradients[n][i] - tile_dots[query]) * shape.scale;
                }
            }
            add_weighted<D>(value_sums, weights, d_outs);
            add_weighted<D>(key_sums, gradients, queries);
        }
    }
    const float factor[2] = {1.0f, 1.0f};
    store<D>(dk + kv_at, shape.kv_row(), key_sums, factor, row, own_rows, shape.width);
    store<D>(dv + kv_at, shape.kv_row(), value_sums, factor, row, own_rows, shape.width);
}

#define ATTENTION_BF16(D)                                                                                                       \
    KERNEL(attention_bf16_##D, (bf16 * out, float* log_sums, const bf16* q, const bf16* k, const bf16* v,                       \
                                ATTENTION_PARAMETERS)) {                                                                        \
        forward<D>(out, log_sums, q, k, v, ATTENTION_SHAPE);                                                                    \
    }                                                                                                                           \
    KERNEL(attention_dq_bf16_##D, (bf16 * dq, const bf16* q, const bf16* k, const bf16* v, const float* log_sums,               \
                                   const float* dots, const bf16* d_out, ATTENTION_PARAMETERS)) {                               \
        backward_queries<D>(dq, q, k, v, log_sums, dots, d_out, ATTENTION_SHAPE);                                               \
    }                                                                                                                           \
    KERNEL(attention_dkv_bf16_##D, (bf16 * dk, bf16* dv, const bf16* q, const bf16* k, const bf16* v, const float* log_sums,    \
                                    const float* dots, const bf16* d_out, ATTENTION_PARAMETERS)) {                              \
        backward_keys<D>(dk, dv, q, k, v, log_sums, dots, d_out, ATTENTION_SHAPE);                                              \
    }

ATTENTION_BF16(32)
ATTENTION_BF16(64)
ATTENTION_BF16(128)
