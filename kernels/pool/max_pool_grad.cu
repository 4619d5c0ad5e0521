// Gradient of max pooling, as a gather: every input element sums dy over the windows whose tap it is. Each element of
// dx is written exactly once, so there is nothing to clear first and nothing to add atomically.
#include "taps.cuh"
#include "windows.cuh"

struct Params {
    const Element* dy;
    const Tap* taps;
    Element* dx;
    Windows windows;
    Tiles tiles;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) max_pool_grad(Params params) {
    const Windows& windows = params.windows;
    int index = tile_index();
    if (index >= params.tiles.number) return;
    Tile tile = tile_at(index, params.tiles);

    Acc sum[TILE_H][TILE_W] = {}, dy[COVERING_W];
    int tap[COVERING_W];
    visit_covering_slices(windows, tile.d, [&](int z, int first) {
        int plane = slice_at(tile.plane, z, windows.Z) * windows.P * windows.Q;
        auto load = [&](int p, int q) {
            load_row<VEC_Y, COVERING_SKEW>(dy, params.dy + plane, p, q, windows.P, windows.Q, (Acc)0);
            load_row<VEC_Y, COVERING_SKEW>(tap, params.taps + plane, p, q, windows.P, windows.Q, NO_TAP);
        };
        visit_covering(windows, tile.h, tile.w, load, [&](int t, int j, int r, int s, int k) {
            // Adding 0, no branch: out of branches the compiler makes an index into `sum`, which then is memory.
            sum[t][j] = add_rn(sum[t][j], tap[k] == first + r * KERNEL_W + s ? dy[k] : (Acc)0);
        });
    });

    Element* dx = params.dx + slice_at(tile.plane, tile.d, windows.D) * windows.H * windows.W;
#pragma unroll
    for (int t = 0; t < TILE_H; t++) store_row<VEC_X>(sum[t], dx, tile.h + t, tile.w, windows.H, windows.W);
}
