// The position h * W + w in the input plane that each tap stands for, -1 for a window wholly in padding.
#include "fast_div.cuh"
#include "taps.cuh"

#ifndef THREADS
#define THREADS 128
#endif

struct Params {
    const Tap* taps;
    long long* indices;
    int size;
    FastDiv P, Q, kernel_w;
    int W, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
};

extern "C" __global__ void __launch_bounds__(THREADS) max_pool2d_indices(Params params) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= params.size) return;
    int tap = (int)params.taps[i];
    if (tap == NO_TAP) {
        params.indices[i] = -1;
        return;
    }
    int r = tap, s = split_off(r, params.kernel_w);
    int row = i, q = split_off(row, params.Q), p = split_off(row, params.P);
    int h = p * params.stride_h - params.pad_top + r * params.dilation_h;
    int w = q * params.stride_w - params.pad_left + s * params.dilation_w;
    params.indices[i] = h * params.W + w;
}
