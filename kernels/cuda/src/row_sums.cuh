// The bias gradient beside the weight gradient: sums of B's rows over k, taken from the k-tiles being multiplied.
//
// LANES threads take a row, each a run of every tile's k, perhaps with threads to spare; at the end their sums are
// added in a fixed order. The blocks of the first m-tile see all of B once: they alone do it.
#ifndef BACKSTRIDE_ROW_SUMS
#define BACKSTRIDE_ROW_SUMS

#include "gemm.cuh"

// Where the sums go, null where none are wanted; `partial` is null unless SPLIT.
struct BiasGrad {
    Element* db;
    Acc* partial;
};

// The largest power of two up to n.
DEVICE constexpr int power_of_two(int n) { return n < 2 ? 1 : 2 * power_of_two(n / 2); }

// A multiply policy that also sums.
template <class Mma, class ImageB>
struct RowSums : Mma {
    static constexpr int LANES = power_of_two(THREADS / TILE_N), RUN = TILE_K / LANES, MOST = 16 / sizeof(Element);
    static constexpr int WORD = !ImageB::K_MAJOR ? 1 : RUN < MOST ? RUN : MOST;
    static_assert(THREADS >= TILE_N && LANES <= 32 && LANES * RUN == TILE_K, "each row's threads are in one warp");
    const bool summing;
    Acc sum = 0;

    DEVICE RowSums(const Block& block) : summing(block.m0 == 0 && summed_row() < TILE_N) {}
    DEVICE static int summed_row() { return threadIdx.x / LANES; }
    DEVICE static int summing_lane() { return threadIdx.x % LANES; }

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
