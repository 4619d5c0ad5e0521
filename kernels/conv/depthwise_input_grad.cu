// Input gradient of a depthwise convolution, as a gather over the windows that hold an input: a channel sums over its
// own filters only. The bias is that of a transposed convolution, whose forward this is. A thread computes a tile of one plane of dx.
#include "windows.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) depthwise_input_grad(Params params) {
    int index = tile_index();
    if (index >= params.tiles) return;
    Tile tile = tile_at(index, params.tile_rows, params.tile_columns);
    int channel = params.first_channel + tile.plane, c = split_off(channel, params.channels);

    Acc sum[TILE_H][TILE_W] = {};
    int multiplier = params.multiplier.divisor;
    for (int m = 0; m < multiplier; m++) {
        const Element* dy = params.dy + (tile.plane * multiplier + m) * params.P * params.Q;
        const Element* w = params.w + (c * multiplier + m) * KERNEL_H * KERNEL_W;
        Acc row[COVERING_W];
        auto load = [&](int p, int q) {
            load_row<VEC_Y, COVERING_SKEW>(row, dy, p, q, params.P, params.Q, (Acc)0);
        };
        visit_covering(params, tile.h, tile.w, load, [&](int t, int j, int r, int s, int k) {
            sum[t][j] = fma_rn(row[k], Storage<Element>::load(w[r * KERNEL_W + s]), sum[t][j]);
        });
    }

    Acc bias = params.b ? Storage<Element>::load(params.b[c]) : (Acc)0;
    Element* dx = params.dx + tile.plane * params.H * params.W;
#pragma unroll
    for (int t = 0; t < TILE_H; t++) {
#pragma unroll
        for (int j = 0; j < TILE_W; j++) sum[t][j] = add_rn(sum[t][j], bias);
        store_row<VEC_X>(sum[t], dx, tile.h + t, tile.w, params.H, params.W);
    }
}
