// Average pooling. A thread computes a tile of windows of one plane.
#include "windows.cuh"
#include "average.cuh"

struct Params {
    const Element* x;
    Element* y;
    Windows windows;
    Tiles tiles;
    Average average;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) avg_pool(Params params) {
    const Windows& windows = params.windows;
    int index = tile_index();
    if (index >= params.tiles.number) return;
    Tile tile = tile_at(index, params.tiles);
    int z = tile.d, p = tile.h, q = tile.w;

    Acc sum[TILE_H][TILE_W] = {};
    visit_slices(windows, z, [&](int d, int) {
        const Element* x = params.x + slice_at(tile.plane, d, windows.D) * windows.H * windows.W;
        visit_windows(windows, x, p, q, (Acc)0,
                      [&](int t, int j, int, int, Acc value) { sum[t][j] = add_rn(sum[t][j], value); });
    });
    for (int mask = LANES / 2; mask > 0; mask /= 2) sum[0][0] = add_rn(sum[0][0], other_lane(sum[0][0], mask));

    Element* y = params.y + slice_at(tile.plane, z, windows.Z) * windows.P * windows.Q;
#pragma unroll
    for (int t = 0; t < TILE_H; t++) {
#pragma unroll
        for (int j = 0; j < TILE_W; j++)
            sum[t][j] = div_rn(sum[t][j], divisor_of(windows, params.average, z, p + t, q + j));
        store_row<VEC_Y>(sum[t], y, p + t, q, windows.P, windows.Q);
    }
}
