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

inline int only_if(bool condition, int x) { return condition ? x : 0; }
inline int block_index_again() { return blockIdx.x; }

template <class T> T load_if(bool valid, const T* gmem) { return valid ? *gmem : T{}; }

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

// --- tensor cores of a warpgroup ---------------------------------------------------------------------------
struct Pieces { const char* start; int along_k, across; };

inline Pieces pieces(const void* start, int along_k, int across) {
    if ((along_k | across) & ~0x3fff0) emulator_fault("wgmma: steps of %d and %d bytes", along_k, across);
    return {(const char*)start, along_k, across};
}
inline void fence_for_wgmma() { emulator_fence_for_wgmma(); }
inline void wgmma_fence() {}
inline void wgmma_commit() { emulator_wgmma_commit(); }
template <int N> void wgmma_wait() { emulator_wgmma_wait(N); }
template <class T>
void wgmma_hold(T&) {}

// The 16 values of k, or one of them, of a row of A or column of B.
template <bool AlongK> const char* piece(const Pieces& of, int row, int k) {
    int inside = AlongK ? row % 8 * 16 + k % 8 * 2 : k % 8 * 16 + row % 8 * 2;
    return of.start + row / 8 * of.across + k / 8 * of.along_k + inside;
}
template <bool AlongK, class Register>
__attribute__((no_sanitize("address", "undefined"))) void wgmma_values(double (&to)[16], const Pieces& from, int row) {
    for (int k = 0; k < 16; ++k) to[k] = Register::operand(*(const unsigned short*)piece<AlongK>(from, row, k), 0);
}

__attribute__((no_sanitize("address", "undefined"))) inline void wgmma_copy(unsigned* to, const char* piece) {
    for (int i = 0; i < 4; ++i) to[i] = ((const unsigned*)piece)[i];
}

// The lanes of a warp share the reading of what the warp needs.
template <bool AlongK> void wgmma_read(const Pieces& from, int first, int rows) {
    for (int i = emulator_lane(); i < 2 * rows; i += 32)
        emulator_wgmma_read(AlongK ? piece<true>(from, first + i / 2, i % 2 * 8)
                                   : piece<false>(from, first + i / 16 * 8, i % 16));
}

// Multiplies at once; the groups are told of the reading, which may happen until their wait. The accumulator is cut
// towards zero after each 16 of k.
template <bool A, bool B, class Register, int Columns>
void wgmma_perform(float (&low)[Columns], float (&high)[Columns], const Pieces& a, const Pieces& b) {
    struct Operands { Pieces a, b; } operands{a, b};
    emulator_collective("wgmma", 0xffffffffu, &operands, [](void** lanes) {
        auto& first = *(Operands*)lanes[0];
        for (int i = 1; i < 32; ++i) {
            auto& other = *(Operands*)lanes[i];
            if (other.a.start != first.a.start || other.b.start != first.b.start)
                emulator_fault("wgmma: the lanes' operands differ");
        }
    });
    int row = threadIdx.x / 32 % 4 * 16, lane = emulator_lane();
    wgmma_read<A>(a, row, 16);
    wgmma_read<B>(b, 0, 4 * Columns);
    double rows[2][16], column[16];
    for (int i = 0; i < 2; ++i) wgmma_values<A, Register>(rows[i], a, row + lane / 4 + 8 * i);
    for (int j = 0; j < Columns; ++j) {
        wgmma_values<B, Register>(column, b, j / 2 * 8 + lane % 4 * 2 + j % 2);
        for (int i = 0; i < 2; ++i) {
            float& d = i ? high[j] : low[j];
            double sum = d;
            for (int k = 0; k < 16; ++k) sum += rows[i][k] * column[k];
            d = truncated(sum);
        }
    }
}
template <class Operand> struct register_of;
template <> struct register_of<struct float16> { using type = f16_register; };
template <> struct register_of<struct bfloat16> { using type = bf16_register; };
template <bool A, bool B, int Columns, class Operand>
void wgmma(float (&low)[Columns], float (&high)[Columns], Pieces a, Pieces b, Operand) {
    wgmma_perform<A, B, typename register_of<Operand>::type>(low, high, a, b);
}

// A in registers, as mma_m16n8k8_tf32 has it; B's pieces lie along k.
struct wgmma_lane { const unsigned* a; const char* b; double rows[2][8]; };
template <int Columns>
void wgmma(float (&low)[Columns], float (&high)[Columns], const unsigned (&a)[4], Pieces b, bool add, float) {
    wgmma_lane self{a, b.start};
    emulator_collective("wgmma", 0xffffffffu, &self, [](void** lanes) {
        for (int lane = 0; lane < 32; ++lane) {
            auto& to = *(wgmma_lane*)lanes[lane];
            if (to.b != ((wgmma_lane*)lanes[0])->b) emulator_fault("wgmma: the lanes' operands differ");
            for (int k = 0; k < 8; ++k) {
                auto& from = *(wgmma_lane*)lanes[lane / 4 * 4 + k % 4];
                for (int i = 0; i < 2; ++i) to.rows[i][k] = tf32_register::operand(from.a[k / 4 * 2 + i], 0);
            }
        }
    });
    auto column_of = [&](int column, int k) { return b.start + column / 8 * b.across + k / 4 * b.along_k + column % 8 * 16; };
    for (int i = emulator_lane(); i < 8 * Columns; i += 32) emulator_wgmma_read(column_of(i / 2, i % 2 * 4));
    for (int j = 0; j < Columns; ++j) {
        int column = j / 2 * 8 + emulator_lane() % 4 * 2 + j % 2;
        unsigned bits[8];
        for (int k = 0; k < 8; k += 4) wgmma_copy(bits + k, column_of(column, k));
        for (int i = 0; i < 2; ++i) {
            float& d = i ? high[j] : low[j];
            double sum = add ? d : 0;
            for (int k = 0; k < 8; ++k) sum += self.rows[i][k] * tf32_register::operand(bits[k], 0);
            d = truncated(sum);
        }
    }
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
