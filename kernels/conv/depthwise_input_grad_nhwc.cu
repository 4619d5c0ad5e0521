// Input gradient of a depthwise convolution, channels last, as a gather over the windows that hold a pixel. The bias is
// that of a transposed convolution, whose forward this is.
#include "depthwise_words.cuh"

struct Params {
    const Element* dy;
    const Element* w;
    const Element* b;  // null: none
    Element* dx;
    int channels, filters, multiplier;
    Windows windows;
    Pixels tiles;
};

// Calls visit(row, w) for each row of dy with windows over row h of dx, with the weights that lie on it, filter by filter.
template <class Visit>
DEVICE void visit_rows(const Params& params, Word word, int h, Visit visit) {
    const Windows& windows = params.windows;
    h += PAD_TOP;
    Covering rows = covering(h, KERNEL_H, windows.stride_h, DILATION_H, windows.P);
    for (int m = 0; m < params.multiplier; m++) {
        int filter = word.channel * params.multiplier + m;
        visit_covering_slices(windows, word.d, [&](int z, int tap) {
            int slice = slice_at(word.image, z, windows.Z) * windows.P;
#pragma unroll 1
            for (int p = rows.first; p <= rows.last; p++) {
                int r = h - p * STRIDE_H;
                if (r % DILATION_H != 0) continue;
                visit(params.dy + (slice + p) * windows.Q * params.filters + filter,
                      params.w + (tap + r / DILATION_H * KERNEL_W) * params.filters + filter);
            }
        });
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) depthwise_input_grad_nhwc(Params params) {
    const Windows& windows = params.windows;
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.tiles.number) return;
    Word word = word_at(index, params.tiles);
    int channels = params.channels, filters = params.filters, first_w = word.w * TILE_W;
    Element* dx = params.dx + slice_at(word.image, word.d, windows.D) * windows.H * windows.W * channels + word.channel;

    // Adds the products that exist of a row of dy in one column of dx.
    auto add_column = [&](Acc(&sum)[VEC], int column, const Element* row, const Element* weights) {
        column += PAD_LEFT;
        Covering columns = covering(column, KERNEL_W, windows.stride_w, DILATION_W, windows.Q);
#pragma unroll 1
        for (int q = columns.first; q <= columns.last; q++) {
            int s = column - q * STRIDE_W;
            if (s % DILATION_W != 0) continue;
            Acc dy[VEC];
            load_word(dy, row + q * filters);
            add_products(sum, dy, weights + s / DILATION_W * filters);
        }
    };
    auto add_row = [&](Acc(&sums)[TILE_W][VEC], int h) {
        visit_rows(params, word, h, [&](const Element* row, const Element* w) {
#if UNROLLED
#pragma unroll
            for (int k = 0; k < COVERING_W; k++) {
                Acc dy[VEC];
                load_pixel(dy, row, filters, first_w / STRIDE_W + FIRST_Q + k, windows.Q);
#pragma unroll
                for (int j = 0; j < TILE_W; j++) {
                    int s = tap_at(j + PAD_LEFT - (FIRST_Q + k) * STRIDE_W, DILATION_W, KERNEL_W);
                    if (s >= 0) add_products(sums[j], dy, w + s * filters);
                }
            }
#else
            add_column(sums[0], first_w, row, w);
#endif
        });
    };
    auto add_pixel = [&](Acc(&sum)[VEC], int h, int column) {
        visit_rows(params, word, h, [&](const Element* row, const Element* w) { add_column(sum, column, row, w); });
    };
    store_tile(word, windows.H, windows.W, dx, channels, params.b, add_row, add_pixel);
}
