// Gradient of adaptive average pooling. A thread sums, for one position, its share of every window that covers it.
#include "adaptive.cuh"

#ifndef THREADS
#define THREADS 128
#endif

struct Params {
    const Element* dy;
    Element* dx;
    int size;
    Adaptive pool;
};

// 4 blocks: where nothing is said the compiler takes too few registers for sm_100, and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 4) adaptive_avg_pool_grad(Params params) {
    const Adaptive& pool = params.pool;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.size) return;
    int plane = index, w = split_off(plane, pool.W), h = split_off(plane, pool.H);
    int d = AXES == 3 ? split_off(plane, pool.D) : 0;
    Span slices = covered_slices(d, pool.D, pool.Z);
    Span rows = covered(h, pool.H, pool.P), columns = covered(w, pool.W, pool.Q);
    int P = pool.P.divisor, Q = pool.Q.divisor;
    const Element* dy = params.dy + plane * volume(pool.Z, pool.P, pool.Q);

    Acc sum = 0;
    for (int z = slices.first; z < slices.last; z++)
        for (int p = rows.first; p < rows.last; p++)
            for (int q = columns.first; q < columns.last; q++) {
                Acc divisor = (Acc)covered_slices(z, pool.Z, pool.D).length() *
                              (Acc)covered(p, pool.P, pool.H).length() * (Acc)covered(q, pool.Q, pool.W).length();
                sum = add_rn(sum, div_rn(Storage<Element>::load(dy[(z * P + p) * Q + q]), divisor));
            }
    params.dx[index] = Storage<Element>::store(sum);
}
