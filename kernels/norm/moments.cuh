// Mean and variance without the loss that sums of squares bring: parts are merged by the differences of their means.
// Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
#ifndef BACKSTRIDE_MOMENTS
#define BACKSTRIDE_MOMENTS

#include "norm.cuh"

struct Moments {
    Acc count, sum, squares;  // sum: above the group's shift; squares: of the deviations from the mean

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

// What is taken off every element before it is summed: a group's first, so that a mean that is large beside the
// deviation costs no digits.
DEVICE Acc shift_of(const Element* x, const Groups& groups, int group) {
    if (groups.vectors == 0) return 0;
    Acc first = Storage<Element>::load(x[place_of(groups, group, 0).element]);
    return first - first == 0 ? first : 0;  // an infinite one would make NaN of all others
}

// Of VECTORS vectors, LANES apart, from vector i of a group on: first their mean and then the deviations from it.
template <int VECTORS>
DEVICE Moments moments_of_vectors(const Element* x, const Groups& groups, int group, int i, Acc shift) {
    constexpr Acc COUNT = VECTORS * VEC;  // a power of two
    Acc values[VECTORS][VEC], sum = 0, squares = 0;
#pragma unroll
    for (int v = 0; v < VECTORS; v++) load_vector(values[v], x + place_of(groups, group, i + v * LANES).element);
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            values[v][j] = add_rn(values[v][j], -shift);
            sum = add_rn(sum, values[v][j]);
        }
    Acc mean = mul_rn(sum, 1 / COUNT);
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            Acc deviation = add_rn(values[v][j], -mean);
            squares = fma_rn(deviation, deviation, squares);
        }
    return {COUNT, sum, squares};
}

// Of a thread's share of a group.
DEVICE Moments moments_of(const Element* x, const Groups& groups, const Share& share, Acc shift) {
    constexpr int VECTORS = VEC > 1 ? 4 : 8;
    Moments all{0, 0, 0};
    int i = share.first;
#pragma unroll 1
    for (; i + (VECTORS - 1) * LANES < share.last; i += VECTORS * LANES)
        all = merged(all, moments_of_vectors<VECTORS>(x, groups, share.group, i, shift));
#pragma unroll 1
    for (; i < share.last; i += LANES) all = merged(all, moments_of_vectors<1>(x, groups, share.group, i, shift));
    return all;
}

// What the lanes of a group hold, merged in a fixed order; every one of them gets it. All of a block call, once.
DEVICE Moments of_lanes(Moments mine) {
#pragma unroll 1
    for (int mask = (LANES < 32 ? LANES : 32) / 2; mask > 0; mask /= 2)
        mine =
            merged(mine, {shuffle_xor(mine.count, mask), shuffle_xor(mine.sum, mask), shuffle_xor(mine.squares, mask)});
    if constexpr (LANES > 32) {
        __shared__ Moments of_warps[THREADS / 32];
        if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
        __syncthreads();
        mine = of_warps[0];
#pragma unroll 1
        for (int warp = 1; warp < THREADS / 32; warp++) mine = merged(mine, of_warps[warp]);
    }
    return mine;
}

#endif  // BACKSTRIDE_MOMENTS
