// y = the partial sums of a product whose k axis was split among blocks, plus the bias. LANES threads take every
// LANES-th part of one element, in order, and their sums are added in order: the result never varies.
#include "primitives.cuh"
#include "fast_div.cuh"

using Element = TYPE;
using Acc = Storage<Element>::acc;

constexpr int ELEMENTS = THREADS / LANES;

struct Params;

extern "C" __global__ __launch_bounds__(THREADS) void split_sum(const Params p) {
    __shared__ Acc sums[LANES][ELEMENTS];
    int element = threadIdx.x % ELEMENTS, lane = threadIdx.x / ELEMENTS, i = blockIdx.x * ELEMENTS + element;
    Acc sum = 0;
    if (i < p.size) {
#pragma unroll 8
        for (int part = lane; part < p.parts; part += LANES)
            sum = add_rn(sum, p.partial[(long long)part * p.size + i]);
    }
    sums[lane][element] = sum;
    __syncthreads();
    if (lane > 0 || i >= p.size) return;
#pragma unroll
    for (int other = 1; other < LANES; ++other) sum = add_rn(sum, sums[other][element]);
    if (p.bias) {
        int outer = quotient(i, p.inner);
        sum = add_rn(sum, Storage<Element>::load(p.bias[split_off(outer, p.channels)]));
    }
    p.y[i] = Storage<Element>::store(sum);
}
