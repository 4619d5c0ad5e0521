// Gradient of max pooling, channels last, as a gather: a word of dx sums dy over the windows whose taps it holds.
#include "pixel_windows.cuh"
#include "taps.cuh"

struct Params {
    const Element* dy;
    const Tap* taps;
    Element* dx;
    Windows windows;
    Pixels pixels;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) max_pool_grad_nhwc(Params params) {
    const Windows& windows = params.windows;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.pixels.number) return;
    Word word = word_at(index, params.pixels);
    int channels = (int)params.pixels.words.divisor * VEC;

    Acc sum[VEC] = {};
    visit_windows_over(windows, word, [&](int z, int p, int q, int here) {
        int at = word_of(windows, word, z, p, q, channels), tap[VEC];
        Acc dy[VEC];
        load_word(dy, params.dy + at);
        load_word(tap, params.taps + at);
#pragma unroll
        for (int i = 0; i < VEC; i++) sum[i] = add_rn(sum[i], tap[i] == here ? dy[i] : (Acc)0);
    });
    store_word(sum, params.dx + index * VEC);
}
