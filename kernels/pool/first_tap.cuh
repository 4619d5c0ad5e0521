// Max pooling's first tap of a window, and what threads that share one find. Padding counts as -infinity, which never
// wins, so the first tap stands until a greater element is met.
#ifndef BACKSTRIDE_FIRST_TAP
#define BACKSTRIDE_FIRST_TAP

#include "taps.cuh"
#include "windows.cuh"

// The first tap that lies on the input, along one axis, for a window that starts at `start`; `taps` where none does.
DEVICE int first_inside(int start, int dilation, int taps, int extent) {
    int tap = start >= 0 ? 0 : ceil_div(-start, dilation);
    return tap < taps && start + tap * dilation < extent ? tap : taps;
}

// The first tap on the first slice that lies on the input, for windows of slice z; NO_TAP where none does.
DEVICE int first_tap_of_slices(const Windows& windows, int z) {
#if AXES == 3
    int start = z * (int)windows.stride_d.divisor - windows.pad_front, taps = windows.kernel_d.divisor;
    int t = first_inside(start, windows.dilation_d.divisor, taps, windows.D);
    return t < taps ? t * KERNEL_H * KERNEL_W : NO_TAP;
#else
    return 0;
#endif
}

// The first tap on the input of window (z, p, q); NO_TAP where it has none.
DEVICE int first_tap(const Windows& windows, int z, int p, int q) {
    int first_slice = first_tap_of_slices(windows, z);
    int r = first_inside(p * STRIDE_H - PAD_TOP, DILATION_H, KERNEL_H, windows.H);
    int s = first_inside(q * STRIDE_W - PAD_LEFT, DILATION_W, KERNEL_W, windows.W);
    return first_slice != NO_TAP && r < KERNEL_H && s < KERNEL_W ? first_slice + r * KERNEL_W + s : NO_TAP;
}

// What two threads found in parts of one window, put together by the rules of keep_greater.
DEVICE void merge_greatest(Acc& best, int& tap, Acc other, int other_tap) {
    bool nan = best != best, other_nan = other != other;
    bool tie = nan ? other_nan && other_tap > tap : !greater(best, other) && other_tap < tap;
    if (tie || (other_nan && !nan) || (greater(other, best) && !nan)) {
        best = other;
        tap = other_tap;
    }
}

#endif  // BACKSTRIDE_FIRST_TAP
