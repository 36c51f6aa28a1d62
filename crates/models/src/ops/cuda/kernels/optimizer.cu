// Updates of many tensors in one launch: the blocks are dealt out along the entries of a table. Weights are written anew, so that who
// holds the old ones keeps them; an optimizer's own state is updated in place.

#include "common.cuh"

// Calls f(i) for the elements of this block's chunk of `entry`.
template <class F> __device__ void each_of_chunk(const Entry& entry, F f) {
    const u64 start = (blockIdx.x - entry.first_block) * CHUNK;
    for (u64 i = start + threadIdx.x; i < start + CHUNK && i < entry.count; i += blockDim.x) f(i);
}

// AdamW; the pointers are new weights, weights, first moment, second moment, gradient.
KERNEL(adamw, (const Entry* entries, unsigned tensors, float shrink, float rate, float root, float keep1, float keep2, float take1, float take2, float eps)) {
    const Entry& entry = entry_of_block(entries, tensors);
    float *out = pointer<float>(entry, 0), *first = pointer<float>(entry, 2), *second = pointer<float>(entry, 3);
    const float *w = pointer<float>(entry, 1), *gradient = pointer<float>(entry, 4);
    each_of_chunk(entry, [=](u64 i) {
        const float g = gradient[i];
        const float m = first[i] * keep1 + take1 * g;
        const float v = second[i] * keep2 + take2 * g * g;
        first[i] = m;
        second[i] = v;
        out[i] = shrink * w[i] - rate * m / (sqrtf(v) * root + eps);
    });
}

// SGD; the pointers are new weights, weights, momentum buffer, gradient.
KERNEL(sgd, (const Entry* entries, unsigned tensors, float rate, float momentum, float decay, unsigned nesterov)) {
    const Entry& entry = entry_of_block(entries, tensors);
    float *out = pointer<float>(entry, 0), *buffer = pointer<float>(entry, 2);
    const float *w = pointer<float>(entry, 1), *gradient = pointer<float>(entry, 3);
    each_of_chunk(entry, [=](u64 i) {
        const float g = gradient[i] + decay * w[i];
        const float b = buffer[i] * momentum + g;
        buffer[i] = b;
        out[i] = w[i] - rate * (nesterov ? g + momentum * b : b);
    });
}

// Muon's momentum; the pointers are the direction (written), momentum buffer, gradient. Every block leaves the sum of squares of its part
// of the direction.
KERNEL(muon_momentum, (const Entry* entries, unsigned tensors, double* squares, float momentum, unsigned nesterov)) {
    const Entry& entry = entry_of_block(entries, tensors);
    float *direction = pointer<float>(entry, 0), *buffer = pointer<float>(entry, 1);
    const float* gradient = pointer<float>(entry, 2);
    double sum = 0.0;
    each_of_chunk(entry, [&](u64 i) {
        const float g = gradient[i] * (1.0f - momentum);
        const float b = buffer[i] * momentum + g;
        buffer[i] = b;
        const float u = nesterov ? g + momentum * b : b;
        direction[i] = u;
        sum += double(u) * u;
    });
    sum = block_sum(sum);
    if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

// x_m = direction_m / (|direction_m| stretch + 1e-7) for the matrices m of one size, from the sums of squares of each matrix's `blocks` blocks;
// blockIdx.y is the matrix.
template <class T> __device__ void normalise(T* x, const float* direction, const double* squares, unsigned blocks, u64 size, float stretch) {
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < blocks; i += blockDim.x) sum += squares[u64(blockIdx.y) * blocks + i];
    const double divisor = sqrt(block_sum(sum)) * stretch + 1e-7;
    const u64 start = u64(blockIdx.x) * CHUNK, at = blockIdx.y * size;
    for (u64 i = start + threadIdx.x; i < start + CHUNK && i < size; i += blockDim.x) {
        x[at + i] = from_float<T>(float(direction[at + i] / divisor));
    }
}

// The pointers are new weights, weights, direction: out = shrink w - rate direction.
template <class T> __device__ void apply(const Entry* entries, unsigned tensors, float shrink, float rate) {
    const Entry& entry = entry_of_block(entries, tensors);
    float* out = pointer<float>(entry, 0);
    const float* w = pointer<float>(entry, 1);
    const T* direction = pointer<T>(entry, 2);
    each_of_chunk(entry, [=](u64 i) { out[i] = shrink * w[i] - rate * to_float(direction[i]); });
}

#define MUON(suffix, T)                                                                                                         \
    KERNEL(muon_normalise_##suffix, (T * x, const float* direction, const double* squares, unsigned blocks, u64 size, float stretch)) { \
        normalise<T>(x, direction, squares, blocks, size, stretch);                                                             \
    }                                                                                                                           \
    KERNEL(muon_apply_##suffix, (const Entry* entries, unsigned tensors, float shrink, float rate)) {                           \
        apply<T>(entries, tensors, shrink, rate);                                                                               \
    }

MUON(f32, float)
MUON(bf16, bf16)

// The sum of squares of every block's chunk; the pointer is the tensor.
KERNEL(squares, (const Entry* entries, unsigned tensors, double* sums)) {
    const Entry& entry = entry_of_block(entries, tensors);
    const float* x = pointer<float>(entry, 0);
    double sum = 0.0;
    each_of_chunk(entry, [&](u64 i) { sum += double(x[i]) * x[i]; });
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The sum of `count` values, by one block.
KERNEL(sum_f64, (double* out, const double* x, unsigned count)) {
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) sum += x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *out = sum;
}
