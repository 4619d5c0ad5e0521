// The gradient that reaches a normalisation, dz, beside the normalised input, and the sums of both over a group.
#ifndef BACKSTRIDE_NORM_GRAD
#define BACKSTRIDE_NORM_GRAD

#include "norm.cuh"

// What stops dy: nothing, or ReLU where its output was 0, which is computed again from x, or read.
#define NOTHING 0
#define AGAIN 1
#define READ 2

#ifndef MASK
#define MASK NOTHING
#endif

struct Gradient {
    const Element* dy;
    const Element* x;
    const Element* y;
    const Acc* mean;
};

// A vector of dz and of the normalised input. Where gamma differs within a group dz has it as a factor.
struct Arrived {
    Acc dz[VEC], normalised[VEC];

    DEVICE void load(const Gradient& from, const Place& place, const Parameters& parameters, Acc mean, Acc inverse) {
        Acc y[VEC];
        load_vector(dz, from.dy + place.element);
        load_vector(normalised, from.x + place.element);
        if constexpr (MASK == READ) load_vector(y, from.y + place.element);
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            Acc centred = add_rn(normalised[j], -mean);
            if constexpr (MASK == AGAIN) y[j] = affine_of(centred, inverse, parameters.gamma[j], parameters.beta[j]);
            if constexpr (MASK != NOTHING) dz[j] = passes(y[j]) ? dz[j] : 0;
            if constexpr (CHANNELS != 0) dz[j] = mul_rn(dz[j], parameters.gamma[j]);
            normalised[j] = mul_rn(centred, inverse);
        }
    }
};

struct Sums {
    Acc dz, product;  // product: dz times the normalised input

    DEVICE void add(const Sums& other) {
        dz = add_rn(dz, other.dz);
        product = add_rn(product, other.product);
    }
    DEVICE void add(const Arrived& vector) {
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            dz = add_rn(dz, vector.dz[j]);
            product = fma_rn(vector.dz[j], vector.normalised[j], product);
        }
    }
};

// What the lanes of a group hold, added in a fixed order; every one of them gets it. All of a block call, once.
DEVICE Sums of_lanes(Sums mine) {
#pragma unroll
    for (int mask = (LANES < 32 ? LANES : 32) / 2; mask > 0; mask /= 2)
        mine.add(Sums{shuffle_xor(mine.dz, mask), shuffle_xor(mine.product, mask)});
    if constexpr (LANES > 32) {
        __shared__ Sums of_warps[THREADS / 32];
        if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
        __syncthreads();
        mine = of_warps[0];
        for (int warp = 1; warp < THREADS / 32; warp++) mine.add(of_warps[warp]);
    }
    return mine;
}

#endif  // BACKSTRIDE_NORM_GRAD
