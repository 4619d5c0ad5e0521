// The elements under the window of a word of outputs, and the windows over a word of inputs, channels last.
#ifndef BACKSTRIDE_PIXEL_WINDOWS
#define BACKSTRIDE_PIXEL_WINDOWS

#include "pixels.cuh"
#include "sharers.cuh"
#include "windows.cuh"

// LANES threads share the window of each of a block's WORDS words, whose neighbours are read side by side.
constexpr int WORDS = THREADS / LANES;

DEVICE int word_index() { return blockIdx.x * WORDS + (LANES == 1 ? threadIdx.x : threadIdx.x % WORDS); }
DEVICE int lane_of_window() { return LANES == 1 ? 0 : threadIdx.x / WORDS; }

// Makes of what the lanes of a window found what their first one has. All of a block call.
template <class Value, class Merge>
DEVICE void merge_lanes(Value& mine, Merge merge) {
    if constexpr (LANES > 1) merge_sharers<THREADS>(LANES, WORDS, lane_of_window(), mine, merge);
}

// y's channels in a row and column, `rows` after x, or `outside` where there are none: no load waits for a branch.
DEVICE void load_tap(Acc (&values)[VEC], const Windows& windows, const Element* x, Word y, int channels, int rows,
                     int h, int w, Acc outside) {
    bool inside = (unsigned)h < (unsigned)windows.H && (unsigned)w < (unsigned)windows.W;
#pragma unroll
    for (int i = 0; i < VEC; i++) values[i] = outside;
    if (inside) load_word(values, x + ((rows + h) * windows.W + w) * channels + y.channel);
}

// Calls visit(tap, values) for every LANES-th tap of y's window, rising. Those on padding have the value `outside`.
template <class Visit>
DEVICE void visit_share(const Windows& windows, const Element* x, Word y, int channels, Acc outside, Visit visit) {
    int top = y.h * STRIDE_H - PAD_TOP, left = y.w * STRIDE_W - PAD_LEFT, taps = KERNEL_H * KERNEL_W;
    if constexpr (AXES == 3) taps *= (int)windows.kernel_d.divisor;
#pragma unroll 4
    for (int tap = lane_of_window(); tap < taps; tap += LANES) {
        int t = tap, s = split_off(t, windows.kernel_w), r = split_off(t, windows.kernel_h), d = 0;
        int h = top + r * DILATION_H, w = left + s * DILATION_W;
        if constexpr (AXES == 3) {
            d = y.d * (int)windows.stride_d.divisor - windows.pad_front + t * (int)windows.dilation_d.divisor;
            if ((unsigned)d >= (unsigned)windows.D) h = -1;
        }
        Acc values[VEC];
        load_tap(values, windows, x, y, channels, slice_at(y.image, d, windows.D) * windows.H, h, w, outside);
        visit(tap, values);
    }
}

// Calls visit(tap, values) for a thread's share of the taps of y's window, rising, but perhaps not for slices in padding.
// Other taps on padding have the value `outside`.
template <class Visit>
DEVICE void visit_window(const Windows& windows, const Element* x, Word y, int channels, Acc outside, Visit visit) {
    constexpr int ROWS_AT_ONCE = UNROLLED ? 9 : 1, COLUMNS_AT_ONCE = UNROLLED ? 9 : 4;
#if LANES > 1
    visit_share(windows, x, y, channels, outside, visit);
#else
    int top = y.h * STRIDE_H - PAD_TOP, left = y.w * STRIDE_W - PAD_LEFT;
    visit_slices(windows, y.d, [&](int d, int first) {
        int rows = slice_at(y.image, d, windows.D) * windows.H;
#pragma unroll ROWS_AT_ONCE
        for (int r = 0; r < KERNEL_H; r++) {
            int h = top + r * DILATION_H;
#pragma unroll COLUMNS_AT_ONCE
            for (int s = 0; s < KERNEL_W; s++) {
                Acc values[VEC];
                load_tap(values, windows, x, y, channels, rows, h, left + s * DILATION_W, outside);
                visit(first + r * KERNEL_W + s, values);
            }
        }
    });
#endif
}

// Calls visit(z, p, q, tap) for the windows that hold x, whose tap lies on it. Most are few: unrolling takes registers.
template <class Visit>
DEVICE void visit_windows_over(const Windows& windows, Word x, Visit visit) {
    int h = x.h + PAD_TOP, w = x.w + PAD_LEFT;
    Covering rows = covering(h, KERNEL_H, windows.stride_h, DILATION_H, windows.P);
    Covering columns = covering(w, KERNEL_W, windows.stride_w, DILATION_W, windows.Q);
    visit_covering_slices(windows, x.d, [&](int z, int first) {
#pragma unroll 1
        for (int p = rows.first; p <= rows.last; p++) {
            int r = h - p * STRIDE_H;
            if (r % DILATION_H != 0) continue;
#pragma unroll 1
            for (int q = columns.first; q <= columns.last; q++) {
                int s = w - q * STRIDE_W;
                if (s % DILATION_W == 0) visit(z, p, q, first + r / DILATION_H * KERNEL_W + s / DILATION_W);
            }
        }
    });
}

// Where y's word of window (z, p, q) stands that has x's channels.
DEVICE int word_of(const Windows& windows, Word x, int z, int p, int q, int channels) {
    return ((slice_at(x.image, z, windows.Z) * windows.P + p) * windows.Q + q) * channels + x.channel;
}

#endif  // BACKSTRIDE_PIXEL_WINDOWS
