// Max pooling: y and the tap at which it stood, in one pass. A thread computes a tile of windows of one plane.
#include "first_tap.cuh"
#include "taps.cuh"
#include "windows.cuh"

struct Params {
    const Element* x;
    Element* y;
    Tap* taps;
    Windows windows;
    Tiles tiles;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) max_pool(Params params) {
    const Windows& windows = params.windows;
    int index = tile_index();
    if (index >= params.tiles.number) return;
    Tile tile = tile_at(index, params.tiles);
    int z = tile.d, p = tile.h, q = tile.w;

    // Padding counts as -infinity, which never wins: the first tap on the input stands until a greater element is met.
    Acc best[TILE_H][TILE_W];
    int tap[TILE_H][TILE_W];
    const Acc lowest = -(Acc)__uint_as_float(0x7f800000u);
    int first_slice = first_tap_of_slices(windows, z);
#pragma unroll
    for (int t = 0; t < TILE_H; t++) {
        int r = first_inside((p + t) * STRIDE_H - PAD_TOP, DILATION_H, KERNEL_H, windows.H);
#pragma unroll
        for (int j = 0; j < TILE_W; j++) {
            int s = first_inside((q + j) * STRIDE_W - PAD_LEFT, DILATION_W, KERNEL_W, windows.W);
            best[t][j] = lowest;
            bool any = first_slice != NO_TAP && r < KERNEL_H && s < KERNEL_W;
            tap[t][j] = any ? first_slice + r * KERNEL_W + s : NO_TAP;
        }
    }

    visit_slices(windows, z, [&](int d, int first) {
        const Element* x = params.x + slice_at(tile.plane, d, windows.D) * windows.H * windows.W;
        visit_windows(windows, x, p, q, lowest, [&](int t, int j, int r, int s, Acc value) {
            keep_greater(best[t][j], tap[t][j], value, first + r * KERNEL_W + s);
        });
    });
    for (int mask = LANES / 2; mask > 0; mask /= 2)
        merge_greatest(best[0][0], tap[0][0], other_lane(best[0][0], mask), other_lane(tap[0][0], mask));

    int plane = slice_at(tile.plane, z, windows.Z) * windows.P * windows.Q;
#pragma unroll
    for (int t = 0; t < TILE_H; t++) {
        store_row<VEC_Y>(best[t], params.y + plane, p + t, q, windows.P, windows.Q);
        store_row<VEC_Y>(tap[t], params.taps + plane, p + t, q, windows.P, windows.Q);
    }
}
