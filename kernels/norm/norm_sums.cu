// Sums of dz and of dz times the normalised input over each part of each group. On the way it leaves the residual's
// gradient, which is dz, and, where mean and variance do not depend on x, dx.
#include "norm_grad.cuh"

// OF_RUN: mean and deviation are those of a run, a channel's share of an image; else those of the group.
#ifndef OF_RUN
#define OF_RUN 0
#define INFERENCE 0
#endif

struct Params {
    Gradient gradient;
    const Acc* var;
    const Acc* inverse;  // of a run
    Affine affine;
    Groups groups;
    Acc* dz;  // the sums of each part
    Acc* product;
    Element* dresidual;  // null: none
    Element* dx;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) norm_sums(Params params) {
    const Groups& groups = params.groups;
    const Affine& affine = params.affine;
    Share share = share_of(groups);
    Acc mean = 0, inverse = 0;
    if constexpr (!OF_RUN) {
        mean = params.gradient.mean[share.group];
        inverse = inverse_deviation(params.var[share.group], affine);
    }
    Parameters parameters;
    parameters.of_group(affine, share.group);

    Sums sums{0, 0};
#pragma unroll 1
    for (int i = share.first; i < share.last; i += LANES) {
        Place place = place_of(groups, share.group, i);
        if constexpr (OF_RUN) {
            long long row = (long long)place.run * affine.groups.divisor + quotient(share.group, affine.channels);
            mean = params.gradient.mean[row];
            inverse = params.inverse[row];
        }
        parameters.of_vector(affine, share.group, place.at);
        Arrived vector;
        vector.load(params.gradient, place, parameters, mean, inverse);
        sums.add(vector);
        if (params.dresidual) store_vector(params.dresidual + place.element, vector.dz);
        if constexpr (INFERENCE) {
#pragma unroll
            for (int j = 0; j < VEC; j++) vector.dz[j] = mul_rn(vector.dz[j], mul_rn(parameters.gamma[j], inverse));
            store_vector(params.dx + place.element, vector.dz);
        }
    }
    sums = of_lanes(sums);
    if (!share.writes()) return;
    long long place = (long long)share.part * groups.number + share.group;
    params.dz[place] = sums.dz;
    params.product[place] = sums.product;
}
