// Weights (K, C/groups, R, S) as [group][tap][filter][channel], the channels padded with zeros to a multiple of a
// k-tile: of the convolution itself, or (GRADIENT) of the one that its input gradient is, with the taps reversed and
// filters and channels exchanged.
#include "element.cuh"
#include "fast_div.cuh"

#ifndef THREADS
#define THREADS 256
#define GRADIENT 0
#endif

struct Params {
    const Element* w;
    Element* packed;
    int size, channels;
    FastDiv packed_channels, filters, taps;
};

extern "C" __global__ __launch_bounds__(THREADS) void pack_weights(const Params params) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= params.size) return;
    int group = i, channel = split_off(group, params.packed_channels), filter = split_off(group, params.filters);
    int tap = split_off(group, params.taps), taps = params.taps.divisor;
    Element weight{};
    if (channel < params.channels) {
        int filters = params.filters.divisor;
#if GRADIENT
        weight = params.w[((group * params.channels + channel) * filters + filter) * taps + taps - 1 - tap];
#else
        weight = params.w[((group * filters + filter) * params.channels + channel) * taps + tap];
#endif
    }
    params.packed[i] = weight;
}
