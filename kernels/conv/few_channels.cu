// Convolution of few input channels, such as a network's first: too short a sum for a matrix product's k axis, so the
// block keeps one channel's piece of the image and one channel's weights in shared memory, and every thread multiplies
// PIXELS neighbouring outputs x FILTERS filters in registers.
//
// A block's threads are FILTER_LANES x (ROWS x COLUMNS) of those; its tile is ROWS x COLUMNS * PIXELS outputs.
#include "few_channels.cuh"
#include "mend.cuh"
#include "fast_div.cuh"

#ifndef FILTERS
#define FILTERS 4
#define PIXELS 4
#define FILTER_LANES 4
#define ROWS 4
#define COLUMNS 8
#define CHANNELS 3
#define BLOCKS_PER_SM 4
#define VEC_X 1
#define VEC_Y 1
#define KERNEL_H 3
#define KERNEL_W 3
#define STRIDE_H 1
#define STRIDE_W 1
#define DILATION_H 1
#define DILATION_W 1
#define PAD_TOP 1
#define PAD_LEFT 1
#endif

struct Params {
    const Element* x;
    const Element* w;
    const Element* b;  // null: none
    Element* y;
    int H, W, P, Q;
    FastDiv groups;
    int group_filters;
    FastDiv filter_blocks, tile_rows, tile_columns;
};

constexpr int WIDTH = FILTERS < QUAD ? FILTERS : QUAD;
constexpr int BLOCK_FILTERS = FILTER_LANES * FILTERS;

// The piece begins SKEW columns early, at a whole word of x; a thread reads REACH of its columns.
constexpr int SKEW = modulo(-PAD_LEFT, VEC_X);
constexpr int REACH = round_up(SKEW + (PIXELS - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 1, QUAD);
constexpr int IMAGE_ROWS = (ROWS - 1) * STRIDE_H + (KERNEL_H - 1) * DILATION_H + 1;
constexpr int IMAGE_COLUMNS = (COLUMNS - 1) * PIXELS * STRIDE_W + REACH;
constexpr int WEIGHTS_LD = BLOCK_FILTERS + QUAD;  // padded: taps, which are stored by neighbouring threads, change bank

// Number i of a thread's filters: WIDTH neighbours, then the next WIDTH after those of the other lanes, so that the
// lanes of a warp load one contiguous piece.
DEVICE int filter_at(int lane, int i) { return (i / WIDTH * FILTER_LANES + lane) * WIDTH + i % WIDTH; }

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) few_channels(Params params) {
    __shared__ __align__(16) Acc image[IMAGE_ROWS * IMAGE_COLUMNS];
    __shared__ __align__(16) Acc weights[KERNEL_H * KERNEL_W * WEIGHTS_LD];

    int n = blockIdx.x;
    int first_filter = split_off(n, params.filter_blocks) * BLOCK_FILTERS;
    int tile_q = split_off(n, params.tile_columns) * COLUMNS * PIXELS, tile_p = split_off(n, params.tile_rows) * ROWS;
    int group = split_off(n, params.groups);
    int lane = threadIdx.x % FILTER_LANES, place = threadIdx.x / FILTER_LANES;
    int row = place / COLUMNS, column = place % COLUMNS * PIXELS;
    int plane = params.H * params.W, filters = params.group_filters;
    const Element* x = params.x + ((long long)n * params.groups.divisor + group) * CHANNELS * plane;
    const Element* w = params.w + group * filters * CHANNELS * KERNEL_H * KERNEL_W;

    Acc sum[FILTERS][PIXELS] = {};
#pragma unroll 1
    for (int c = 0; c < CHANNELS; c++) {
        load_piece<VEC_X, IMAGE_ROWS, IMAGE_COLUMNS>(image, x + c * plane, tile_p * STRIDE_H - PAD_TOP,
                                                     tile_q * STRIDE_W - PAD_LEFT - SKEW, params.H, params.W);
#pragma unroll 1
        for (int i = threadIdx.x; i < BLOCK_FILTERS * KERNEL_H * KERNEL_W; i += THREADS) {
            int k = i / (KERNEL_H * KERNEL_W), tap = i % (KERNEL_H * KERNEL_W);
            bool exists = first_filter + k < filters;
            int at = ((first_filter + k) * CHANNELS + c) * KERNEL_H * KERNEL_W + tap;
            weights[tap * WEIGHTS_LD + k] = exists ? Storage<Element>::load(w[at]) : (Acc)0;
        }
        __syncthreads();
#pragma unroll 1
        for (int r = 0; r < KERNEL_H; r++) {
            const Acc* from = image + (row * STRIDE_H + r * DILATION_H) * IMAGE_COLUMNS + column * STRIDE_W;
            Acc at[REACH];
            load_numbers(at, from);
#pragma unroll
            for (int s = 0; s < KERNEL_W; s++)
#pragma unroll
                for (int f = 0; f < FILTERS; f += WIDTH) {
                    const Acc* tap = weights + (r * KERNEL_W + s) * WEIGHTS_LD + filter_at(lane, f);
                    auto weight = *(const Vec<Acc, WIDTH>*)tap;
#pragma unroll
                    for (int i = 0; i < WIDTH; i++)
#pragma unroll
                        for (int j = 0; j < PIXELS; j++)
                            sum[f + i][j] =
                                fma_rn(at[SKEW + j * STRIDE_W + s * DILATION_W], weight.at[i], sum[f + i][j]);
                }
        }
        __syncthreads();
    }

    auto bias_of = [&](int k) { return params.b ? Storage<Element>::load(params.b[group * filters + k]) : (Acc)0; };
    auto y_of = [&](int k) {
        return params.y + (((long long)n * params.groups.divisor + group) * filters + k) * params.P * params.Q;
    };
    Steps steps{KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, PAD_TOP, PAD_LEFT};
    bool nan = false;
#pragma unroll
    for (int f = 0; f < FILTERS; f++) {
        int k = first_filter + filter_at(lane, f);
        if (k >= filters) continue;
        Acc bias = bias_of(k);
#pragma unroll
        for (int j = 0; j < PIXELS; j++) {
            nan |= sum[f][j] != sum[f][j];
            sum[f][j] = add_rn(sum[f][j], bias);
        }
        store_row<VEC_Y>(sum[f], y_of(k), tile_p + row, tile_q + column, params.P, params.Q);
    }
#pragma unroll 1
    for (int f = 0; nan && f < FILTERS; f++) {
        int k = first_filter + filter_at(lane, f);
        if (k >= filters) continue;
        mend<1, PIXELS, 1>(y_of(k), tile_p + row, tile_q + column, params.P, params.Q, bias_of(k), [&](int p, int q) {
            Acc again = 0;
            for (int c = 0; c < CHANNELS; c++) {
                const Element* weights = w + (k * CHANNELS + c) * KERNEL_H * KERNEL_W;
                again = add_window(steps, again, x + c * plane, weights, p, q, params.H, params.W);
            }
            return again;
        });
    }
}
