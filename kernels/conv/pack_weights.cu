// Weights (K, C/groups, R, S) as [group][tap][filter][channel], the channels padded with zeros to a multiple of a k-tile:
// of the convolution itself, or (GRADIENT) of the one that its input gradient is, with the taps reversed and filters
// and channels exchanged.
#include "primitives.cuh"
#include "fast_div.cuh"

using Element = TYPE;

struct Params;

extern "C" __global__ __launch_bounds__(THREADS) void pack_weights(const Params p) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.size) return;
    int group = i, channel = split_off(group, p.packed_channels), filter = split_off(group, p.filters);
    int tap = split_off(group, p.taps), taps = p.taps.divisor;
    Element weight{};
    if (channel < p.channels) {
        int filters = p.filters.divisor;
#if GRADIENT
        weight = p.w[((group * p.channels + channel) * filters + filter) * taps + taps - 1 - tap];
#else
        weight = p.w[((group * filters + filter) * p.channels + channel) * taps + tap];
#endif
    }
    p.packed[i] = weight;
}
