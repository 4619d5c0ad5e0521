// Average pooling, channels last.
#include "average.cuh"
#include "pixel_windows.cuh"

struct Params {
    const Element* x;
    Element* y;
    Windows windows;
    Pixels pixels;
    Average average;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) avg_pool_nhwc(Params params) {
    const Windows& windows = params.windows;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.pixels.number) return;
    Word word = word_at(index, params.pixels);

    Acc sum[VEC] = {};
    int channels = (int)params.pixels.words.divisor * VEC;
    visit_window(windows, params.x, word, channels, (Acc)0, [&](int, const Acc(&values)[VEC]) {
#pragma unroll
        for (int i = 0; i < VEC; i++) sum[i] = add_rn(sum[i], values[i]);
    });
    Acc divisor = divisor_of(windows, params.average, word.d, word.h, word.w);
#pragma unroll
    for (int i = 0; i < VEC; i++) sum[i] = div_rn(sum[i], divisor);
    store_word(sum, params.y + index * VEC);
}
