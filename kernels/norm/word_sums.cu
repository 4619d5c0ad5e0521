// Sums of dz and of dz times the normalised input over each part of a matrix of pixels by channels. On the way it leaves
// the residual's gradient, which is dz, and, where mean and variance do not depend on x, dx.
#include "word_grad.cuh"

#ifndef INFERENCE
#define INFERENCE 0
#endif

struct Params {
    Gradient gradient;
    const Acc* var;
    Affine affine;
    Matrix matrix;
    Acc* dz;  // the sums of each part
    Acc* product;
    Element* dresidual;  // null: none
    Element* dx;
};

struct WordSums {
    Acc dz[VEC], product[VEC];
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) word_sums(Params params) {
    WordShare share = share_of(params.matrix);
    Channels of;
    of.load(params.gradient.mean, params.var, params.affine, share.channel);
    WordSums sums{};
#pragma unroll 2
    for (int pixel = share.first; pixel < share.last; pixel += params.matrix.sharers) {
        long long element = element_of(params.matrix, share, pixel);
        ArrivedWord word;
        word.load(params.gradient, element, of);
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            sums.dz[j] = add_rn(sums.dz[j], word.dz[j]);
            sums.product[j] = fma_rn(word.dz[j], word.normalised[j], sums.product[j]);
        }
        if (params.dresidual) store_vector(params.dresidual + element, word.dz);
        if constexpr (INFERENCE) {
#pragma unroll
            for (int j = 0; j < VEC; j++) word.dz[j] = mul_rn(word.dz[j], mul_rn(of.gamma[j], of.inverse[j]));
            store_vector(params.dx + element, word.dz);
        }
    }
    merge_sharers(params.matrix, share.sharer, sums, [](WordSums& mine, const WordSums& other) {
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            mine.dz[j] = add_rn(mine.dz[j], other.dz[j]);
            mine.product[j] = add_rn(mine.product[j], other.product[j]);
        }
    });
    if (!share.writes()) return;
#pragma unroll
    for (int j = 0; j < VEC; j++) {
        long long place = (long long)share.part * params.matrix.channels + share.channel + j;
        params.dz[place] = sums.dz[j];
        params.product[place] = sums.product[j];
    }
}
