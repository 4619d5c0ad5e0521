// Adaptive average pooling, channels last: a thread sums the window of one word of y.
#include "adaptive.cuh"
#include "pixels.cuh"

#ifndef THREADS
#define THREADS 128
#endif

struct Params {
    const Element* x;
    Element* y;
    Adaptive pool;
    Pixels pixels;
};

// 4 blocks: where nothing is said the compiler takes too few registers for sm_100, and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 4) adaptive_avg_pool_nhwc(Params params) {
    const Adaptive& pool = params.pool;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.pixels.number) return;
    Word word = word_at(index, params.pixels);
    Span slices = covered_slices(word.d, pool.Z, pool.D);
    Span rows = covered(word.h, pool.P, pool.H), columns = covered(word.w, pool.Q, pool.W);
    int H = pool.H.divisor, W = pool.W.divisor, channels = (int)params.pixels.words.divisor * VEC;
    const Element* x = params.x + word.image * volume(pool.D, pool.H, pool.W) * channels + word.channel;

    Acc sum[VEC] = {};
#pragma unroll 1
    for (int d = slices.first; d < slices.last; d++)
#pragma unroll 1
        for (int h = rows.first; h < rows.last; h++)
#pragma unroll 4
            for (int w = columns.first; w < columns.last; w++) {
                Acc values[VEC];
                load_word(values, x + ((d * H + h) * W + w) * channels);
#pragma unroll
                for (int i = 0; i < VEC; i++) sum[i] = add_rn(sum[i], values[i]);
            }
    Acc divisor = (Acc)slices.length() * (Acc)rows.length() * (Acc)columns.length();
#pragma unroll
    for (int i = 0; i < VEC; i++) sum[i] = div_rn(sum[i], divisor);
    store_word(sum, params.y + index * VEC);
}
