// Depthwise convolution, channels last.
#include "depthwise_words.cuh"

struct Params {
    const Element* x;
    const Element* w;
    const Element* b;  // null: none
    Element* y;
    int channels, filters;
    Windows windows;
    Pixels tiles;
    FastDiv multiplier;
};

// Calls visit(row, w) for each row of x under the windows of row p of y, rising, with its weights.
template <class Visit>
DEVICE void visit_rows(const Params& params, Word word, int p, Visit visit) {
    const Windows& windows = params.windows;
    const Element* x = params.x + quotient(word.channel, params.multiplier);
    visit_slices(windows, word.d, [&](int d, int tap) {
        int top = p * STRIDE_H - PAD_TOP, slice = slice_at(word.image, d, windows.D) * windows.H;
#pragma unroll 1
        for (int r = 0; r < KERNEL_H; r++) {
            int h = top + r * DILATION_H;
            if ((unsigned)h >= (unsigned)windows.H) continue;
            visit(x + (slice + h) * windows.W * params.channels,
                  params.w + (tap + r * KERNEL_W) * params.filters + word.channel);
        }
    });
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) depthwise_forward_nhwc(Params params) {
    const Windows& windows = params.windows;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.tiles.number) return;
    Word word = word_at(index, params.tiles);
    int channels = params.channels, filters = params.filters, first_q = word.w * TILE_W;
    Element* y = params.y + slice_at(word.image, word.d, windows.Z) * windows.P * windows.Q * filters + word.channel;

    auto add_row = [&](Acc(&sums)[TILE_W][VEC], int p) {
        visit_rows(params, word, p, [&](const Element* row, const Element* w) {
            visit_row(windows, row, channels, first_q,
                      [&](int j, int s, const Acc(&values)[VEC]) { add_products(sums[j], values, w + s * filters); });
        });
    };
    auto add_pixel = [&](Acc(&sum)[VEC], int p, int q) {
        visit_rows(params, word, p, [&](const Element* row, const Element* w) {
            visit_taps(windows, row, channels, q,
                       [&](int s, const Acc(&values)[VEC]) { add_products(sum, values, w + s * filters); });
        });
    };
    store_tile(word, windows.P, windows.Q, y, filters, params.b, add_row, add_pixel);
}
