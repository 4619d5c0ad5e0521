// Multiply policies on tensor cores. Of its warp's part of the tile, lane (g, t) = (lane / 4, lane % 4) holds rows
// 8i + g and, of every eight columns, 2t and 2t + 1: the accumulator layout of all mma instructions.
#ifndef BACKSTRIDE_MMA
#define BACKSTRIDE_MMA

#include "gemm.cuh"

struct MmaLayout : Plain {
    Acc acc[WARP_M / 8][WARP_N / 4] = {};
    DEVICE int row(int i) const { return 8 * i + lane_id() / 4; }
    DEVICE int column(int j) const { return j / 2 * 8 + lane_id() % 4 * 2 + j % 2; }
    DEVICE void start() {}
    DEVICE void finish() {}
};

// A k-tile row is four groups of 16 bytes. A 16-row instruction takes two groups of A and B at a time.
constexpr int GROUP = 16 / sizeof(Element), GROUPS = TILE_K / GROUP;

// Four matrices of 8 rows by one group, matrix i at (row + row_step*(i%2), k) and so on as load_a and load_b say, in
// the layout of ldmatrix. Where rows are contiguous ldmatrix transposes 16-bit elements; wider ones are read singly.
template <class Image, class Row, class K>
DEVICE void load_matrices(unsigned (&f)[4], const Element* image, Row row, K k) {
    int lane = lane_id();
    if constexpr (Image::K_MAJOR) {
        ldmatrix_x4(f, image + Image::at(row(lane / 8) + lane % 8, k(lane / 8)));
    } else if constexpr (sizeof(Element) == 2) {
        ldmatrix_x4_trans(f, image + Image::at(row(lane / 8), k(lane / 8) + lane % 8));
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) f[i] = __float_as_uint(image[Image::at(row(i) + lane / 4, k(i) + lane % 4)]);
    }
}

// Of the warp's rows of A, 16i..16i+15 by groups 2*pair and 2*pair+1: one instruction's operand.
template <class Image>
DEVICE void load_a(unsigned (&f)[4], const Element* image, int i, int pair) {
    int row = warp_row() + 16 * i;
    load_matrices<Image>(
        f, image, [=](int m) { return row + m % 2 * 8; }, [=](int m) { return (2 * pair + m / 2) * GROUP; });
}

// Columns column..column+7 of B by all four groups: two instructions' operands.
template <class Image>
DEVICE void load_b(unsigned (&f)[4], const Element* image, int column) {
    load_matrices<Image>(f, image, [=](int) { return column; }, [=](int i) { return i * GROUP; });
}

// --- float32 by TF32 products --------------------------------------------------------------------

constexpr unsigned TF32_BITS = 0xffffe000u;

// x * 2^24 = big + small to 2^-22 of it, both TF32. However small x is, a multiple of 2^-149, both then are normal
// numbers; where one of them or their products overflow, the sum is not finite. A NaN may look like zero in big, but not
// in small. The tensor core drops small's last bits itself.
DEVICE void split(const unsigned (&x)[4], unsigned (&big)[4], unsigned (&small)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float scaled = mul_rn(__uint_as_float(x[i]), 0x1p24f);
        big[i] = (__float_as_uint(scaled) + 0x1000u) & TF32_BITS;  // nearest, ties away from zero
        small[i] = __float_as_uint(add_rn(scaled, -__uint_as_float(big[i])));
    }
}

// sum += a b for 16 rows of A each, by one instruction for two groups of k.
template <int ROWS>
DEVICE void multiply_add_tf32(float (&sum)[ROWS][4], const unsigned (&a)[ROWS][4], const unsigned* b) {
#pragma unroll
    for (int i = 0; i < ROWS; ++i) mma_m16n8k8_tf32(sum[i], a[i], {b[0], b[1]});
}

// The tensor cores truncate what they accumulate, so each k-tile has a fresh accumulator, added here by FADD.
template <int ROWS>
DEVICE void add_fresh(MmaLayout& to, int j, const float (&fresh)[ROWS][4]) {
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            auto& sum = to.acc[2 * i + e / 2][2 * j + e % 2];
            sum = add_rn(sum, fresh[i][e]);
        }
}

// Three TF32 products for each float32 product: only small * small, 2^-22 of the product, is left out.
// Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores" (2022).
template <class ImageA, class ImageB>
struct Tf32x3 : MmaLayout {
    static constexpr int ROWS = WARP_M / 16, COLUMNS = WARP_N / 8, PAIRS = GROUPS / 2;
    static constexpr bool OVERFLOWS = true;

    static DEVICE Acc result(Acc sum) { return mul_rn(sum, 0x1p-48f); }

    template <class A>
    DEVICE void multiply(const A& image_a, const Element* image_b) {
        unsigned big[PAIRS][ROWS][4], small[PAIRS][ROWS][4];
#pragma unroll
        for (int pair = 0; pair < PAIRS; ++pair)
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                unsigned a[4];
                load_a<ImageA>(a, image_a, i, pair);
                split(a, big[pair][i], small[pair][i]);
            }
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            unsigned b[4], b_big[4], b_small[4];
            load_b<ImageB>(b, image_b, warp_column() + 8 * j);
            split(b, b_big, b_small);
            float fresh[ROWS][4] = {};
#pragma unroll
            for (int pair = 0; pair < PAIRS; ++pair) multiply_add_tf32(fresh, small[pair], b_big + 2 * pair);
#pragma unroll
            for (int pair = 0; pair < PAIRS; ++pair) multiply_add_tf32(fresh, big[pair], b_small + 2 * pair);
#pragma unroll
            for (int pair = 0; pair < PAIRS; ++pair) multiply_add_tf32(fresh, big[pair], b_big + 2 * pair);
            add_fresh(*this, j, fresh);
        }
    }
};

// To nearest, ties away from zero, once the tensor core has dropped the last bits; infinities and NaN stay.
DEVICE void round_to_tf32(unsigned (&x)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (fabsf(__uint_as_float(x[i])) < __uint_as_float(INFINITY_BITS)) x[i] += 0x1000u;
}

// One TF32 product, of operands rounded to 10 stored mantissa bits.
template <class ImageA, class ImageB>
struct Tf32 : MmaLayout {
    static constexpr int ROWS = WARP_M / 16, COLUMNS = WARP_N / 8, PAIRS = GROUPS / 2;

    template <class A>
    DEVICE void multiply(const A& image_a, const Element* image_b) {
        unsigned a[PAIRS][ROWS][4];
#pragma unroll
        for (int pair = 0; pair < PAIRS; ++pair)
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                load_a<ImageA>(a[pair][i], image_a, i, pair);
                round_to_tf32(a[pair][i]);
            }
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            unsigned b[4];
            load_b<ImageB>(b, image_b, warp_column() + 8 * j);
            round_to_tf32(b);
            float fresh[ROWS][4] = {};
#pragma unroll
            for (int pair = 0; pair < PAIRS; ++pair) multiply_add_tf32(fresh, a[pair], b + 2 * pair);
            add_fresh(*this, j, fresh);
        }
    }
};

// --- 16-bit operands, float32 accumulation -------------------------------------------------------

DEVICE void mma_16bit(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, float16) {
#if HAS_CP_ASYNC
    mma_m16n8k16_f16(d, a, {b0, b1});
#else
    mma_m16n8k8_f16(d, {a[0], a[1]}, b0);
    mma_m16n8k8_f16(d, {a[2], a[3]}, b1);
#endif
}
DEVICE void mma_16bit(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, bfloat16) {
    mma_m16n8k16_bf16(d, a, {b0, b1});
}

// Operand depends on the template, so that a text for another dtype may hold this struct uninstantiated.
template <class ImageA, class ImageB, class Operand = Element>
struct Mma16bit : MmaLayout {
    static constexpr int ROWS = WARP_M / 16, COLUMNS = WARP_N / 8, PAIRS = GROUPS / 2;

    template <class A>
    DEVICE void multiply(const A& image_a, const Element* image_b) {
        unsigned a[PAIRS][ROWS][4];
#pragma unroll
        for (int pair = 0; pair < PAIRS; ++pair)
#pragma unroll
            for (int i = 0; i < ROWS; ++i) load_a<ImageA>(a[pair][i], image_a, i, pair);
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            unsigned b[4];
            load_b<ImageB>(b, image_b, warp_column() + 8 * j);
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                float sum[4] = {acc[2 * i][2 * j], acc[2 * i][2 * j + 1], acc[2 * i + 1][2 * j],
                                acc[2 * i + 1][2 * j + 1]};
#pragma unroll
                for (int pair = 0; pair < PAIRS; ++pair)
                    mma_16bit(sum, a[pair][i], b[2 * pair], b[2 * pair + 1], Operand{});
#pragma unroll
                for (int e = 0; e < 4; ++e) acc[2 * i + e / 2][2 * j + e % 2] = sum[e];
            }
        }
    }
};

// --- float64 -------------------------------------------------------------------------------------

template <class ImageA, class ImageB>
struct Dmma : MmaLayout {
    static constexpr int ROWS = WARP_M / 8, COLUMNS = WARP_N / 8;

    DEVICE void multiply(const Element* image_a, const Element* image_b) {
        int row = warp_row() + lane_id() / 4, column = warp_column() + lane_id() / 4, t = lane_id() % 4;
#pragma unroll
        for (int k = 0; k < TILE_K; k += 4) {
            double a[ROWS];
#pragma unroll
            for (int i = 0; i < ROWS; ++i) a[i] = image_a[ImageA::at(row + 8 * i, k + t)];
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                double b = image_b[ImageB::at(column + 8 * j, k + t)];
#pragma unroll
                for (int i = 0; i < ROWS; ++i) {
                    double sum[2] = {acc[i][2 * j], acc[i][2 * j + 1]};
                    mma_m8n8k4_f64(sum, a[i], b);
                    acc[i][2 * j] = sum[0];
                    acc[i][2 * j + 1] = sum[1];
                }
            }
        }
    }
};

#endif  // BACKSTRIDE_MMA
