// Mean and variance without the loss that sums of squares bring: parts are merged by the differences of their means.
// Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
#ifndef BACKSTRIDE_MOMENTS
#define BACKSTRIDE_MOMENTS

#include "norm.cuh"

struct Moments {
    Acc count, sum, squares;  // squares: of the deviations from the mean

    DEVICE Acc mean() const { return count > 0 ? div_rn(sum, count) : 0; }
    DEVICE Acc var() const { return count > 0 ? div_rn(squares, count) : 0; }
};

// The same bits whichever comes first.
DEVICE Moments merged(const Moments& a, const Moments& b) {
    if (a.count == 0) return b;
    if (b.count == 0) return a;
    Acc count = a.count + b.count, between = add_rn(b.mean(), -a.mean());
    Acc of_means = mul_rn(mul_rn(between, between), div_rn(a.count * b.count, count));
    return {count, add_rn(a.sum, b.sum), add_rn(add_rn(a.squares, b.squares), of_means)};
}

// A thread's share of a group: some vectors at a time, first their mean and then the deviations from it.
DEVICE Moments moments_of(const Element* x, const Groups& groups, const Share& share) {
    constexpr int VECTORS = VEC >= 4 ? 4 : 8;
    Moments all{0, 0, 0};
    for (int i = share.first; i < share.last; i += VECTORS * LANES) {
        Acc values[VECTORS][VEC] = {};
        Moments some{0, 0, 0};
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            if (i + v * LANES >= share.last) continue;
            load_vector(values[v], x + place_of(groups, share.group, i + v * LANES).element);
            some.count += VEC;
        }
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
#pragma unroll
            for (int j = 0; j < VEC; j++) some.sum = add_rn(some.sum, values[v][j]);
        Acc mean = some.mean();
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
#pragma unroll
            for (int j = 0; j < VEC; j++) {
                Acc deviation = add_rn(values[v][j], -mean);
                if (i + v * LANES < share.last) some.squares = fma_rn(deviation, deviation, some.squares);
            }
        all = merged(all, some);
    }
    return all;
}

// What the lanes of a group hold, merged in a fixed order; every one of them gets it. All of a block call, once.
DEVICE Moments of_lanes(Moments mine) {
#pragma unroll
    for (int mask = (LANES < 32 ? LANES : 32) / 2; mask > 0; mask /= 2)
        mine =
            merged(mine, {shuffle_xor(mine.count, mask), shuffle_xor(mine.sum, mask), shuffle_xor(mine.squares, mask)});
    if constexpr (LANES > 32) {
        __shared__ Moments of_warps[THREADS / 32];
        if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
        __syncthreads();
        mine = of_warps[0];
        for (int warp = 1; warp < THREADS / 32; warp++) mine = merged(mine, of_warps[warp]);
    }
    return mine;
}

#endif  // BACKSTRIDE_MOMENTS
