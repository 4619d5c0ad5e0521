// y = gamma (x - mean) / sqrt(var + eps) + beta of a matrix of pixels by channels, the statistics given, then perhaps the
// residual and the activation.
#include "channel_words.cuh"

#ifndef RESIDUAL
#define RESIDUAL 0
#define RELU 0
#endif

struct Params {
    const Element* x;
    const Element* residual;
    Element* y;
    const Acc* mean;
    const Acc* var;
    Affine affine;
    Matrix matrix;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) word_normalise(Params params) {
    WordShare share = share_of(params.matrix);
    Channels of;
    of.load(params.mean, params.var, params.affine, share.channel);
#pragma unroll 2
    for (int pixel = share.first; pixel < share.last; pixel += params.matrix.sharers) {
        long long element = element_of(params.matrix, share, pixel);
        Acc y[VEC], residual[VEC];
        load_vector(y, params.x + element);
        if constexpr (RESIDUAL) load_vector(residual, params.residual + element);
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            y[j] = affine_of(add_rn(y[j], -of.mean[j]), of.inverse[j], of.gamma[j], of.beta[j]);
            if constexpr (RESIDUAL) y[j] = add_rn(y[j], residual[j]);
            if constexpr (RELU) y[j] = relu(y[j]);
        }
        store_vector(params.y + element, y);
    }
}
