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
    Acc bias[VEC] = {};
    if (params.b) load_word(bias, params.b + word.channel);
    Element* y = params.y + slice_at(word.image, word.d, windows.Z) * windows.P * windows.Q * filters + word.channel;

#pragma unroll 1
    for (int p = word.h * TILE_H; p < min((word.h + 1) * TILE_H, windows.P); p++) {
        auto store = [&](Acc(&sum)[VEC], int q) {
            add_words(sum, bias);
            if (q < windows.Q) store_word(sum, y + (p * windows.Q + q) * filters);
        };
        Acc sum[TILE_W][VEC] = {};
        visit_rows(params, word, p, [&](const Element* row, const Element* w) {
            visit_row(windows, row, channels, first_q,
                      [&](int j, int s, const Acc(&values)[VEC]) { add_products(sum[j], values, w + s * filters); });
        });
        bool nan = false;
#pragma unroll
        for (int j = 0; j < TILE_W; j++) {
            nan |= has_nan(sum[j]);
            store(sum[j], first_q + j);
        }
#if UNROLLED
        // Padding was multiplied as zero, and 0 * inf is NaN: the row is added again, but only products that exist.
#pragma unroll 1
        for (int q = first_q; nan && q < min(first_q + TILE_W, windows.Q); q++) {
            Acc again[VEC] = {};
            visit_rows(params, word, p, [&](const Element* row, const Element* w) {
                visit_taps(windows, row, channels, q,
                           [&](int s, const Acc(&values)[VEC]) { add_products(again, values, w + s * filters); });
            });
            store(again, q);
        }
#endif
    }
}
