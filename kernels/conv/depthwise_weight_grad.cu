// Weight gradient of a depthwise convolution. A block takes one filter k and a part of the batch's tiles; its threads
// keep a sum for every tap of the filter, so that x and dy are read once. split_sum adds the parts, in order.
#include "windows.cuh"

struct Params {
    const Element* dy;
    const Element* x;
    Acc* partial;
    int filters;
    FastDiv parts;
    int part_tiles;
    long long image_x, image_y;
    Windows windows;
    Tiles tiles;
    FastDiv multiplier;
};

constexpr int WARPS = THREADS / 32;

#if UNROLLED
constexpr int TAPS = KERNEL_H * KERNEL_W;  // summed in one pass over the tiles
#else
constexpr int TAPS = 1;
#endif

// Adds the products of one tile of dy to the sums of TAPS taps, `first_tap` on.
DEVICE void add_tile(const Windows& windows, const Element* x, const Element* dy, Tile tile, int first_tap,
                     Acc (&sum)[TAPS]) {
#if UNROLLED
    Acc at[TILE_H][TILE_W];
#pragma unroll
    for (int t = 0; t < TILE_H; t++) load_row<VEC_Y, 0>(at[t], dy, tile.h + t, tile.w, windows.P, windows.Q, (Acc)0);
    visit_windows(windows, x, tile.h, tile.w, (Acc)0, [&](int t, int j, int r, int s, Acc value) {
        // A window past the last row is no window: there value may be infinite.
        int tap = r * KERNEL_W + s;
        if (tile.h + t < windows.P) sum[tap] = fma_rn(value, at[t][j], sum[tap]);
    });
#else
    int r = first_tap, s = split_off(r, windows.kernel_w);
    int h = tile.h * STRIDE_H - PAD_TOP + r * DILATION_H, w = tile.w * STRIDE_W - PAD_LEFT + s * DILATION_W;
    if ((unsigned)h >= (unsigned)windows.H || (unsigned)w >= (unsigned)windows.W) return;
    Acc value = Storage<Element>::load(x[h * windows.W + w]);
    sum[0] = fma_rn(value, Storage<Element>::load(dy[tile.h * windows.Q + tile.w]), sum[0]);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) depthwise_weight_grad(Params params) {
    const Windows& windows = params.windows;
    __shared__ Acc of_warps[TAPS][WARPS];
    int filter = blockIdx.x, part = split_off(filter, params.parts);
    const Element* x = params.x + (long long)quotient(filter, params.multiplier) * windows.H * windows.W;
    const Element* dy = params.dy + (long long)filter * windows.P * windows.Q;
    int first = part * params.part_tiles, last = min(first + params.part_tiles, params.tiles.number);

    for (int first_tap = 0; first_tap < KERNEL_H * KERNEL_W; first_tap += TAPS) {
        Acc sum[TAPS] = {};
        for (int index = first + threadIdx.x; index < last; index += THREADS) {
            Tile tile = tile_at(index, params.tiles);  // its plane is the image n
            add_tile(windows, x + tile.plane * params.image_x, dy + tile.plane * params.image_y, tile, first_tap, sum);
        }
#pragma unroll
        for (int tap = 0; tap < TAPS; tap++) {
            Acc total = sum[tap];
            for (int lanes = 16; lanes > 0; lanes /= 2) total = add_rn(total, shuffle_down(total, lanes));
            if (threadIdx.x % 32 == 0) of_warps[tap][threadIdx.x / 32] = total;
        }
        __syncthreads();
        if (threadIdx.x < TAPS) {
            Acc total = of_warps[threadIdx.x][0];
            for (int warp = 1; warp < WARPS; warp++) total = add_rn(total, of_warps[threadIdx.x][warp]);
            int taps = KERNEL_H * KERNEL_W;
            params.partial[(part * params.filters + filter) * taps + first_tap + threadIdx.x] = total;
        }
        __syncthreads();
    }
}
