// Gradient of average pooling, channels last, as a gather: a word of dx sums dy / divisor over the windows that hold it.
#include "average.cuh"
#include "pixel_windows.cuh"

struct Params {
    const Element* dy;
    Element* dx;
    Windows windows;
    Pixels pixels;
    Average average;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) avg_pool_grad_nhwc(Params params) {
    const Windows& windows = params.windows;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.pixels.number) return;
    Word word = word_at(index, params.pixels);
    int channels = (int)params.pixels.words.divisor * VEC;

    Acc sum[VEC] = {};
    visit_windows_over(windows, word, [&](int z, int p, int q, int) {
        Acc dy[VEC], divisor = divisor_of(windows, params.average, z, p, q);
        load_word(dy, params.dy + word_of(windows, word, z, p, q, channels));
#pragma unroll
        for (int i = 0; i < VEC; i++) sum[i] = add_rn(sum[i], div_rn(dy[i], divisor));
    });
    store_word(sum, params.dx + index * VEC);
}
