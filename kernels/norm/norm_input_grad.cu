// dx = gamma (dz - mean of dz - z mean of dz z) / sqrt(var + eps), z the normalised input. The means are over a group:
// from the whole of it in this block, or from the sums of parts that norm_sums has left.
#include "norm_grad.cuh"

#ifndef IN_PARTS
#define IN_PARTS 0
#endif

struct Params {
    Gradient gradient;
    const Acc* var;
    Affine affine;
    Groups groups;
    double count;  // elements of a group
    int parts;
    const Acc* dz;  // the sums of each part
    const Acc* product;
    Element* dx;
    Element* dresidual;  // null: none
    Acc* dgamma;         // of each group, null: not wanted
    Acc* dbeta;
    Acc* inverse;
};

DEVICE Sums sums_of_parts(const Params& params, const Share& share) {
    Sums sums{0, 0};
    if (!share.inside) return sums;
    for (int part = threadIdx.x % LANES; part < params.parts; part += LANES) {
        long long place = (long long)part * params.groups.number + share.group;
        sums.add(Sums{params.dz[place], params.product[place]});
    }
    return sums;
}

DEVICE Sums sums_of_group(const Params& params, const Share& share, Parameters parameters, Acc mean, Acc inverse) {
    Sums sums{0, 0};
#pragma unroll 2
    for (int i = share.first; i < share.last; i += LANES) {
        Place place = place_of(params.groups, share.group, i);
        parameters.of_vector(params.affine, share.group, place.at);
        Arrived vector;
        vector.load(params.gradient, place, parameters, mean, inverse);
        sums.add(vector);
        if (params.dresidual) store_vector(params.dresidual + place.element, vector.dz);
    }
    return sums;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) norm_input_grad(Params params) {
    const Groups& groups = params.groups;
    const Affine& affine = params.affine;
    Share share = share_of(groups);
    Acc mean = params.gradient.mean[share.group], inverse = inverse_deviation(params.var[share.group], affine);
    Parameters parameters;
    parameters.of_group(affine, share.group);

    Sums sums =
        of_lanes(IN_PARTS ? sums_of_parts(params, share) : sums_of_group(params, share, parameters, mean, inverse));
    if (share.writes() && share.part == 0) {
        if (params.dgamma) params.dgamma[share.group] = sums.product;
        if (params.dbeta) params.dbeta[share.group] = sums.dz;
        if (params.inverse) params.inverse[share.group] = inverse;
    }
    Acc of_dz = div_rn(sums.dz, (Acc)params.count), of_product = div_rn(sums.product, (Acc)params.count);

#pragma unroll 2
    for (int i = share.first; i < share.last; i += LANES) {
        Place place = place_of(groups, share.group, i);
        parameters.of_vector(affine, share.group, place.at);
        Arrived vector;
        vector.load(params.gradient, place, parameters, mean, inverse);
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            Acc scale = CHANNELS == 0 ? mul_rn(parameters.gamma[j], inverse) : inverse;
            Acc dx = add_rn(add_rn(vector.dz[j], -of_dz), -mul_rn(vector.normalised[j], of_product));
            vector.dz[j] = mul_rn(dx, scale);
        }
        store_vector(params.dx + place.element, vector.dz);
    }
}
