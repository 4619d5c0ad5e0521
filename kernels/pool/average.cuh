// What average pooling divides a window's sum by.

// The extent of a window that starts at `start`, clipped to [begin, end): the input with or without its padding.
DEVICE int clipped(int start, int kernel, int begin, int end) { return min(start + kernel, end) - max(start, begin); }

DEVICE Acc divisor_of(const Params& params, int p, int q) {
    if (params.divisor != 0) return (Acc)params.divisor;
    int rows = clipped(p * STRIDE_H - PAD_TOP, KERNEL_H, params.begin_h, params.end_h);
    int columns = clipped(q * STRIDE_W - PAD_LEFT, KERNEL_W, params.begin_w, params.end_w);
    return (Acc)rows * (Acc)columns;
}
