// The products of a warp on the tensor cores: 16 x 8 results from 16 x 16 and 16 x 8 values of bf16, and the loads of their operands
// from shared memory. Which thread holds what is in "Parallel Thread Execution ISA", matrix fragments for mma.m16n8k16 and ldmatrix: with
// g = lane / 4 and t = lane % 4, a thread's results are (g, 2t), (g, 2t + 1), (g + 8, 2t) and (g + 8, 2t + 1).

#pragma once

#include "common.cuh"

#ifndef EMULATION
// c += a b.
__device__ inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices; lane l gives the address of row l % 8 of matrix l / 8.
__device__ inline void load_matrices(uint32_t (&r)[4], const bf16* row) {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

__device__ inline void load_matrices_transposed(uint32_t (&r)[4], const bf16* row) {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
#endif

// Two values of bf16, the first in the lower half.
__device__ inline uint32_t packed(float low, float high) {
    union { bf16 halves[2]; uint32_t word; } both;
    both.halves[0] = from_float<bf16>(low);
    both.halves[1] = from_float<bf16>(high);
    return both.word;
}

// The left operand: 16 rows from `row` and 16 columns from `column` of a tile with rows `stride` apart.
__device__ inline void load_left(uint32_t (&a)[4], const bf16* tile, unsigned stride, unsigned row, unsigned column) {
    const unsigned lane = threadIdx.x % 32;
    load_matrices(a, tile + (row + lane % 16) * stride + column + lane / 16 * 8);
}

// Two right operands from a tile whose rows are their columns: rows `row` to `row` + 15 give columns 0 to 7 (b[0], b[1]) and 8 to 15 (b[2], b[3]),
// columns `column` to `column` + 15 the inner dimension.
__device__ inline void load_right_by_rows(uint32_t (&b)[4], const bf16* tile, unsigned stride, unsigned row, unsigned column) {
    const unsigned lane = threadIdx.x % 32;
    load_matrices(b, tile + (row + lane / 16 * 8 + lane % 8) * stride + column + lane / 8 % 2 * 8);
}

// Two right operands from a tile whose rows are the inner dimension: rows `row` to `row` + 15; columns `column` to `column` + 7 (b[0], b[1]) and the next
// eight (b[2], b[3]).
__device__ inline void load_right_by_columns(uint32_t (&b)[4], const bf16* tile, unsigned stride, unsigned row, unsigned column) {
    const unsigned lane = threadIdx.x % 32;
    load_matrices_transposed(b, tile + (row + lane % 16) * stride + column + lane / 16 * 8);
}
