// Gradient of adaptive average pooling, channels last: a word of dx sums its share of every window that covers it.
#include "adaptive.cuh"
#include "pixels.cuh"

#ifndef THREADS
#define THREADS 128
#endif

struct Params {
    const Element* dy;
    Element* dx;
    Adaptive pool;
    Pixels pixels;
};

// 4 blocks: where nothing is said the compiler takes too few registers for sm_100, and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 4) adaptive_avg_pool_grad_nhwc(Params params) {
    const Adaptive& pool = params.pool;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.pixels.number) return;
    Word word = word_at(index, params.pixels);
    Span slices = covered_slices(word.d, pool.D, pool.Z);
    Span rows = covered(word.h, pool.H, pool.P), columns = covered(word.w, pool.W, pool.Q);
    int P = pool.P.divisor, Q = pool.Q.divisor, channels = (int)params.pixels.words.divisor * VEC;
    const Element* dy = params.dy + word.image * volume(pool.Z, pool.P, pool.Q) * channels + word.channel;

    Acc sum[VEC] = {};
#pragma unroll 1
    for (int z = slices.first; z < slices.last; z++)
#pragma unroll 1
        for (int p = rows.first; p < rows.last; p++)
#pragma unroll 1
            for (int q = columns.first; q < columns.last; q++) {
                Acc divisor = (Acc)covered_slices(z, pool.Z, pool.D).length() *
                              (Acc)covered(p, pool.P, pool.H).length() * (Acc)covered(q, pool.Q, pool.W).length();
                Acc share[VEC];
                load_word(share, dy + ((z * P + p) * Q + q) * channels);
#pragma unroll
                for (int i = 0; i < VEC; i++) sum[i] = add_rn(sum[i], div_rn(share[i], divisor));
            }
    store_word(sum, params.dx + index * VEC);
}
