// Bias gradient: db[k] = sum of dy[n, k, p, q]. LANES threads sum one part of one filter's vectors, VEC elements at a
// time; LANES is small where planes are, so that a warp always reads whole rows. split_sum adds the parts, in order.
#include "element.cuh"
#include "fast_div.cuh"

#ifndef THREADS
#define THREADS 128
#define LANES 32
#define VEC 1
#endif

struct Params {
    const Element* dy;
    Acc* partial;
    int filters;
    FastDiv filter_blocks;
    int vectors, part_vectors;
    FastDiv plane;
    long long image;
};

extern "C" __global__ void __launch_bounds__(THREADS) bias_grad(Params params) {
    int part = blockIdx.x, k = split_off(part, params.filter_blocks) * (THREADS / LANES) + threadIdx.x / LANES;
    const Element* dy = params.dy + (long long)k * params.plane.divisor * VEC;
    int first = part * params.part_vectors, last = min(first + params.part_vectors, params.vectors);
    if (k >= params.filters) last = first;

    Acc sum[VEC] = {};
#pragma unroll 4
    for (int i = first + threadIdx.x % LANES; i < last; i += LANES) {
        int n = i, at = split_off(n, params.plane);
        auto v = *(const Vec<Element, VEC>*)(dy + n * params.image + at * VEC);
#pragma unroll
        for (int j = 0; j < VEC; j++) sum[j] = add_rn(sum[j], Storage<Element>::load(v.at[j]));
    }
#pragma unroll
    for (int half = VEC / 2; half > 0; half /= 2)
#pragma unroll
        for (int j = 0; j < half; j++) sum[j] = add_rn(sum[j], sum[j + half]);
    for (int mask = LANES / 2; mask > 0; mask /= 2) sum[0] = add_rn(sum[0], shuffle_xor(sum[0], mask));

    if (k < params.filters && threadIdx.x % LANES == 0) params.partial[part * params.filters + k] = sum[0];
}
