// Adaptive average pooling. LANES threads sum one window, neighbours next to each other, and add up in a fixed order.
#include "adaptive.cuh"

#ifndef THREADS
#define THREADS 128
#define LANES 4
#endif

struct Params {
    const Element* x;
    Element* y;
    int size;
    Adaptive pool;
};

extern "C" __global__ void __launch_bounds__(THREADS) adaptive_avg_pool(Params params) {
    const Adaptive& pool = params.pool;
    int index = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    bool inside = index < params.size;  // all threads of a warp take part in the shuffles
    int plane = inside ? index : 0, q = split_off(plane, pool.Q), p = split_off(plane, pool.P);
    int z = AXES == 3 ? split_off(plane, pool.Z) : 0;
    Span slices = covered_slices(z, pool.Z, pool.D);
    Span rows = covered(p, pool.P, pool.H), columns = covered(q, pool.Q, pool.W);
    int H = pool.H.divisor, W = pool.W.divisor;
    const Element* x = params.x + plane * volume(pool.D, pool.H, pool.W);

    Acc sum = 0;
    for (int d = slices.first; d < slices.last; d++)
        for (int h = rows.first; h < rows.last; h++)
            for (int w = columns.first + threadIdx.x % LANES; w < columns.last; w += LANES)
                sum = add_rn(sum, Storage<Element>::load(x[(d * H + h) * W + w]));
    for (int mask = LANES / 2; mask > 0; mask /= 2) sum = add_rn(sum, shuffle_xor(sum, mask));

    Acc divisor = (Acc)slices.length() * (Acc)rows.length() * (Acc)columns.length();
    if (inside && threadIdx.x % LANES == 0) params.y[index] = Storage<Element>::store(div_rn(sum, divisor));
}
