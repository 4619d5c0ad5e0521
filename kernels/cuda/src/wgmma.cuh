// Multiply policies on the tensor cores of a warpgroup, four warps that are neighbours along m (sm_90a).
#ifndef BACKSTRIDE_WGMMA
#define BACKSTRIDE_WGMMA

#include "mma.cuh"

// --- 16-bit operands, float32 accumulation -------------------------------------------------------
// Both are read from the stages (PIECES), and a k-tile may still be multiplied while the next one begins.

// One instruction takes 64 rows of the warpgroup's part, eight groups of eight that are INSTRUCTIONS apart: so that
// each warp, which gets two of them, has neighbouring rows of all instructions together.
constexpr int INSTRUCTIONS = WARP_M / 16;

DEVICE int warpgroup_row() { return threadIdx.x / 128 * 4 % WARPS_M * WARP_M; }

// The operand of instruction i at 16 values of k, and the columns of all of them.
template <class Image>
DEVICE Pieces rows_of_a(const Element* image, int i, int k) {
    constexpr int K_BYTES = Image::K_STEP * sizeof(Element), ROW_BYTES = Image::ROW_STEP * sizeof(Element);
    return pieces(image + Image::at(warpgroup_row() + 8 * i, k), K_BYTES, INSTRUCTIONS * ROW_BYTES);
}

template <class Image>
DEVICE Pieces columns_of_b(const Element* image, int k) {
    constexpr int K_BYTES = Image::K_STEP * sizeof(Element), ROW_BYTES = Image::ROW_STEP * sizeof(Element);
    return pieces(image + Image::at(warp_column(), k), K_BYTES, ROW_BYTES);
}

template <class ImageA, class ImageB, class Operand = Element>
struct Wgmma16bit : MmaLayout {
    static_assert(WARPS_M % 4 == 0 || sizeof(Operand) == 0, "a warpgroup's four warps are neighbours along m");

    DEVICE void start() {
        hold();
        wgmma_fence();
    }

    template <class A>
    DEVICE void multiply(const A& image_a, const Element* image_b) {
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < TILE_K; k += 16) {
            Pieces b = columns_of_b<ImageB>(image_b, k);
#pragma unroll
            for (int i = 0; i < INSTRUCTIONS; ++i)
                wgmma<ImageA::K_MAJOR, ImageB::K_MAJOR>(acc[i], acc[INSTRUCTIONS + i], rows_of_a<ImageA>(image_a, i, k),
                                                        b, Operand{});
        }
        wgmma_commit();
        wgmma_wait<1>();  // for the k-tile before
    }

    DEVICE void finish() {
        wgmma_wait<0>();
        hold();
    }

    DEVICE void hold() {
#pragma unroll
        for (auto& row : acc)
#pragma unroll
            for (auto& value : row) wgmma_hold(value);
    }
};

// --- float32 by TF32 products --------------------------------------------------------------------
// TF32 operands in shared memory have to lie along k, and A seldom does: it comes from registers. B's k-tile is made
// into pieces here, as parts that the tensor core multiplies: big and small, or one.

struct Split {
    static constexpr int PARTS = 2;
    static DEVICE void parts(const unsigned (&x)[4], unsigned (&of)[PARTS][4]) { split(x, of[0], of[1]); }
};

struct Round {
    static constexpr int PARTS = 1;
    static DEVICE void parts(const unsigned (&x)[4], unsigned (&of)[PARTS][4]) {
#pragma unroll
        for (int i = 0; i < 4; ++i) of[0][i] = x[i];
        round_to_tf32(of[0]);
    }
};

// Policy: of mma.sync, whose results it has.
template <class Policy, class How, class ImageA, class ImageB, class Operand = Element>
struct WgmmaParts : Policy {
    static constexpr int PARTS = How::PARTS, ROWS = WARP_M / 16, PAIRS = GROUPS / 2, PART = TILE_N * TILE_K;

    static DEVICE void make_pieces(const Element* image_b, Element* to) {
#pragma unroll
        for (int i = threadIdx.x; i < TILE_N * GROUPS; i += THREADS) {
            unsigned x[4], of[PARTS][4];
#pragma unroll
            for (int k = 0; k < 4; ++k) x[k] = __float_as_uint(image_b[ImageB::at(i % TILE_N, i / TILE_N * 4 + k)]);
            How::parts(x, of);
#pragma unroll
            for (int part = 0; part < PARTS; ++part)
                *(Vec<unsigned, 4>*)(to + part * PART + i * 4) = {{of[part][0], of[part][1], of[part][2], of[part][3]}};
        }
    }

    template <class A>
    DEVICE void multiply(const A& image_a, const Element* image_b) {
        static_assert(WARPS_M % 4 == 0 || sizeof(Operand) == 0, "a warpgroup's four warps are neighbours along m");
        __shared__ __align__(16) Element pieces_of_b[PARTS * PART];
        make_pieces(image_b, pieces_of_b);
        fence_for_wgmma();
        __syncthreads();
        unsigned a[PAIRS][ROWS][PARTS][4];
#pragma unroll
        for (int pair = 0; pair < PAIRS; ++pair)
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                unsigned x[4];
                load_a<ImageA>(x, image_a, i, pair);
                How::parts(x, a[pair][i]);
            }
        // The tensor cores truncate what they accumulate: each k-tile has a fresh accumulator.
        float fresh[2 * ROWS][WARP_N / 4];
        wgmma_fence();
#pragma unroll
        for (int order = PARTS - 1; order >= 0; --order)  // the small products first
#pragma unroll
            for (int part = order; part >= 0; --part)
#pragma unroll
                for (int pair = 0; pair < PAIRS; ++pair) {
                    int from = (order - part) * PART + (2 * pair * TILE_N + warp_column()) * 4;
                    Pieces b = pieces(pieces_of_b + from, TILE_N * 16, 8 * 16);
#pragma unroll
                    for (int i = 0; i < ROWS; ++i)
                        wgmma(fresh[2 * i], fresh[2 * i + 1], a[pair][i][part], b, pair > 0 || part + 1 < PARTS,
                              Operand{});
                }
        wgmma_commit();
        wgmma_wait<0>();
#pragma unroll
        for (int i = 0; i < 2 * ROWS; ++i)
#pragma unroll
            for (int j = 0; j < WARP_N / 4; ++j) {
                wgmma_hold(fresh[i][j]);
                this->acc[i][j] = add_rn(this->acc[i][j], fresh[i][j]);
            }
    }
};

template <class ImageA, class ImageB>
using WgmmaTf32x3 = WgmmaParts<Tf32x3<ImageA, ImageB>, Split, ImageA, ImageB>;

template <class ImageA, class ImageB>
using WgmmaTf32 = WgmmaParts<Tf32<ImageA, ImageB>, Round, ImageA, ImageB>;

#endif  // BACKSTRIDE_WGMMA
