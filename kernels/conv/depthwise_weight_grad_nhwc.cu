// Weight gradient of a depthwise convolution, channels last. A block takes WORDS words of filters, WINDOW_ROWS rows of their
// windows and a part of the batch's tiles, which lie one below the other; a thread keeps the sums of a word's taps in one
// of the rows. split_sum adds the parts, in order.
#include "depthwise_words.cuh"

#ifndef WORDS
#define WORDS 32
#define WINDOW_ROWS 3
#endif

struct Params {
    const Element* dy;
    const Element* x;
    Acc* partial;
    int channels, filters;
    FastDiv word_blocks;
    int part_tiles;
    long long image_x, image_y;
    Windows windows;
    Tiles tiles;
    FastDiv multiplier;
};

#if UNROLLED
constexpr int TAPS = KERNEL_W;  // of a row
#else
constexpr int TAPS = 1;  // which then is called a row
#endif
constexpr int SHARERS = THREADS / (WORDS * WINDOW_ROWS);  // threads that share the tiles

// Calls add(x, dy, q) for each tile of this thread's share, with the rows that come together there for the taps from
// `tap` on, and the tile's first window.
template <class Add>
DEVICE void visit_tiles(const Params& params, int filter, int tap, int first, int last, Add add) {
    const Windows& windows = params.windows;
    int r = tap, t = AXES == 3 ? r / (KERNEL_H * KERNEL_W) : 0;
    r = quotient(r - t * KERNEL_H * KERNEL_W, windows.kernel_w);
    const Element* x = params.x + quotient(filter, params.multiplier);
    const Element* dy = params.dy + filter;
#pragma unroll 1
    for (int index = first; index < last; index += SHARERS) {
        int image = index, p = split_off(image, params.tiles.rows), q = split_off(image, params.tiles.columns) * TILE_W;
        int z = AXES == 3 ? split_off(image, params.tiles.slices) : 0;
        int h = p * STRIDE_H - PAD_TOP + r * DILATION_H, d = 0;
        if constexpr (AXES == 3)
            d = z * (int)windows.stride_d.divisor - windows.pad_front + t * (int)windows.dilation_d.divisor;
        if ((unsigned)d >= (unsigned)windows.D || (unsigned)h >= (unsigned)windows.H) continue;
        add(x + image * params.image_x + (d * windows.H + h) * windows.W * params.channels,
            dy + image * params.image_y + (z * windows.P + p) * windows.Q * params.filters, q);
    }
}

// Adds the products of a tile's windows, q on, at tap s of a row, that exist.
DEVICE void add_tap(const Params& params, const Element* x, const Element* dy, int q, int s, Acc (&sum)[VEC]) {
    const Windows& windows = params.windows;
#pragma unroll 1
    for (int last = min(q + TILE_W, windows.Q); q < last; q++) {
        int w = q * STRIDE_W - PAD_LEFT + s * DILATION_W;
        if ((unsigned)w >= (unsigned)windows.W) continue;
        Acc values[VEC];
        load_word(values, x + w * params.channels);
        add_products(sum, values, dy + q * params.filters);
    }
}

// The sums of all that share tiles, added in a fixed order, in the first of them. All of a block call.
DEVICE void add_sharers(Acc (&sum)[VEC]) {
    __shared__ Acc of_threads[THREADS][VEC];
    int sharer = threadIdx.x / (WORDS * WINDOW_ROWS);
    for (int sharers = SHARERS; sharers > 1;) {
        int half = (sharers + 1) / 2;
#pragma unroll
        for (int i = 0; i < VEC; i++) of_threads[threadIdx.x][i] = sum[i];
        __syncthreads();
        if (sharer + half < sharers) add_words(sum, of_threads[threadIdx.x + half * WORDS * WINDOW_ROWS]);
        __syncthreads();
        sharers = half;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) depthwise_weight_grad_nhwc(Params params) {
    const Windows& windows = params.windows;
    int part = blockIdx.x, filter = (split_off(part, params.word_blocks) * WORDS + threadIdx.x % WORDS) * VEC;
    int taps = (AXES == 3 ? windows.kernel_d.divisor : 1) * KERNEL_H * KERNEL_W;
    int sharer = threadIdx.x / (WORDS * WINDOW_ROWS);
    int first = part * params.part_tiles, last = min(first + params.part_tiles, params.tiles.number);

    for (int pass = 0; pass < taps; pass += WINDOW_ROWS * TAPS) {
        int tap = pass + threadIdx.x / WORDS % WINDOW_ROWS * TAPS;
        bool inside = filter < params.filters && sharer < SHARERS && tap < taps;
        int mine = inside ? first + sharer : last;
        auto add_up = [&](Acc(&sum)[VEC], int s) {
            add_sharers(sum);
            if (!inside || sharer > 0) return;
#pragma unroll
            for (int i = 0; i < VEC; i++)
                params.partial[(part * params.filters + filter + i) * taps + tap + s] = sum[i];
        };
#if UNROLLED
        Acc sum[TAPS][VEC] = {};
        visit_tiles(params, filter, tap, mine, last, [&](const Element* x, const Element* dy, int q) {
            Acc at[TILE_W][VEC];
#pragma unroll
            for (int j = 0; j < TILE_W; j++) load_pixel(at[j], dy, params.filters, q + j, windows.Q);
            visit_row(windows, x, params.channels, q,
                      [&](int j, int s, const Acc(&values)[VEC]) { add_products(sum[s], values, at[j]); });
        });
        bool nan = false;
#pragma unroll
        for (int s = 0; s < TAPS; s++) {
            nan |= has_nan(sum[s]);
            add_up(sum[s], s);
        }
        // What lies outside was multiplied as zero, and 0 * inf is NaN: the block adds again, only products that exist.
        bool again = __syncthreads_or(nan);
#else
        bool again = true;
#endif
#pragma unroll 1
        for (int s = 0; again && s < TAPS; s++) {
            int column = UNROLLED ? s : tap - quotient(tap, windows.kernel_w) * KERNEL_W;
            Acc sum[VEC] = {};
            visit_tiles(params, filter, tap, mine, last,
                        [&](const Element* x, const Element* dy, int q) { add_tap(params, x, dy, q, column, sum); });
            add_up(sum, s);
        }
    }
}
