// Max pooling, channels last: y and the tap at which it stood, in one pass. Where windows are few and large several
// threads share each.
#include "first_tap.cuh"
#include "pixel_windows.cuh"

struct Params {
    const Element* x;
    Element* y;
    Tap* taps;
    Windows windows;
    Pixels pixels;
};

struct Greatest {
    Acc best[VEC];
    int tap[VEC];
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) max_pool_nhwc(Params params) {
    const Windows& windows = params.windows;
    int index = word_index();
    bool inside = index < params.pixels.number;
    if (LANES == 1 && !inside) return;  // of windows that are shared all of a block take part in merging
    Word word = word_at(inside ? index : 0, params.pixels);

    const Acc lowest = -(Acc)__uint_as_float(0x7f800000u);
    int first = first_tap(windows, word.d, word.h, word.w);
    Greatest mine;
#pragma unroll
    for (int i = 0; i < VEC; i++) {
        mine.best[i] = lowest;
        mine.tap[i] = first;
    }
    int channels = (int)params.pixels.words.divisor * VEC;
    visit_window(windows, params.x, word, channels, lowest, [&](int at, const Acc(&values)[VEC]) {
#pragma unroll
        for (int i = 0; i < VEC; i++) keep_greater(mine.best[i], mine.tap[i], values[i], at);
    });
    merge_lanes(mine, [](Greatest& found, const Greatest& other) {
#pragma unroll
        for (int i = 0; i < VEC; i++) merge_greatest(found.best[i], found.tap[i], other.best[i], other.tap[i]);
    });
    if (!inside || lane_of_window() > 0) return;
    store_word(mine.best, params.y + index * VEC);
    store_word(mine.tap, params.taps + index * VEC);
}
