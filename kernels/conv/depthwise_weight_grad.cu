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

// Adds the products of one tile of dy at one tap that exist.
DEVICE Acc add_tap(const Windows& windows, const Element* x, const Element* dy, Tile tile, int tap, Acc sum) {
    int r = quotient(tap, windows.kernel_w), s = tap - r * KERNEL_W;
#pragma unroll 1
    for (int i = 0; i < TILE_H * TILE_W; i++) {
        int p = tile.h + i / TILE_W, q = tile.w + i % TILE_W;
        int h = p * STRIDE_H - PAD_TOP + r * DILATION_H, w = q * STRIDE_W - PAD_LEFT + s * DILATION_W;
        if (p >= windows.P || (unsigned)h >= (unsigned)windows.H || (unsigned)w >= (unsigned)windows.W) continue;
        sum = fma_rn(Storage<Element>::load(x[h * windows.W + w]), Storage<Element>::load(dy[p * windows.Q + q]), sum);
    }
    return sum;
}

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
    sum[0] = add_tap(windows, x, dy, tile, first_tap, sum[0]);
#endif
}

// The sum of what the lanes of a warp hold, in the first of them.
DEVICE Acc add_lanes(Acc sum) {
    for (int lanes = 16; lanes > 0; lanes /= 2) sum = add_rn(sum, shuffle_down(sum, lanes));
    return sum;
}

// Calls add(x, dy, tile) for each tile of this thread's share, with the slices that tap t of the depth brings together.
template <class Add>
DEVICE void visit_tiles(const Params& params, const Element* x, const Element* dy, int t, int first, int last,
                        Add add) {
    const Windows& windows = params.windows;
    for (int index = first + threadIdx.x; index < last; index += THREADS) {
        Tile tile = tile_at(index, params.tiles);  // its plane is the image n
        int d = 0;
        if constexpr (AXES == 3) {
            d = tile.d * (int)windows.stride_d.divisor - windows.pad_front + t * (int)windows.dilation_d.divisor;
            if ((unsigned)d >= (unsigned)windows.D) continue;
        }
        add(x + tile.plane * params.image_x + d * windows.H * windows.W,
            dy + tile.plane * params.image_y + tile.d * windows.P * windows.Q, tile);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) depthwise_weight_grad(Params params) {
    const Windows& windows = params.windows;
    __shared__ Acc of_warps[TAPS][WARPS];
    int filter = blockIdx.x, part = split_off(filter, params.parts);
    int channel = quotient(filter, params.multiplier), kernel_d = AXES == 3 ? windows.kernel_d.divisor : 1;
    const Element* x = params.x + (long long)slice_at(channel, 0, windows.D) * windows.H * windows.W;
    const Element* dy = params.dy + (long long)slice_at(filter, 0, windows.Z) * windows.P * windows.Q;
    int first = part * params.part_tiles, last = min(first + params.part_tiles, params.tiles.number);

    for (int pass = 0; pass < kernel_d * KERNEL_H * KERNEL_W; pass += TAPS) {
        int t = AXES == 3 ? pass / (KERNEL_H * KERNEL_W) : 0, first_tap = pass - t * KERNEL_H * KERNEL_W;
        Acc sum[TAPS] = {};
        bool nan = false;
        visit_tiles(params, x, dy, t, first, last, [&](const Element* x, const Element* dy, Tile tile) {
            add_tile(windows, x, dy, tile, first_tap, sum);
        });
#pragma unroll
        for (int tap = 0; tap < TAPS; tap++) {
            nan |= sum[tap] != sum[tap];
            Acc total = add_lanes(sum[tap]);
            if (threadIdx.x % 32 == 0) of_warps[tap][threadIdx.x / 32] = total;
        }
#if UNROLLED
        // Padding was multiplied as zero, and 0 * inf is NaN: the warp adds again, but only products that exist.
        bool spoiled = __any_sync(0xffffffffu, nan);
#pragma unroll 1
        for (int tap = 0; spoiled && tap < TAPS; tap++) {
            Acc again = 0;
            visit_tiles(params, x, dy, t, first, last, [&](const Element* x, const Element* dy, Tile tile) {
                again = add_tap(windows, x, dy, tile, tap, again);
            });
            again = add_lanes(again);
            if (threadIdx.x % 32 == 0) of_warps[tap][threadIdx.x / 32] = again;
        }
#endif
        __syncthreads();
        if (threadIdx.x < TAPS) {
            Acc total = of_warps[threadIdx.x][0];
            for (int warp = 1; warp < WARPS; warp++) total = add_rn(total, of_warps[threadIdx.x][warp]);
            int taps = kernel_d * KERNEL_H * KERNEL_W;
            params.partial[(part * params.filters + filter) * taps + pass + threadIdx.x] = total;
        }
        __syncthreads();
    }
}
