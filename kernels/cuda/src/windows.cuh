// Sliding windows, in both directions: visit_windows goes from outputs to the inputs in their windows, visit_covering
// from inputs to the windows that hold them. Pooling, depthwise convolution and their gradients are made of these.
//
// UNROLLED: the window is a compile-time constant, a thread has a tile of TILE_H x TILE_W neighbours, every row is
// loaded once, as vectors, and every tap is known at compile time. Otherwise any window: a tile of outputs is 1 x 1, a
// tile of inputs 1 x TILE_W, and LANES threads share the rows of a window, each visiting every LANES-th word of them.
//
// Where AXES is 3 each of these is done slice by slice: a volume's windows are those of its planes, and along its depth
// visit_slices and visit_covering_slices say which of them belong to a tile. With fewer axes there is one slice.
//
// #defines (windows.py): DILATION (_H, _W), and where UNROLLED also KERNEL, STRIDE (_H, _W), PAD_TOP, PAD_LEFT, which
// otherwise are fields of the Windows in scope, `windows`, as all of depth are. VEC_X and VEC_Y are the elements of a
// load or store in rows of W and of Q.
#ifndef BACKSTRIDE_WINDOWS
#define BACKSTRIDE_WINDOWS

#include "rows.cuh"
#include "fast_div.cuh"

#ifndef UNROLLED
#define AXES 2
#define UNROLLED 0
#define THREADS 128
#define BLOCKS_PER_SM 2
#define LANES 1
#define TILE_H 1
#define TILE_W 1
#define VEC_X 1
#define VEC_Y 1
#endif

#ifndef DILATION_H
#define DILATION_H ((int)windows.dilation_h.divisor)
#define DILATION_W ((int)windows.dilation_w.divisor)
#endif

#ifndef KERNEL_H
#define KERNEL_H ((int)windows.kernel_h.divisor)
#define KERNEL_W ((int)windows.kernel_w.divisor)
#define STRIDE_H ((int)windows.stride_h.divisor)
#define STRIDE_W ((int)windows.stride_w.divisor)
#define PAD_TOP (windows.pad_top)
#define PAD_LEFT (windows.pad_left)
#endif

// D x H x W inputs, Z x P x Q outputs and the windows between them. What belongs to the depth comes last: the compiler
// then makes the same code of the rest as without it.
struct Windows {
    int H, W, P, Q;
    FastDiv kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int pad_top, pad_left;
    int D, Z;
    FastDiv kernel_d, stride_d, dilation_d;
    int pad_front;
};

// The tiles of all volumes, and of one: slices, and of each its rows and columns.
struct Tiles {
    int number;
    FastDiv rows, columns, slices;
};

// Which tile this thread has a part in, and where that tile lies: its volume, slice, first row and first column. With
// fewer than three axes a volume is a plane.
DEVICE int tile_index() { return blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES; }

// The value of another of the LANES threads that share this thread's tile. Those of other tiles may have ended.
template <class T>
DEVICE T other_lane(T x, int mask) {
    unsigned sharing = (0xffffffffu >> (32 - LANES)) << (threadIdx.x % 32 / LANES * LANES);
    return __shfl_xor_sync(sharing, x, mask);
}

struct Tile {
    int plane, d, h, w;
};

DEVICE Tile tile_at(int index, const Tiles& tiles) {
    int column = split_off(index, tiles.columns), row = split_off(index, tiles.rows);
    int slice = AXES == 3 ? split_off(index, tiles.slices) : 0;
    return {index, slice, row * TILE_H, column * TILE_W};
}

// Where slice d of one of many volumes stands among all slices.
DEVICE int slice_at(int volume, int d, int depth) { return AXES == 3 ? volume * depth + d : volume; }

DEVICE constexpr int floor_div(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
DEVICE constexpr int ceil_div(int a, int b) { return -floor_div(-a, b); }

// The tap that lies `distance` behind a window's start, or -1.
DEVICE constexpr int tap_at(int distance, int dilation, int taps) {
    return distance >= 0 && distance % dilation == 0 && distance / dilation < taps ? distance / dilation : -1;
}

// Calls visit(d, tap) for each slice of x under the windows of slice z of y; `tap` is the first tap that lies on it.
template <class Visit>
DEVICE void visit_slices(const Windows& windows, int z, Visit visit) {
#if AXES == 3
    int taps = windows.kernel_d.divisor, d = z * (int)windows.stride_d.divisor - windows.pad_front;
    for (int t = 0; t < taps; t++, d += windows.dilation_d.divisor)
        if ((unsigned)d < (unsigned)windows.D) visit(d, t * KERNEL_H * KERNEL_W);
#else
    visit(0, 0);
#endif
}

// The first and last window, along one axis, that may hold the padded position i.
struct Covering {
    int first, last;
};

DEVICE Covering covering(int i, int kernel, FastDiv stride, int dilation, int windows) {
    int beyond_reach = i - (kernel - 1) * dilation + (int)stride.divisor - 1;
    return {quotient(max(beyond_reach, 0), stride), min(quotient(i, stride), windows - 1)};
}

// Calls visit(z, tap) for each slice of y with windows over slice d of x; `tap` is the first of theirs that lies on it.
template <class Visit>
DEVICE void visit_covering_slices(const Windows& windows, int d, Visit visit) {
#if AXES == 3
    d += windows.pad_front;
    int dilation = windows.dilation_d.divisor;
    Covering slices = covering(d, windows.kernel_d.divisor, windows.stride_d, dilation, windows.Z);
    for (int z = slices.first; z <= slices.last; z++) {
        int t = d - z * (int)windows.stride_d.divisor, between = split_off(t, windows.dilation_d);
        if (between == 0) visit(z, t * KERNEL_H * KERNEL_W);
    }
#else
    visit(0, 0);
#endif
}

#if UNROLLED

// Calls visit(t, j, r, s, value) for output (p + t, q + j) of the tile and tap (r, s) of its window, rising in (r, s)
// for each output. Taps on padding have the value `outside`.
template <class Visit>
DEVICE void visit_windows(const Windows& windows, const Element* x, int p, int q, Acc outside, Visit visit) {
    constexpr int ROWS = (TILE_H - 1) * STRIDE_H + (KERNEL_H - 1) * DILATION_H + 1;
    constexpr int COLUMNS = (TILE_W - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 1;
    constexpr int SKEW = (VEC_X - PAD_LEFT % VEC_X) % VEC_X;
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        Acc row[COLUMNS];
        load_row<VEC_X, SKEW>(row, x, p * STRIDE_H - PAD_TOP + i, q * STRIDE_W - PAD_LEFT, windows.H, windows.W,
                              outside);
#pragma unroll
        for (int t = 0; t < TILE_H; t++) {
            int r = tap_at(i - t * STRIDE_H, DILATION_H, KERNEL_H);
#pragma unroll
            for (int j = 0; r >= 0 && j < TILE_W; j++)
#pragma unroll
                for (int s = 0; s < KERNEL_W; s++) visit(t, j, r, s, row[j * STRIDE_W + s * DILATION_W]);
        }
    }
}

// A tile's extents are multiples of the stride, so the windows that reach it lie the same way around every tile:
// they are COVERING_H x COVERING_W, and the first is FIRST_P and FIRST_Q after tile start / stride.
constexpr int FIRST_P = ceil_div(PAD_TOP - (KERNEL_H - 1) * DILATION_H, STRIDE_H);
constexpr int FIRST_Q = ceil_div(PAD_LEFT - (KERNEL_W - 1) * DILATION_W, STRIDE_W);
constexpr int COVERING_H = floor_div(TILE_H - 1 + PAD_TOP, STRIDE_H) - FIRST_P + 1;
constexpr int COVERING_W = floor_div(TILE_W - 1 + PAD_LEFT, STRIDE_W) - FIRST_Q + 1;
constexpr int COVERING_SKEW = FIRST_Q - floor_div(FIRST_Q, VEC_Y) * VEC_Y;

// Calls load(p, q) for each row of windows that reach the tile at (h, w), then visit(t, j, r, s, k) where tap (r, s) of
// window (p, q + k) is input (h + t, w + j). Windows (p, q) that do not exist are visited too.
template <class Load, class Visit>
DEVICE void visit_covering(const Windows& windows, int h, int w, Load load, Visit visit) {
#pragma unroll
    for (int u = 0; u < COVERING_H; u++) {
        load(h / STRIDE_H + FIRST_P + u, w / STRIDE_W + FIRST_Q);
#pragma unroll
        for (int t = 0; t < TILE_H; t++) {
            int r = tap_at(t + PAD_TOP - (FIRST_P + u) * STRIDE_H, DILATION_H, KERNEL_H);
#pragma unroll
            for (int j = 0; r >= 0 && j < TILE_W; j++)
#pragma unroll
                for (int k = 0; k < COVERING_W; k++) {
                    int s = tap_at(j + PAD_LEFT - (FIRST_Q + k) * STRIDE_W, DILATION_W, KERNEL_W);
                    if (s >= 0) visit(t, j, r, s, k);
                }
        }
    }
}

#else  // any window

// As above, but this thread's share of the taps, and none that lie on padding. Where VEC_X is not 1, windows begin and
// end with whole words.
template <class Visit>
DEVICE void visit_windows(const Windows& windows, const Element* x, int p, int q, Acc, Visit visit) {
    int h = p * STRIDE_H - PAD_TOP, left = q * STRIDE_W - PAD_LEFT;
    for (int r = 0; r < KERNEL_H; r++, h += DILATION_H) {
        if ((unsigned)h >= (unsigned)windows.H) continue;
#pragma unroll 4
        for (int s = threadIdx.x % LANES * VEC_X; s < KERNEL_W; s += LANES * VEC_X) {
            int w = left + s * DILATION_W;
            if ((unsigned)w >= (unsigned)windows.W) continue;
            auto word = *(const Vec<Element, VEC_X>*)(x + h * windows.W + w);
#pragma unroll
            for (int i = 0; i < VEC_X; i++) visit(0, 0, r, s + i, Storage<Element>::load(word.at[i]));
        }
    }
}

constexpr int COVERING_W = 1, COVERING_SKEW = 0;

// As above, but only for windows that exist.
template <class Load, class Visit>
DEVICE void visit_covering(const Windows& windows, int h, int w, Load load, Visit visit) {
    h += PAD_TOP;
    w += PAD_LEFT;
    Covering rows = covering(h, KERNEL_H, windows.stride_h, DILATION_H, windows.P);
    int first = covering(w, KERNEL_W, windows.stride_w, DILATION_W, windows.Q).first;
    int last = covering(w + TILE_W - 1, KERNEL_W, windows.stride_w, DILATION_W, windows.Q).last;
    for (int p = rows.first; p <= rows.last; p++) {
        int r = h - p * STRIDE_H;
        if (r % DILATION_H != 0) continue;
        for (int q = first; q <= last; q++) {
            load(p, q);
#pragma unroll
            for (int j = 0; j < TILE_W; j++) {
                int s = w + j - q * STRIDE_W;
                if (s < 0 || s % DILATION_W != 0 || s / DILATION_W >= KERNEL_W) continue;
                visit(0, j, r / DILATION_H, s / DILATION_W, 0);
            }
        }
    }
}

#endif

#endif  // BACKSTRIDE_WINDOWS
