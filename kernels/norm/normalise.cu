// y = gamma (x - mean) / sqrt(var + eps) + beta, then perhaps the residual and the activation. The statistics are
// given, or are x's own: from this group's whole in this block, or from parts that norm_statistics has left.
#include "moments.cuh"
#include "output.cuh"

#define GIVEN 0
#define WHOLE 1
#define PARTS 2

#ifndef STATISTICS
#define STATISTICS WHOLE
#endif

struct Params {
    Output output;
    Acc* mean;  // read where they are given, else written
    Acc* var;
    const Moments* partial;
    int parts;
    Affine affine;
    Groups groups;
};

DEVICE Moments merged_parts(const Params& params, const Share& share) {
    Moments all{0, 0, 0};
    if (!share.inside) return all;
#pragma unroll 1
    for (int part = threadIdx.x % LANES; part < params.parts; part += LANES)
        all = merged(all, params.partial[(long long)part * params.groups.number + share.group]);
    return all;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) normalise(Params params) {
    const Groups& groups = params.groups;
    const Affine& affine = params.affine;
    Share share = share_of(groups);
    Acc mean, var;
    if constexpr (STATISTICS == GIVEN) {
        mean = params.mean[share.group];
        var = params.var[share.group];
    } else {
        const Element* x = params.output.x;
        Acc shift = shift_of(x, groups, share.group);
        Moments all = of_lanes(STATISTICS == WHOLE ? moments_of(x, groups, share, shift) : merged_parts(params, share));
        mean = add_rn(shift, all.mean());
        var = all.var();
        if (share.writes() && share.part == 0) {
            params.mean[share.group] = mean;
            params.var[share.group] = var;
        }
    }
    Acc inverse = inverse_deviation(var, affine);
    Parameters parameters;
    parameters.of_group(affine, share.group);

#pragma unroll 2
    for (int i = share.first; i < share.last; i += LANES) {
        Place place = place_of(groups, share.group, i);
        parameters.of_vector(affine, share.group, place.at);
        store_output(params.output, place.element, [&](int j, Acc x) {
            return affine_of(add_rn(x, -mean), inverse, parameters.gamma[j], parameters.beta[j]);
        });
    }
}
