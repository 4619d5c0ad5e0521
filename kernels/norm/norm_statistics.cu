// The moments of each part of each group, where groups are too long for the block that normalises them.
#include "moments.cuh"

struct Params {
    const Element* x;
    Moments* partial;
    Groups groups;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) norm_statistics(Params params) {
    Share share = share_of(params.groups);
    Acc shift = shift_of(params.x, params.groups, share.group);
    Moments all = of_lanes(moments_of(params.x, params.groups, share, shift));
    if (share.writes()) params.partial[(long long)share.part * params.groups.number + share.group] = all;
}
