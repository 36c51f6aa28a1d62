// What every kernel file needs: the storage types, loads of four values, sums over a warp and a block.
//
// The files compile for two targets: with nvcc for a GPU, and with a C++ compiler against emulation.hpp, which runs the same
// threads, barriers and shuffles one after the other on a processor (docs/gpu.md says what that checks).

#pragma once

#ifdef EMULATION
#include "emulation.hpp"
#else
#include <cstdint>
#include <cuda_bf16.h>
typedef __nv_bfloat16 bf16;
// Defines a kernel that the host finds by name.
#define KERNEL(name, parameters) extern "C" __global__ void name parameters
// Shared memory whose size the launch gives.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

typedef unsigned long long u64;

// The target of a token that has none.
constexpr unsigned IGNORE = 0xffffffffu;

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }

template <class T> __device__ T from_float(float x);
template <> __device__ inline float from_float<float>(float x) { return x; }
template <> __device__ inline bf16 from_float<bf16>(float x) { return __float2bfloat16(x); }

// Values that a thread of an elementwise kernel takes.
constexpr unsigned PACK = 4;

template <class T> struct alignas(PACK * sizeof(T)) Pack {
    T values[PACK];
};

// Calls f(output, inputs...) on PACK consecutive elements per thread; all pointers are aligned to a pack.
template <class F> __device__ void each_pack(u64 count, F f) {
    const u64 start = (u64(blockIdx.x) * blockDim.x + threadIdx.x) * PACK;
    if (start + PACK <= count) {
        f(start, true);
    } else {
        for (u64 i = start; i < count; i++) f(i, false);
    }
}

__device__ inline float warp_sum(float x) {
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

__device__ inline float warp_max(float x) {
    for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
    return x;
}

// The sum over a block of at most 1024 threads, a multiple of 32; every thread gets it.
__device__ inline double block_sum(double x) {
    __shared__ double partial[32];
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    double total = 0.0;
    for (unsigned warp = 0; warp < blockDim.x / 32; warp++) total += partial[warp];
    return total;
}

// One tensor of a kernel that runs over many: up to five pointers, the number of elements, the first block that is its own, and a
// number that the kernel gives a meaning.
struct Entry {
    u64 pointers[5];
    u64 count;
    u64 first_block;
    u64 index;
};

// Elements of a tensor that one block of such a kernel takes.
constexpr unsigned CHUNK = 4096;

// The entry that this block belongs to: the last one whose first block is not behind it.
__device__ inline const Entry& entry_of_block(const Entry* entries, unsigned count) {
    unsigned low = 0, high = count;
    while (high - low > 1) {
        const unsigned middle = (low + high) / 2;
        if (entries[middle].first_block <= blockIdx.x) low = middle;
        else high = middle;
    }
    return entries[low];
}

template <class T> __device__ T* pointer(const Entry& entry, int i) { return reinterpret_cast<T*>(entry.pointers[i]); }
