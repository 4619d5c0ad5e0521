// Input gradient of a depthwise convolution, as a gather over the windows that hold an input: a channel sums over its
// own filters only. The bias is that of a transposed convolution, whose forward this is. A thread computes a tile of
// one slice of dx.
#include "windows.cuh"
#include "mend.cuh"

struct Params {
    const Element* dy;
    const Element* w;
    const Element* b;  // null: none
    Element* dx;
    int first_channel;
    FastDiv channels;
    Windows windows;
    Tiles tiles;
    FastDiv multiplier;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) depthwise_input_grad(Params params) {
    const Windows& windows = params.windows;
    int index = tile_index();
    if (index >= params.tiles.number) return;
    Tile tile = tile_at(index, params.tiles);
    int channel = params.first_channel + tile.plane, c = split_off(channel, params.channels);

    Acc sum[TILE_H][TILE_W] = {};
    int multiplier = params.multiplier.divisor;
    // Calls visit(dy, w) with each slice of dy that reaches the tile, and its weights there.
    auto visit_filters = [&](auto visit) {
        for (int m = 0; m < multiplier; m++) {
            int plane = tile.plane * multiplier + m, filter = slice_at(c * multiplier + m, 0, windows.kernel_d.divisor);
            visit_covering_slices(windows, tile.d, [&](int z, int tap) {
                visit(params.dy + slice_at(plane, z, windows.Z) * windows.P * windows.Q,
                      params.w + filter * KERNEL_H * KERNEL_W + tap);
            });
        }
    };
    visit_filters([&](const Element* dy, const Element* w) {
        Acc row[COVERING_W];
        auto load = [&](int p, int q) { load_row<VEC_Y, COVERING_SKEW>(row, dy, p, q, windows.P, windows.Q, (Acc)0); };
        visit_covering(windows, tile.h, tile.w, load, [&](int t, int j, int r, int s, int k) {
            sum[t][j] = fma_rn(row[k], Storage<Element>::load(w[r * KERNEL_W + s]), sum[t][j]);
        });
    });

    Acc bias = params.b ? Storage<Element>::load(params.b[c]) : (Acc)0;
    Element* dx = params.dx + slice_at(tile.plane, tile.d, windows.D) * windows.H * windows.W;
    bool nan = false;
#pragma unroll
    for (int t = 0; t < TILE_H; t++) {
#pragma unroll
        for (int j = 0; j < TILE_W; j++) {
            nan |= sum[t][j] != sum[t][j];
            sum[t][j] = add_rn(sum[t][j], bias);
        }
        store_row<VEC_X>(sum[t], dx, tile.h + t, tile.w, windows.H, windows.W);
    }
#if UNROLLED
    Steps steps{KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, PAD_TOP, PAD_LEFT};
    if (nan)
        mend<TILE_H, TILE_W, 1>(dx, tile.h, tile.w, windows.H, windows.W, bias, [&](int h, int column) {
            Acc again = 0;
            visit_filters([&](const Element* dy, const Element* w) {
                again = add_covering(steps, again, dy, w, h, column, windows.P, windows.Q);
            });
            return again;
        });
#endif
}
