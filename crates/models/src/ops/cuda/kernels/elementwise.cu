// GELU, SwiGLU, casts, sums of two tensors, and the values that a matrix product adds to.

#include "common.cuh"

// sqrt(2 / pi) and the cubic coefficient of the tanh form.
constexpr float SCALE = 0.7978846f;
constexpr float CUBIC = 0.044715f;

__device__ inline float gelu(float x) { return 0.5f * x * (1.0f + tanhf(SCALE * x * (1.0f + CUBIC * x * x))); }

__device__ inline float gelu_slope(float x) {
    const float square = CUBIC * x * x;
    const float t = tanhf(SCALE * x * (1.0f + square));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * SCALE * (1.0f + 3.0f * square);
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// y_i = f(x_i) with a load and a store of a whole pack where it fits.
template <class Y, class X, class F> __device__ void map1(Y* y, const X* x, u64 count, F f) {
    each_pack(count, [=](u64 i, bool whole) {
        if (!whole) {
            y[i] = from_float<Y>(f(to_float(x[i])));
            return;
        }
        const Pack<X> in = *reinterpret_cast<const Pack<X>*>(x + i);
        Pack<Y> out;
        for (unsigned j = 0; j < PACK; j++) out.values[j] = from_float<Y>(f(to_float(in.values[j])));
        *reinterpret_cast<Pack<Y>*>(y + i) = out;
    });
}

// y_i = f(a_i, b_i).
template <class Y, class A, class B, class F> __device__ void map2(Y* y, const A* a, const B* b, u64 count, F f) {
    each_pack(count, [=](u64 i, bool whole) {
        if (!whole) {
            y[i] = from_float<Y>(f(to_float(a[i]), to_float(b[i])));
            return;
        }
        const Pack<A> left = *reinterpret_cast<const Pack<A>*>(a + i);
        const Pack<B> right = *reinterpret_cast<const Pack<B>*>(b + i);
        Pack<Y> out;
        for (unsigned j = 0; j < PACK; j++) out.values[j] = from_float<Y>(f(to_float(left.values[j]), to_float(right.values[j])));
        *reinterpret_cast<Pack<Y>*>(y + i) = out;
    });
}

template <class T> __device__ void swiglu_backward(T* d_gate, T* d_up, const T* gate, const T* up, const T* dy, u64 count) {
    each_pack(count, [=](u64 i, bool whole) {
        const unsigned some = whole ? PACK : 1;
        Pack<T> g, u, d;
        if (whole) {
            g = *reinterpret_cast<const Pack<T>*>(gate + i);
            u = *reinterpret_cast<const Pack<T>*>(up + i);
            d = *reinterpret_cast<const Pack<T>*>(dy + i);
        } else {
            g.values[0] = gate[i];
            u.values[0] = up[i];
            d.values[0] = dy[i];
        }
        for (unsigned j = 0; j < some; j++) {
            const float x = to_float(g.values[j]), d_y = to_float(d.values[j]), s = sigmoid(x);
            const float d_x = d_y * to_float(u.values[j]) * s * (1.0f + x * (1.0f - s));
            u.values[j] = from_float<T>(d_y * x * s);
            g.values[j] = from_float<T>(d_x);
        }
        if (whole) {
            *reinterpret_cast<Pack<T>*>(d_gate + i) = g;
            *reinterpret_cast<Pack<T>*>(d_up + i) = u;
        } else {
            d_gate[i] = g.values[0];
            d_up[i] = u.values[0];
        }
    });
}

// y = residual + bias over rows of `columns`, either of which may be absent: what a product is then added to.
template <class T> __device__ void row_start(T* y, const T* residual, const float* bias, u64 count, unsigned columns) {
    each_pack(count, [=](u64 i, bool whole) {
        const unsigned some = whole ? PACK : 1;
        Pack<T> values;
        if (residual && whole) values = *reinterpret_cast<const Pack<T>*>(residual + i);
        if (residual && !whole) values.values[0] = residual[i];
        unsigned column = bias ? i % columns : 0;
        for (unsigned j = 0; j < some; j++) {
            const float r = residual ? to_float(values.values[j]) : 0.0f;
            values.values[j] = from_float<T>(bias ? r + bias[column] : r);
            column = column + 1 == columns ? 0 : column + 1;
        }
        if (whole) *reinterpret_cast<Pack<T>*>(y + i) = values;
        else y[i] = values.values[0];
    });
}

#define ELEMENTWISE(suffix, T)                                                                                                  \
    KERNEL(gelu_##suffix, (T * y, const T* x, u64 count)) {                                                                     \
        map1(y, x, count, [](float x) { return gelu(x); });                                                                     \
    }                                                                                                                           \
    KERNEL(gelu_backward_##suffix, (T * dx, const T* x, const T* dy, u64 count)) {                                              \
        map2(dx, x, dy, count, [](float x, float dy) { return dy * gelu_slope(x); });                                           \
    }                                                                                                                           \
    KERNEL(swiglu_##suffix, (T * y, const T* gate, const T* up, u64 count)) {                                                   \
        map2(y, gate, up, count, [](float g, float u) { return g * sigmoid(g) * u; });                                          \
    }                                                                                                                           \
    KERNEL(swiglu_backward_##suffix, (T * d_gate, T* d_up, const T* gate, const T* up, const T* dy, u64 count)) {               \
        swiglu_backward(d_gate, d_up, gate, up, dy, count);                                                                     \
    }                                                                                                                           \
    KERNEL(row_start_##suffix, (T * y, const T* residual, const float* bias, u64 count, unsigned columns)) {                    \
        row_start(y, residual, bias, count, columns);                                                                           \
    }

ELEMENTWISE(f32, float)
ELEMENTWISE(bf16, bf16)

KERNEL(to_bf16, (bf16 * y, const float* x, u64 count)) {
    map1(y, x, count, [](float x) { return x; });
}

KERNEL(to_f32, (float* y, const bf16* x, u64 count)) {
    map1(y, x, count, [](float x) { return x; });
}

KERNEL(scaled_add, (float* y, const float* a, float alpha, const float* b, float beta, u64 count)) {
    map2(y, a, b, count, [=](float a, float b) { return a * alpha + beta * b; });
}
