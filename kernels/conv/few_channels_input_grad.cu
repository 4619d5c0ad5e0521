// Input gradient of a convolution with few input channels: as a matrix product it would be 1 to 4 columns wide. The
// block keeps one filter's piece of dy and its weights in shared memory; a thread sums all CHANNELS of TILE_H x TILE_W
// elements of dx. Its rows are of one residue class (class_axis.cuh), which the same taps reach; its columns, a
// multiple of STRIDE_W, are neighbours. The bias is that of a transposed convolution, whose forward this is.
//
// A block's threads are ROWS x COLUMNS of those.
#include "few_channels.cuh"
#include "mend.cuh"
#include "class_axis.cuh"
#include "fast_div.cuh"

#ifndef TILE_H
#define TILE_H 2
#define TILE_W 4
#define ROWS 8
#define COLUMNS 16
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
#define GCD_H 1
#define INVERSE_H 0
#endif

struct Params {
    const Element* dy;
    const Element* w;
    const Element* b;  // null: none
    Element* dx;
    int H, W, P, Q;
    FastDiv groups;
    int group_filters;
    FastDiv classes, tile_rows, tile_columns;
};

// Columns of dy that reach a tile: POSITIONS windows start in it, and further ones before it.
constexpr int POSITIONS = TILE_W / STRIDE_W;
DEVICE constexpr int floor_div(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
constexpr int FIRST_Q = -floor_div((KERNEL_W - 1) * DILATION_W - PAD_LEFT, STRIDE_W);
constexpr int LAST_Q = floor_div(TILE_W - 1 + PAD_LEFT, STRIDE_W);
constexpr int COVERING = LAST_Q - FIRST_Q + 1;

// Along the other axis a class has at most TAPS taps, STEP rows of dy apart.
constexpr int TAPS = (KERNEL_H * GCD_H + STRIDE_H - 1) / STRIDE_H, STEP = DILATION_H / GCD_H;

// The piece begins SKEW columns early, at a whole word of dy.
constexpr int SKEW = modulo(FIRST_Q, VEC_Y), REACH = round_up(SKEW + COVERING, QUAD);
constexpr int PIECE_ROWS = ROWS * TILE_H + (TAPS - 1) * STEP, PIECE_COLUMNS = (COLUMNS - 1) * POSITIONS + REACH;
static_assert(POSITIONS % QUAD == 0, "the numbers that a thread loads are aligned");

// The weights of one tap, loaded at once.
constexpr int WIDTH = CHANNELS == 3 ? 4 : CHANNELS;
using Weights = Vec<Acc, WIDTH>;

// Adds one filter's part: its weights times its piece of dy, of which `piece` is what this thread's first row needs
// for tap `taps` - 1.
DEVICE void add_filter(Acc (&sum)[CHANNELS][TILE_H][TILE_W], const Acc* piece, const Weights* weights, int taps) {
#pragma unroll 1
    for (int tap = 0; tap < taps; tap++) {
        Weights weight[KERNEL_W];
#pragma unroll
        for (int s = 0; s < KERNEL_W; s++) weight[s] = weights[tap * KERNEL_W + s];
#pragma unroll
        for (int i = 0; i < TILE_H; i++) {
            Acc dy[REACH];
            load_numbers(dy, piece + ((taps - 1 - tap) * STEP + i) * PIECE_COLUMNS);
#pragma unroll
            for (int s = 0; s < KERNEL_W; s++)
#pragma unroll
                for (int j = 0; j < TILE_W; j++) {
                    int distance = j + PAD_LEFT - s * DILATION_W - FIRST_Q * STRIDE_W;
                    if (distance % STRIDE_W) continue;
#pragma unroll
                    for (int c = 0; c < CHANNELS; c++)
                        sum[c][i][j] = fma_rn(dy[SKEW + distance / STRIDE_W], weight[s].at[c], sum[c][i][j]);
                }
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) few_channels_input_grad(Params params) {
    __shared__ __align__(16) Acc piece[PIECE_ROWS * PIECE_COLUMNS];
    __shared__ Weights weights[TAPS * KERNEL_W];

    // The classes of one region are neighbouring blocks: they read the same part of dy.
    int n = blockIdx.x;
    ClassAxis rows(split_off(n, params.classes), STRIDE_H, PAD_TOP, DILATION_H, KERNEL_H, GCD_H, INVERSE_H);
    int first_column = split_off(n, params.tile_columns) * COLUMNS, first_row = split_off(n, params.tile_rows) * ROWS;
    int group = split_off(n, params.groups), groups = params.groups.divisor;
    int row = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    int plane = params.P * params.Q, filters = params.group_filters;
    const Element* dy = params.dy + ((long long)n * groups + group) * filters * plane;
    const Element* w = params.w + group * filters * CHANNELS * KERNEL_H * KERNEL_W;

    Acc sum[CHANNELS][TILE_H][TILE_W] = {};
#pragma unroll 1
    for (int k = 0; rows.taps > 0 && k < filters; k++) {
        load_piece<VEC_Y, PIECE_ROWS, PIECE_COLUMNS>(piece, dy + (long long)k * plane,
                                                     first_row * TILE_H + rows.origin - (rows.taps - 1) * STEP,
                                                     first_column * POSITIONS + FIRST_Q - SKEW, params.P, params.Q);
#pragma unroll 1
        for (int i = threadIdx.x; i < rows.taps * KERNEL_W * CHANNELS; i += THREADS) {
            int c = i % CHANNELS, tap = i / CHANNELS;
            int r = rows.first_tap + tap / KERNEL_W * rows.tap_step, s = tap % KERNEL_W;
            weights[tap].at[c] = Storage<Element>::load(w[((k * CHANNELS + c) * KERNEL_H + r) * KERNEL_W + s]);
        }
        __syncthreads();
        add_filter(sum, piece + row * TILE_H * PIECE_COLUMNS + column * POSITIONS, weights, rows.taps);
        __syncthreads();
    }

    int top = (first_row + row) * TILE_H * STRIDE_H + rows.first, left = (first_column + column) * TILE_W;
    auto bias_of = [&](int c) { return params.b ? Storage<Element>::load(params.b[group * CHANNELS + c]) : (Acc)0; };
    auto dx_of = [&](int c) {
        return params.dx + (((long long)n * groups + group) * CHANNELS + c) * params.H * params.W;
    };
    Steps steps{KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, PAD_TOP, PAD_LEFT};
    bool nan = false;
#pragma unroll
    for (int c = 0; c < CHANNELS; c++) {
        Acc bias = bias_of(c);
        Element* dx = dx_of(c);
#pragma unroll
        for (int i = 0; i < TILE_H; i++) {
#pragma unroll
            for (int j = 0; j < TILE_W; j++) {
                nan |= sum[c][i][j] != sum[c][i][j];
                sum[c][i][j] = add_rn(sum[c][i][j], bias);
            }
            int h = top + i * STRIDE_H;
            if (h >= params.H) break;  // without a branch all addresses would be worked out ahead, in registers
            store_row<VEC_X>(sum[c][i], dx, h, left, params.H, params.W);
        }
    }
#pragma unroll 1
    for (int c = 0; nan && c < CHANNELS; c++)
        mend<TILE_H, TILE_W, STRIDE_H>(dx_of(c), top, left, params.H, params.W, bias_of(c), [&](int h, int column) {
            Acc again = 0;
#pragma unroll 1
            for (int k = 0; k < filters; k++) {
                const Element* weights = w + (k * CHANNELS + c) * KERNEL_H * KERNEL_W;
                again = add_covering(steps, again, dy + (long long)k * plane, weights, h, column, params.P, params.Q);
            }
            return again;
        });
}
