// Softmax and cross-entropy of rows of logits: a block to a row, which is read twice and written once.

#include "common.cuh"

// losses_i = -ln softmax(row i)[target]; d_logits = scale (softmax - one-hot target), zero where there is no target and in the columns
// from `vocabulary` to `stride` that pad a row. d_logits may be the logits themselves, or absent.
template <class T>
__device__ void softmax_loss(float* losses, T* d_logits, const float* logits, const unsigned* targets, unsigned vocabulary,
                             unsigned stride, float scale) {
    __shared__ float tops[32], sums[32];
    const float* row = logits + u64(blockIdx.x) * stride;
    T* d_row = d_logits ? d_logits + u64(blockIdx.x) * stride : nullptr;
    const unsigned target = targets[blockIdx.x];
    if (target == IGNORE) {
        if (threadIdx.x == 0) losses[blockIdx.x] = 0.0f;
        for (unsigned j = threadIdx.x; d_row && j < stride; j += blockDim.x) d_row[j] = from_float<T>(0.0f);
        return;
    }
    const float chosen = row[target];
    float top = -INFINITY, sum = 0.0f;
    for (unsigned j = threadIdx.x; j < vocabulary; j += blockDim.x) {
        const float x = row[j];
        if (x == -INFINITY) continue;
        if (x > top) {
            sum *= expf(top - x);
            top = x;
        }
        sum += expf(x - top);
    }
    const float warp_top = warp_max(top);
    // A thread without columns has nothing to scale; one whose only numbers are NaN has no top either, and its sum must not be lost.
    sum = warp_sum(sum == 0.0f ? 0.0f : sum * expf(top - warp_top));
    if (threadIdx.x % 32 == 0) {
        tops[threadIdx.x / 32] = warp_top;
        sums[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    top = -INFINITY;
    for (unsigned warp = 0; warp < blockDim.x / 32; warp++) top = fmaxf(top, tops[warp]);
    float total = 0.0f;
    for (unsigned warp = 0; warp < blockDim.x / 32; warp++) {
        if (sums[warp] != 0.0f) total += sums[warp] * expf(tops[warp] - top);
    }
    if (threadIdx.x == 0) losses[blockIdx.x] = (top - chosen) + logf(total);
    if (!d_row) return;
    const float factor = scale / total;
    for (unsigned j = threadIdx.x; j < stride; j += blockDim.x) {
        const float p = j < vocabulary ? expf(row[j] - top) * factor : 0.0f;
        d_row[j] = from_float<T>(j == target ? p - scale : p);
    }
}

KERNEL(softmax_loss_f32, (float* losses, float* d_logits, const float* logits, const unsigned* targets, unsigned vocabulary, unsigned stride, float scale)) {
    softmax_loss<float>(losses, d_logits, logits, targets, vocabulary, stride, scale);
}

KERNEL(softmax_loss_bf16, (float* losses, bf16* d_logits, const float* logits, const unsigned* targets, unsigned vocabulary, unsigned stride, float scale)) {
    softmax_loss<bf16>(losses, d_logits, logits, targets, vocabulary, stride, scale);
}

// The sum of `count` values in f64, by one block.
KERNEL(sum_f32, (double* out, const float* x, unsigned count)) {
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) sum += x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *out = sum;
}
