// The part of CUDA that the kernels use, on a processor: every thread of a block is a fiber, blocks run one after the other.
//
// A fiber runs until it waits at a barrier, a shuffle or a product of its warp; those complete when every thread of the block or warp has come, and
// a block in which that never happens ends the program. A warp runs as far as it can before the next begins, and with EMULATION_ORDER=reverse the last warp and the
// last lane come first, so that a missing barrier shows in one order or the other. Dynamic shared memory starts as NaN.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>

#define __global__
#define __device__
#define __shared__ static thread_local

struct dim3 {
    unsigned x, y, z;
};

namespace emulation {

struct Thread {
    dim3 index;
    // The place in the block, and in the order of warps.
    unsigned rank;
};

// What the running fiber is, and its block and grid.
const Thread& thread();
const dim3& block();
const dim3& block_size();
const dim3& grid_size();
unsigned char* dynamic_shared();

// Waits until every thread of the block has come.
void wait_for_block();
// Leaves a message of `size` bytes and returns all messages of the warp, MESSAGE bytes apart, when every lane has left one. They stay until the
// call after the next.
constexpr unsigned MESSAGE = 32;
const unsigned char* exchange(const void* message, unsigned size);

template <class T> T message_of(const unsigned char* messages, unsigned lane) {
    T value;
    std::memcpy(&value, messages + lane * MESSAGE, sizeof value);
    return value;
}

// Makes a kernel known by its name.
struct Registration {
    Registration(const char* name, std::function<void(void**)> kernel);
};

template <class... A, size_t... I> void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}

template <class... A> std::function<void(void**)> unpacked(void (*kernel)(A...)) {
    return [kernel](void** arguments) { call(kernel, arguments, std::index_sequence_for<A...>()); };
}

} // namespace emulation

#define threadIdx (emulation::thread().index)
#define blockIdx (emulation::block())
#define blockDim (emulation::block_size())
#define gridDim (emulation::grid_size())

#define KERNEL(name, parameters)                                                                                                \
    static void name parameters;                                                                                                \
    static const emulation::Registration name##_registration(#name, emulation::unpacked(name));                                 \
    static void name parameters
#define DYNAMIC_SHARED(name) unsigned char* name = emulation::dynamic_shared()

// Rounded to nearest, ties to even.
struct bf16 {
    uint16_t bits;
};

inline float __bfloat162float(bf16 x) {
    const uint32_t word = uint32_t(x.bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

inline bf16 __float2bfloat16(float x) {
    uint32_t word;
    std::memcpy(&word, &x, sizeof word);
    if (std::isnan(x)) return {uint16_t(word >> 16 | 0x40)};
    return {uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16)};
}

struct uint4 {
    unsigned x, y, z, w;
};

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline float __expf(float x) { return expf(x); }

inline void __syncthreads() { emulation::wait_for_block(); }
inline void __syncwarp() { emulation::exchange(nullptr, 0); }

template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
    const unsigned lane = emulation::thread().rank % 32;
    return emulation::message_of<T>(emulation::exchange(&value, sizeof value), lane ^ mask);
}

// mma.m16n8k16 with the fragments of "Parallel Thread Execution ISA": with g = lane / 4 and t = lane % 4, word i of the left operand holds
// row g + 8 (i % 2), columns 2t + 8 (i / 2) and the next; word i of the right operand column g, rows 2t + 8 i and the next.
inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    struct Operands {
        bf16 a[4][2], b[2][2];
    } own;
    const uint32_t b[2] = {b0, b1};
    std::memcpy(own.a, a, sizeof own.a);
    std::memcpy(own.b, b, sizeof own.b);
    const unsigned char* all = emulation::exchange(&own, sizeof own);
    const unsigned lane = emulation::thread().rank % 32;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            const Operands left = emulation::message_of<Operands>(all, row % 8 * 4 + k % 8 / 2);
            const Operands right = emulation::message_of<Operands>(all, column * 4 + k % 8 / 2);
            c[i] += __bfloat162float(left.a[row / 8 + k / 8 * 2][k % 2]) * __bfloat162float(right.b[k / 8][k % 2]);
        }
    }
}

// ldmatrix x4: lane l gives the address of row l % 8 of matrix l / 8 and gets of each matrix row l / 4, columns 2 (l % 4) and the next; of the
// transposed matrix if `transposed`.
inline void load_matrices(uint32_t (&r)[4], const bf16* row, bool transposed) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
        std::fprintf(stderr, "emulation: ldmatrix from an address that is no multiple of 16\n");
        std::abort();
    }
    const unsigned char* all = emulation::exchange(&row, sizeof row);
    const unsigned lane = emulation::thread().rank % 32;
    for (unsigned matrix = 0; matrix < 4; matrix++) {
        bf16 both[2];
        for (unsigned i = 0; i < 2; i++) {
            const unsigned from = transposed ? lane % 4 * 2 + i : lane / 4, column = transposed ? lane / 4 : lane % 4 * 2 + i;
            both[i] = emulation::message_of<const bf16*>(all, matrix * 8 + from)[column];
        }
        std::memcpy(&r[matrix], both, sizeof both);
    }
}

inline void load_matrices(uint32_t (&r)[4], const bf16* row) { load_matrices(r, row, false); }
inline void load_matrices_transposed(uint32_t (&r)[4], const bf16* row) { load_matrices(r, row, true); }
