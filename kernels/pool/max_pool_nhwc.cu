// Max pooling, channels last: y and the tap at which it stood, in one pass.
#include "first_tap.cuh"
#include "pixel_windows.cuh"

struct Params {
    const Element* x;
    Element* y;
    Tap* taps;
    Windows windows;
    Pixels pixels;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) max_pool_nhwc(Params params) {
    const Windows& windows = params.windows;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.pixels.number) return;
    Word word = word_at(index, params.pixels);

    const Acc lowest = -(Acc)__uint_as_float(0x7f800000u);
    int first = first_tap(windows, word.d, word.h, word.w);
    Acc best[VEC];
    int tap[VEC];
#pragma unroll
    for (int i = 0; i < VEC; i++) {
        best[i] = lowest;
        tap[i] = first;
    }
    int channels = (int)params.pixels.words.divisor * VEC;
    visit_window(windows, params.x, word, channels, lowest, [&](int at, const Acc(&values)[VEC]) {
#pragma unroll
        for (int i = 0; i < VEC; i++) keep_greater(best[i], tap[i], values[i], at);
    });
    store_word(best, params.y + index * VEC);
    store_word(tap, params.taps + index * VEC);
}
