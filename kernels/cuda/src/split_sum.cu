// y = the partial sums of a product whose k axis was split among blocks, added in a fixed order, plus the bias.
#include "primitives.cuh"
#include "fast_div.cuh"

using Element = TYPE;
using Acc = Storage<Element>::acc;

struct Params;

extern "C" __global__ __launch_bounds__(THREADS) void split_sum(const Params p) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.size) return;
    Acc sum = p.partial[i];
#pragma unroll 4
    for (int s = 1; s < p.splits; ++s) sum = add_rn(sum, p.partial[(long long)s * p.size + i]);
    if (p.bias) {
        int outer = quotient(i, p.inner);
        sum = add_rn(sum, Storage<Element>::load(p.bias[split_off(outer, p.channels)]));
    }
    p.y[i] = Storage<Element>::store(sum);
}
