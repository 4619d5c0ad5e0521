// The position h * W + w in the input plane that each tap stands for, -1 for a window wholly in padding.
#include "fast_div.cuh"

using Tap = TAP;

struct Params;

extern "C" __global__ void __launch_bounds__(THREADS) max_pool2d_indices(Params params) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= params.size) return;
    int tap = (int)params.taps[i];
    if (tap == NO_TAP) {
        params.indices[i] = -1;
        return;
    }
    int r = tap, s = split_off(r, params.kernel_w);
    int row = i, q = split_off(row, params.columns), p = split_off(row, params.rows);
    int h = p * (int)params.stride_h.divisor - params.pad_top + r * (int)params.dilation_h.divisor;
    int w = q * (int)params.stride_w.divisor - params.pad_left + s * (int)params.dilation_w.divisor;
    params.indices[i] = h * params.W + w;
}
