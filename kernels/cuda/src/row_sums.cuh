// The bias gradient beside the weight gradient: sums of B's rows over k, taken from the k-tiles being multiplied.
//
// LANES threads take a row, each a run of every tile's k; at the end their sums are added in a fixed order. The blocks
// of the first m-tile see all of B once: they alone do it.
#ifndef BACKSTRIDE_ROW_SUMS
#define BACKSTRIDE_ROW_SUMS

#include "gemm.cuh"

// A multiply policy that also sums.
template <class Mma, class ImageB>
struct RowSums : Mma {
    static constexpr int LANES = THREADS / TILE_N, RUN = TILE_K / LANES, MOST = 16 / sizeof(Element);
    static constexpr int WORD = !ImageB::K_MAJOR ? 1 : RUN < MOST ? RUN : MOST;
    static_assert(LANES * TILE_N == THREADS && LANES <= 32 && LANES * RUN == TILE_K, "the threads cover B evenly");
    bool summing;
    Acc sum = 0;

    DEVICE RowSums(const Block& block) : summing(block.m0 == 0) {}
    DEVICE int summed_row() const { return threadIdx.x / LANES; }
    DEVICE int summing_lane() const { return threadIdx.x % LANES; }

    template <class A>
    DEVICE void multiply(const A& image_a, const Element* image_b) {
        Mma::multiply(image_a, image_b);
        if (!summing) return;
#pragma unroll
        for (int i = 0; i < RUN; i += WORD) {
            auto word = *(const Vec<Element, WORD>*)(image_b + ImageB::at(summed_row(), summing_lane() * RUN + i));
#pragma unroll
            for (int j = 0; j < WORD; ++j) sum = add_rn(sum, Storage<Element>::load(word.at[j]));
        }
    }

    // To y or, where SPLIT, to this block's partial sums; both point to the group's first of `columns` rows.
    DEVICE void store_sums(Element* y, Acc* partial, int n0, int columns) const {
        Acc total = sum;
        for (int mask = LANES / 2; mask > 0; mask /= 2) total = add_rn(total, shuffle_xor(total, mask));
        int n = n0 + summed_row();
        if (!summing || summing_lane() > 0 || n >= columns) return;
        if constexpr (SPLIT) partial[n] = total;
        else y[n] = Storage<Element>::store(total);
    }
};

#endif  // BACKSTRIDE_ROW_SUMS
