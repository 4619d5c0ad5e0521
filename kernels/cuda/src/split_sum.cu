// y = the partial sums of a product whose k axis was split among blocks, plus the bias. LANES threads take every
// LANES-th part of one element, in order, and their sums are added in order: the result never varies.
#include "element.cuh"
#include "fast_div.cuh"

#ifndef THREADS
#define THREADS 256
#define LANES 8
#endif

constexpr int ELEMENTS = THREADS / LANES;

struct Params {
    Element* y;
    const Element* bias;  // null: none
    const Acc* partial;
    int size, parts;
    FastDiv inner, channels;
};

extern "C" __global__ __launch_bounds__(THREADS) void split_sum(const Params params) {
    __shared__ Acc sums[LANES][ELEMENTS];
    int element = threadIdx.x % ELEMENTS, lane = threadIdx.x / ELEMENTS, i = blockIdx.x * ELEMENTS + element;
    Acc sum = 0;
    if (i < params.size) {
#pragma unroll 8
        for (int part = lane; part < params.parts; part += LANES)
            sum = add_rn(sum, params.partial[(long long)part * params.size + i]);
    }
    sums[lane][element] = sum;
    __syncthreads();
    if (lane > 0 || i >= params.size) return;
#pragma unroll
    for (int other = 1; other < LANES; ++other) sum = add_rn(sum, sums[other][element]);
    if (params.bias) {
        int outer = quotient(i, params.inner);
        sum = add_rn(sum, Storage<Element>::load(params.bias[split_off(outer, params.channels)]));
    }
    params.y[i] = Storage<Element>::store(sum);
}
