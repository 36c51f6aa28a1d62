// LayerNorm and RMSNorm: a warp to a row; the gradients of gain and bias in strips of rows that are added up in order.

#include "common.cuh"

// Rows of a strip of norm_parameters and column_sums.
constexpr unsigned STRIP = 256;
constexpr unsigned STRIP_THREADS = 8;

template <class T>
__device__ void norm_row(T* y, float* mean, float* reciprocal, const float* x, const float* gain, const float* bias,
                         unsigned tokens, unsigned features, float eps, unsigned centred) {
    const unsigned row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= tokens) return;
    const u64 at = u64(row) * features;
    float m = 0.0f;
    if (centred) {
        for (unsigned j = lane; j < features; j += 32) m += x[at + j];
        m = warp_sum(m) / features;
    }
    float variance = 0.0f;
    for (unsigned j = lane; j < features; j += 32) variance += (x[at + j] - m) * (x[at + j] - m);
    const float r = 1.0f / sqrtf(warp_sum(variance) / features + eps);
    for (unsigned j = lane; j < features; j += 32) {
        const float z = (x[at + j] - m) * r * gain[j];
        y[at + j] = from_float<T>(bias ? z + bias[j] : z);
    }
    if (lane == 0) {
        mean[row] = m;
        reciprocal[row] = r;
    }
}

// dx = r (g - mean(g) - z mean(g z)) + residual with g = dy gain; RMSNorm lacks mean(g).
template <class T>
__device__ void norm_row_backward(float* dx, const float* x, const float* gain, const float* mean, const float* reciprocal, const T* dy,
                                  const float* residual, unsigned tokens, unsigned features, unsigned centred) {
    const unsigned row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= tokens) return;
    const u64 at = u64(row) * features;
    const float m = mean[row], r = reciprocal[row];
    float sum_g = 0.0f, sum_gz = 0.0f;
    for (unsigned j = lane; j < features; j += 32) {
        const float g = to_float(dy[at + j]) * gain[j];
        sum_g += g;
        sum_gz += g * (x[at + j] - m) * r;
    }
    const float mean_g = centred ? warp_sum(sum_g) / features : 0.0f;
    const float mean_gz = warp_sum(sum_gz) / features;
    for (unsigned j = lane; j < features; j += 32) {
        const float z = (x[at + j] - m) * r;
        const float d = r * (to_float(dy[at + j]) * gain[j] - mean_g - z * mean_gz);
        dx[at + j] = residual ? d + residual[at + j] : d;
    }
}

// Sums of f(row, column) and g(row, column) over the rows of strip blockIdx.y, for the 32 columns of blockIdx.x; blockDim is (32, STRIP_THREADS).
template <class F> __device__ void strip_sums(float* first, float* second, unsigned rows, unsigned columns, F f) {
    __shared__ float shared[2][STRIP_THREADS][32];
    const unsigned column = blockIdx.x * 32 + threadIdx.x, start = blockIdx.y * STRIP;
    float a = 0.0f, b = 0.0f;
    if (column < columns) {
        for (unsigned row = start + threadIdx.y; row < start + STRIP && row < rows; row += STRIP_THREADS) f(row, column, a, b);
    }
    shared[0][threadIdx.y][threadIdx.x] = a;
    shared[1][threadIdx.y][threadIdx.x] = b;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        float sums[2] = {0.0f, 0.0f};
        for (unsigned i = 0; i < STRIP_THREADS; i++) {
            sums[0] += shared[0][i][threadIdx.x];
            sums[1] += shared[1][i][threadIdx.x];
        }
        first[u64(blockIdx.y) * columns + column] = sums[0];
        if (second) second[u64(blockIdx.y) * columns + column] = sums[1];
    }
}

#define NORM(suffix, T)                                                                                                         \
    KERNEL(norm_##suffix, (T * y, float* mean, float* reciprocal, const float* x, const float* gain, const float* bias,         \
                           unsigned tokens, unsigned features, float eps, unsigned centred)) {                                  \
        norm_row<T>(y, mean, reciprocal, x, gain, bias, tokens, features, eps, centred);                                        \
    }                                                                                                                           \
    KERNEL(norm_backward_##suffix, (float* dx, const float* x, const float* gain, const float* mean, const float* reciprocal,   \
                                    const T* dy, const float* residual, unsigned tokens, unsigned features, unsigned centred)) {\
        norm_row_backward<T>(dx, x, gain, mean, reciprocal, dy, residual, tokens, features, centred);                           \
    }                                                                                                                           \
    KERNEL(norm_parameters_##suffix, (float* d_gain, float* d_bias, const float* x, const float* mean, const float* reciprocal, \
                                      const T* dy, unsigned tokens, unsigned features)) {                                       \
        strip_sums(d_gain, d_bias, tokens, features, [=](unsigned row, unsigned column, float& gain, float& bias) {             \
            const u64 at = u64(row) * features + column;                                                                        \
            const float d = to_float(dy[at]);                                                                                   \
            gain += d * (x[at] - mean[row]) * reciprocal[row];                                                                  \
            bias += d;                                                                                                          \
        });                                                                                                                     \
    }                                                                                                                           \
    /* Partial sums of the columns of dy, a row a strip. */                                                                     \
    KERNEL(column_sums_##suffix, (float* sums, const T* dy, unsigned rows, unsigned columns)) {                                 \
        strip_sums(sums, nullptr, rows, columns, [=](unsigned row, unsigned column, float& sum, float&) {                       \
            sum += to_float(dy[u64(row) * columns + column]);                                                                   \
        });                                                                                                                     \
    }

NORM(f32, float)
NORM(bf16, bf16)

// out_j = the sum of the rows of `strips` [count, columns], in order.
KERNEL(sum_strips, (float* out, const float* strips, unsigned count, unsigned columns)) {
    const unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    float sum = 0.0f;
    for (unsigned i = 0; i < count; i++) sum += strips[u64(i) * columns + column];
    out[column] = sum;
}
