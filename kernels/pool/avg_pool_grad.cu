// Gradient of average pooling, as a gather: every input element sums dy / divisor over the windows that hold it. Each
// element of dx is written exactly once.
#include "windows.cuh"
#include "average.cuh"

struct Params {
    const Element* dy;
    Element* dx;
    Windows windows;
    Tiles tiles;
    Average average;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) avg_pool_grad(Params params) {
    const Windows& windows = params.windows;
    int index = tile_index();
    if (index >= params.tiles.number) return;
    Tile tile = tile_at(index, params.tiles);

    Acc sum[TILE_H][TILE_W] = {}, share[COVERING_W];
    visit_covering_slices(windows, tile.d, [&](int z, int) {
        const Element* dy = params.dy + slice_at(tile.plane, z, windows.Z) * windows.P * windows.Q;
        auto load = [&](int p, int q) {
            load_row<VEC_Y, COVERING_SKEW>(share, dy, p, q, windows.P, windows.Q, (Acc)0);
#pragma unroll
            for (int k = 0; k < COVERING_W; k++) {
                bool exists = (unsigned)p < (unsigned)windows.P && (unsigned)(q + k) < (unsigned)windows.Q;
                share[k] = exists ? div_rn(share[k], divisor_of(windows, params.average, z, p, q + k)) : (Acc)0;
            }
        };
        visit_covering(windows, tile.h, tile.w, load,
                       [&](int t, int j, int, int, int k) { sum[t][j] = add_rn(sum[t][j], share[k]); });
    });

    Element* dx = params.dx + slice_at(tile.plane, tile.d, windows.D) * windows.H * windows.W;
#pragma unroll
    for (int t = 0; t < TILE_H; t++) store_row<VEC_X>(sum[t], dx, tile.h + t, tile.w, windows.H, windows.W);
}
