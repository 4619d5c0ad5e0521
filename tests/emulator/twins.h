// Host twins of the primitives under __CUDACC__ in kernels/cuda/src/primitives.cuh: same names and meanings.
#pragma once
#include "runtime.h"

template <int Bytes> void cp_async(void* smem, const void* gmem, bool valid) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
    emulator_copy(smem, gmem, Bytes, valid);
    if (__CUDA_ARCH__ < 800) {
        emulator_commit();
        emulator_wait(0);
    }
}
inline void cp_async_commit() { emulator_commit(); }
template <int N> void cp_async_wait() { emulator_wait(N); }

// --- matrix fragments: g = lane / 4, t = lane % 4 ----------------------------------------------------------
struct ldmatrix_lane { unsigned* d; const unsigned short* row; };

template <bool Transposed> void ldmatrix_perform(void** lanes) {
    for (int lane = 0; lane < 32; ++lane) {
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; ++i) {
            auto element = [&](int row, int column) -> unsigned {
                return ((ldmatrix_lane*)lanes[8 * i + row])->row[column];
            };
            unsigned low = Transposed ? element(2 * t, g) : element(g, 2 * t);
            unsigned high = Transposed ? element(2 * t + 1, g) : element(g, 2 * t + 1);
            ((ldmatrix_lane*)lanes[lane])->d[i] = low | high << 16;
        }
    }
}
inline void ldmatrix_x4(unsigned (&d)[4], const void* row) {
    emulator_require_shared(row, 16, "ldmatrix row");
    ldmatrix_lane lane{d, (const unsigned short*)row};
    emulator_collective("ldmatrix", 0xffffffffu, &lane, ldmatrix_perform<false>);
}
inline void ldmatrix_x4_trans(unsigned (&d)[4], const void* row) {
    emulator_require_shared(row, 16, "ldmatrix row");
    ldmatrix_lane lane{d, (const unsigned short*)row};
    emulator_collective("ldmatrix.trans", 0xffffffffu, &lane, ldmatrix_perform<true>);
}

// --- tensor cores ------------------------------------------------------------------------------------------
inline float f16_to_float(unsigned short bits) { return emulator_bits<_Float16>(bits); }
inline unsigned short float_to_f16(float x) { return emulator_bits<unsigned short>((_Float16)x); }

inline unsigned to_tf32(float x) {
    unsigned bits = __float_as_uint(x);
    if (isnan(x)) return 0x7fffffffu;
    return isinf(x) ? bits : (bits + 0x1000u) & ~0x1fffu;
}

inline float truncated(double x) {
    float y = (float)x;
    return isfinite(y) && fabs(y) > fabs(x) ? nextafterf(y, 0) : y;
}

// The operands that a register holds: `count` of them, each as an exact double.
struct tf32_register {
    static constexpr int count = 1;
    static double operand(unsigned bits, int) { return __uint_as_float(bits & ~0x1fffu); }
};
struct f16_register {
    static constexpr int count = 2;
    static double operand(unsigned bits, int i) { return f16_to_float((unsigned short)(bits >> 16 * i)); }
};
struct bf16_register {
    static constexpr int count = 2;
    static double operand(unsigned bits, int i) { return __uint_as_float((bits >> 16 * i & 0xffffu) << 16); }
};

struct mma_lane { float* d; const unsigned *a, *b; };

// Register i of a holds row g + 8 (i % 2) and starts at column Step (i / 2) + count t; register j of b starts
// at row Step j + count t of column g. The accumulator is cut towards zero after each Step of k, as Fasi et al.
// (Numerical behavior of NVIDIA tensor cores, 2021) measured it on the A100.
template <class Register, int K> void mma_perform(void** lanes) {
    constexpr int count = Register::count, Step = 4 * count;
    double a[16][K], b[K][8];
    for (int lane = 0; lane < 32; ++lane) {
        int g = lane / 4, t = lane % 4;
        auto& from = *(mma_lane*)lanes[lane];
        for (int e = 0; e < count; ++e) {
            for (int i = 0; i < 2 * K / Step; ++i)
                a[g + 8 * (i % 2)][Step * (i / 2) + count * t + e] = Register::operand(from.a[i], e);
            for (int j = 0; j < K / Step; ++j)
                b[Step * j + count * t + e][g] = Register::operand(from.b[j], e);
        }
    }
    for (int lane = 0; lane < 32; ++lane)
        for (int i = 0; i < 4; ++i) {
            int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
            float& d = ((mma_lane*)lanes[lane])->d[i];
            for (int start = 0; start < K; start += Step) {
                double sum = d;
                for (int k = start; k < start + Step; ++k) sum += a[row][k] * b[k][column];
                d = truncated(sum);
            }
        }
}

inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    mma_lane lane{d, a, b};
    emulator_collective("mma_m16n8k8_tf32", 0xffffffffu, &lane, mma_perform<tf32_register, 8>);
}
inline void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    mma_lane lane{d, a, b};
    emulator_collective("mma_m16n8k16_f16", 0xffffffffu, &lane, mma_perform<f16_register, 16>);
}
inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    mma_lane lane{d, a, b};
    emulator_collective("mma_m16n8k16_bf16", 0xffffffffu, &lane, mma_perform<bf16_register, 16>);
}
inline void mma_m16n8k8_f16(float (&d)[4], const unsigned (&a)[2], unsigned b) {
    mma_lane lane{d, a, &b};
    emulator_collective("mma_m16n8k8_f16", 0xffffffffu, &lane, mma_perform<f16_register, 8>);
}

struct mma_f64_lane { double* d; double a, b; };
inline void mma_m8n8k4_f64(double (&d)[2], double a, double b) {
    mma_f64_lane lane{d, a, b};
    emulator_collective("mma_m8n8k4_f64", 0xffffffffu, &lane, [](void** lanes) {
        auto at = [&](int g, int t) -> mma_f64_lane& { return *(mma_f64_lane*)lanes[4 * g + t]; };
        for (int row = 0; row < 8; ++row)
            for (int column = 0; column < 8; ++column)
                for (int k = 0; k < 4; ++k) {
                    double& sum = at(row, column / 2).d[column % 2];
                    sum = fma(at(row, k).a, at(column, k).b, sum);
                }
    });
}

// --- float32 arithmetic ------------------------------------------------------------------------------------
inline float fma_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float add_rn(float a, float b) { return a + b; }
inline float mul_rn(float a, float b) { return a * b; }
inline float div_rn(float a, float b) { return a / b; }
inline float sqrt_rn(float x) { return sqrtf(x); }
inline double add_rn(double a, double b) { return a + b; }
inline double mul_rn(double a, double b) { return a * b; }
inline bool greater(float a, float b) { return a > b; }
inline void keep_greater(float& best, int& best_at, float value, int at) {
    if (!(value > best || value != value)) return;
    best = value;
    best_at = at;
}
