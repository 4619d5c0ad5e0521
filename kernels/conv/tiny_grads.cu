// dx, dw and db of a tiny convolution by one launch, since launches are what takes the time there: direct loops, no
// tiles, no workspace. The first dx_blocks blocks compute dx, a thread for each element. In the others LANES threads
// share a sum over all windows: every element of dw is one, then every element of db. Sums are made in the same order
// every time.
#include "element.cuh"
#include "fast_div.cuh"

#ifndef THREADS
#define THREADS 128
#define BLOCKS_PER_SM 8
#define LANES 32
#endif

static_assert(LANES <= 32 || LANES == THREADS, "lanes of one warp, or a block with one sum");

struct Params {
    const Element* dy;
    const Element* x;
    const Element* w;
    Element* dx;
    Element* dw;
    Element* db;
    int dx_blocks, dx_size, dw_size, windows, taps, K;
    FastDiv C, H, W, P, Q, R, S, group_channels, group_filters, stride_h, stride_w;
    int dilation_h, dilation_w, pad_top, pad_left;
};

// dx[n, c, h, w]: the windows (p, q) that read it through tap (r, s), over all filters of its group.
DEVICE Acc input_grad(const Params& params, int index) {
    int n = index, w = split_off(n, params.W), h = split_off(n, params.H);
    int group = split_off(n, params.C), c = split_off(group, params.group_channels);
    int filters = params.group_filters.divisor, channels = params.group_channels.divisor;
    int P = params.P.divisor, Q = params.Q.divisor;
    const Element* dy = params.dy + (n * params.K + group * filters) * P * Q;
    const Element* weights = params.w + (group * filters * channels + c) * params.taps;

    Acc sum = 0;
    for (int r = 0; r < (int)params.R.divisor; ++r) {
        int p = h + params.pad_top - r * params.dilation_h;
        if (p < 0) break;
        if (split_off(p, params.stride_h) != 0 || p >= P) continue;
        for (int s = 0; s < (int)params.S.divisor; ++s) {
            int q = w + params.pad_left - s * params.dilation_w;
            if (q < 0) break;
            if (split_off(q, params.stride_w) != 0 || q >= Q) continue;
            const Element* tap = weights + r * params.S.divisor + s;
            for (int k = 0; k < filters; ++k)
                sum = fma_rn(Storage<Element>::load(dy[(k * P + p) * Q + q]),
                             Storage<Element>::load(tap[k * channels * params.taps]), sum);
        }
    }
    return sum;
}

// This lane's part of dw[k, c, r, s].
DEVICE Acc weight_grad(const Params& params, int index, int lane) {
    int k = index, s = split_off(k, params.S), r = split_off(k, params.R), c = split_off(k, params.group_channels);
    int H = params.H.divisor, W = params.W.divisor, channels = params.group_channels.divisor;
    int top = r * params.dilation_h - params.pad_top, left = s * params.dilation_w - params.pad_left;
    int channel = quotient(k, params.group_filters) * channels + c;

    Acc sum = 0;
    for (int i = lane; i < params.windows; i += LANES) {
        int n = i, q = split_off(n, params.Q), p = split_off(n, params.P);
        int h = p * (int)params.stride_h.divisor + top, w = q * (int)params.stride_w.divisor + left;
        if ((unsigned)h >= (unsigned)H || (unsigned)w >= (unsigned)W) continue;
        sum = fma_rn(
            Storage<Element>::load(params.dy[((n * params.K + k) * params.P.divisor + p) * params.Q.divisor + q]),
            Storage<Element>::load(params.x[((n * params.C.divisor + channel) * H + h) * W + w]), sum);
    }
    return sum;
}

// This lane's part of db[k].
DEVICE Acc bias_grad(const Params& params, int k, int lane) {
    int plane = params.P.divisor * params.Q.divisor;
    Acc sum = 0;
    for (int i = lane; i < params.windows; i += LANES) {
        int n = i, q = split_off(n, params.Q), p = split_off(n, params.P);
        sum = add_rn(sum, Storage<Element>::load(params.dy[(n * params.K + k) * plane + p * params.Q.divisor + q]));
    }
    return sum;
}

// The sum of what LANES neighbouring threads hold; all of a block call.
DEVICE Acc add_lanes(Acc sum) {
    for (int mask = (LANES < 32 ? LANES : 32) / 2; mask > 0; mask /= 2) sum = add_rn(sum, shuffle_xor(sum, mask));
    if constexpr (LANES > 32) {
        __shared__ Acc of_warps[THREADS / 32];
        if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
        __syncthreads();
        sum = of_warps[0];
        for (int warp = 1; warp < THREADS / 32; ++warp) sum = add_rn(sum, of_warps[warp]);
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) tiny_grads(Params params) {
    if ((int)blockIdx.x < params.dx_blocks) {
        int index = blockIdx.x * THREADS + threadIdx.x;
        if (index < params.dx_size) params.dx[index] = Storage<Element>::store(input_grad(params, index));
        return;
    }
    int thread = (blockIdx.x - params.dx_blocks) * THREADS + threadIdx.x, index = thread / LANES, lane = thread % LANES;
    int k = index - params.dw_size;
    Acc sum = 0;
    if (k < 0) sum = weight_grad(params, index, lane);
    else if (k < params.K) sum = bias_grad(params, k, lane);
    sum = add_lanes(sum);
    if (lane != 0) return;
    if (k < 0) params.dw[index] = Storage<Element>::store(sum);
    else if (k < params.K) params.db[k] = Storage<Element>::store(sum);
}
