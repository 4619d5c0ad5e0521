// Weights (K, C/groups, [T,] R, S) as conv_input_grad multiplies them, [group][taps][channel][filter, tap], each row
// padded with zeros to `depth` elements: taps first, first + step, ... of each axis, for every first one below `step`,
// are those of one residue class (class_axis.cuh). CHANNELS_LAST: weights (K, [T,] R, S, C/groups), and rows of [tap,
// filter].
#include "element.cuh"
#include "fast_div.cuh"

#ifndef THREADS
#define THREADS 256
#define CHANNELS_LAST 0
#endif

// Along one axis; number: how many first taps there are.
struct ClassTaps {
    FastDiv number;
    int kernel, step;
};

struct Params {
    const Element* w;
    Element* packed;
    int size;
    FastDiv depth, channels, filters;
    ClassTaps along_d, along_h, along_w;
};

// One of the class's taps along an axis, split off from k; first: of the class's.
DEVICE int tap_of(int& k, const ClassTaps& axis, int first) {
    int count = (axis.kernel - first + axis.step - 1) / axis.step, i = k % count;
    k /= count;
    return first + i * axis.step;
}

extern "C" __global__ __launch_bounds__(THREADS) void pack_class_weights(const Params params) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= params.size) return;
    int group = i, k = split_off(group, params.depth), channel = split_off(group, params.channels);
    int first_w = split_off(group, params.along_w.number), first_h = split_off(group, params.along_h.number);
    int first_d = split_off(group, params.along_d.number);
    int filters = params.filters.divisor, channels = params.channels.divisor;
    int filter = CHANNELS_LAST ? split_off(k, params.filters) : 0;
    int s = tap_of(k, params.along_w, first_w), r = tap_of(k, params.along_h, first_h),
        t = tap_of(k, params.along_d, first_d);
    Element weight{};
    if (CHANNELS_LAST && k == 0) {
        int tap = ((group * filters + filter) * params.along_d.kernel + t) * params.along_h.kernel + r;
        weight = params.w[(tap * params.along_w.kernel + s) * channels + channel];
    } else if (!CHANNELS_LAST && k < filters) {
        int from = (group * filters + k) * channels + channel;
        weight = params.w[((from * params.along_d.kernel + t) * params.along_h.kernel + r) * params.along_w.kernel + s];
    }
    params.packed[i] = weight;
}
