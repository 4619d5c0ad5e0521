// y = gamma (x - mean) / sqrt(var + eps) + beta of a matrix of pixels by channels, the statistics given, then perhaps the
// residual and the activation.
#include "channel_words.cuh"
#include "output.cuh"

struct Params {
    Output output;
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
    for (int pixel = share.first; pixel < share.last; pixel += params.matrix.sharers)
        store_output(params.output, element_of(params.matrix, share, pixel), [&](int j, Acc x) {
            return affine_of(add_rn(x, -of.mean[j]), of.inverse[j], of.gamma[j], of.beta[j]);
        });
}
