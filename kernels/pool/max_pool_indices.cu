// The position (d * H + h) * W + w in the input volume that each tap stands for, -1 for a window wholly in padding.
// With fewer than three AXES d is 0. The taps of C channels lie side by side: 1 where each channel has a plane.
#include "fast_div.cuh"
#include "taps.cuh"

#ifndef AXES
#define AXES 2
#endif

#ifndef THREADS
#define THREADS 128
#endif

struct Params {
    const Tap* taps;
    long long* indices;
    int size;
    FastDiv P, Q, kernel_w;
    int W, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
    FastDiv Z, kernel_h;
    int H, stride_d, pad_front, dilation_d;
    FastDiv C;
};

extern "C" __global__ void __launch_bounds__(THREADS) max_pool_indices(Params params) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= params.size) return;
    int tap = (int)params.taps[i];
    if (tap == NO_TAP) {
        params.indices[i] = -1;
        return;
    }
    int t = tap, s = split_off(t, params.kernel_w), r = AXES == 3 ? split_off(t, params.kernel_h) : t;
    int rest = quotient(i, params.C), q = split_off(rest, params.Q), p = split_off(rest, params.P);
    int d = AXES == 3 ? split_off(rest, params.Z) * params.stride_d - params.pad_front + t * params.dilation_d : 0;
    int h = p * params.stride_h - params.pad_top + r * params.dilation_h;
    int w = q * params.stride_w - params.pad_left + s * params.dilation_w;
    params.indices[i] = (d * params.H + h) * params.W + w;
}
