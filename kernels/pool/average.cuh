// What average pooling divides a window's sum by.
#ifndef BACKSTRIDE_AVERAGE
#define BACKSTRIDE_AVERAGE

#include "windows.cuh"

// `divisor`, or where that is 0 each window's elements in [begin, end): the input with or without its padding.
struct Average {
    int begin_h, end_h, begin_w, end_w;
    double divisor;
    int begin_d, end_d;
};

// The extent of a window that starts at `start`, clipped to [begin, end).
DEVICE int clipped(int start, int kernel, int begin, int end) { return min(start + kernel, end) - max(start, begin); }

DEVICE Acc divisor_of(const Windows& windows, const Average& average, int z, int p, int q) {
    if (average.divisor != 0) return (Acc)average.divisor;
    int rows = clipped(p * STRIDE_H - PAD_TOP, KERNEL_H, average.begin_h, average.end_h);
    int columns = clipped(q * STRIDE_W - PAD_LEFT, KERNEL_W, average.begin_w, average.end_w);
#if AXES == 3
    int start = z * (int)windows.stride_d.divisor - windows.pad_front;
    int slices = clipped(start, windows.kernel_d.divisor, average.begin_d, average.end_d);
    return (Acc)slices * (Acc)rows * (Acc)columns;
#else
    return (Acc)rows * (Acc)columns;
#endif
}

#endif  // BACKSTRIDE_AVERAGE
