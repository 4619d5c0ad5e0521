// Depthwise convolution: every filter k sees one channel, k / multiplier. A thread computes a tile of one slice of y.
#include "windows.cuh"
#include "mend.cuh"

struct Params {
    const Element* x;
    const Element* w;
    const Element* b;  // null: none
    Element* y;
    int first_filter;
    FastDiv filters;
    Windows windows;
    Tiles tiles;
    FastDiv multiplier;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) depthwise_forward(Params params) {
    const Windows& windows = params.windows;
    int index = tile_index();
    if (index >= params.tiles.number) return;
    Tile tile = tile_at(index, params.tiles);
    int filter = params.first_filter + tile.plane, k = split_off(filter, params.filters);
    int channel = quotient(tile.plane, params.multiplier);
    auto x_of = [&](int d) { return params.x + slice_at(channel, d, windows.D) * windows.H * windows.W; };
    const Element* w = params.w + slice_at(k, 0, windows.kernel_d.divisor) * KERNEL_H * KERNEL_W;

    Acc sum[TILE_H][TILE_W] = {};
    visit_slices(windows, tile.d, [&](int d, int tap) {
        visit_windows(windows, x_of(d), tile.h, tile.w, (Acc)0, [&](int t, int j, int r, int s, Acc value) {
            sum[t][j] = fma_rn(value, Storage<Element>::load(w[tap + r * KERNEL_W + s]), sum[t][j]);
        });
    });
    for (int mask = LANES / 2; mask > 0; mask /= 2) sum[0][0] = add_rn(sum[0][0], other_lane(sum[0][0], mask));

    Acc bias = params.b ? Storage<Element>::load(params.b[k]) : (Acc)0;
    Element* y = params.y + slice_at(tile.plane, tile.d, windows.Z) * windows.P * windows.Q;
    bool nan = false;
#pragma unroll
    for (int t = 0; t < TILE_H; t++) {
#pragma unroll
        for (int j = 0; j < TILE_W; j++) {
            nan |= sum[t][j] != sum[t][j];
            sum[t][j] = add_rn(sum[t][j], bias);
        }
        store_row<VEC_Y>(sum[t], y, tile.h + t, tile.w, windows.P, windows.Q);
    }
#if UNROLLED
    Steps steps{KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, PAD_TOP, PAD_LEFT};
    if (nan)
        mend<TILE_H, TILE_W, 1>(y, tile.h, tile.w, windows.P, windows.Q, bias, [&](int p, int q) {
            Acc again = 0;
            visit_slices(windows, tile.d, [&](int d, int tap) {
                again = add_window(steps, again, x_of(d), w + tap, p, q, windows.H, windows.W);
            });
            return again;
        });
#endif
}
