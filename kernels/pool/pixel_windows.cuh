// The elements under the window of a word of outputs, and the windows over a word of inputs, channels last.
#ifndef BACKSTRIDE_PIXEL_WINDOWS
#define BACKSTRIDE_PIXEL_WINDOWS

#include "pixels.cuh"
#include "windows.cuh"

// Calls visit(tap, values) for the taps of y's window, rising, but for slices in padding. Other taps on padding have the
// value `outside`: no load waits for a branch.
template <class Visit>
DEVICE void visit_window(const Windows& windows, const Element* x, Word y, int channels, Acc outside, Visit visit) {
    constexpr int ROWS_AT_ONCE = UNROLLED ? 9 : 1, COLUMNS_AT_ONCE = UNROLLED ? 9 : 4;
    int top = y.h * STRIDE_H - PAD_TOP, left = y.w * STRIDE_W - PAD_LEFT;
    visit_slices(windows, y.d, [&](int d, int first) {
        int rows = slice_at(y.image, d, windows.D) * windows.H;
#pragma unroll ROWS_AT_ONCE
        for (int r = 0; r < KERNEL_H; r++) {
            int h = top + r * DILATION_H;
#pragma unroll COLUMNS_AT_ONCE
            for (int s = 0; s < KERNEL_W; s++) {
                int w = left + s * DILATION_W;
                bool inside = (unsigned)h < (unsigned)windows.H && (unsigned)w < (unsigned)windows.W;
                Acc values[VEC];
#pragma unroll
                for (int i = 0; i < VEC; i++) values[i] = outside;
                if (inside) load_word(values, x + ((rows + h) * windows.W + w) * channels + y.channel);
                visit(first + r * KERNEL_W + s, values);
            }
        }
    });
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
