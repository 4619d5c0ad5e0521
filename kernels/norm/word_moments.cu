// Mean and variance of each channel from the moments of parts that word_statistics has left: a warp to a channel.
#include "moments.cuh"

struct Params {
    const Element* x;
    const Moments* partial;
    int parts, channels;
    Acc* mean;
    Acc* var;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) word_moments(Params params) {
    int channel = blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    Moments all{0, 0, 0};
    if (channel < params.channels) {
#pragma unroll 1
        for (int part = threadIdx.x % LANES; part < params.parts; part += LANES)
            all = merged(all, params.partial[(long long)part * params.channels + channel]);
    }
    all = of_lanes(all);
    if (channel >= params.channels || threadIdx.x % LANES != 0) return;
    Acc first = Storage<Element>::load(params.x[channel]), shift = first - first == 0 ? first : 0;
    params.mean[channel] = add_rn(shift, all.mean());
    params.var[channel] = all.var();
}
