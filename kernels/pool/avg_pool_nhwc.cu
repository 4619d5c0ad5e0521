// Average pooling, channels last. Where windows are few and large several threads share each.
#include "average.cuh"
#include "pixel_windows.cuh"

struct Params {
    const Element* x;
    Element* y;
    Windows windows;
    Pixels pixels;
    Average average;
};

struct Sums {
    Acc of[VEC];

    DEVICE void add(const Acc (&values)[VEC]) {
#pragma unroll
        for (int i = 0; i < VEC; i++) of[i] = add_rn(of[i], values[i]);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) avg_pool_nhwc(Params params) {
    const Windows& windows = params.windows;
    int index = word_index();
    bool inside = index < params.pixels.number;
    if (LANES == 1 && !inside) return;  // of windows that are shared all of a block take part in merging
    Word word = word_at(inside ? index : 0, params.pixels);

    Sums mine{};
    int channels = (int)params.pixels.words.divisor * VEC;
    visit_window(windows, params.x, word, channels, (Acc)0, [&](int, const Acc(&values)[VEC]) { mine.add(values); });
    merge_lanes(mine, [](Sums& sums, const Sums& others) { sums.add(others.of); });
    if (!inside || lane_of_window() > 0) return;
    Acc divisor = divisor_of(windows, params.average, word.d, word.h, word.w);
#pragma unroll
    for (int i = 0; i < VEC; i++) mine.of[i] = div_rn(mine.of[i], divisor);
    store_word(mine.of, params.y + index * VEC);
}
