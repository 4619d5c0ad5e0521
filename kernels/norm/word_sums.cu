// Sums of dz and of dz times the normalised input over each part of a matrix of pixels by channels. On the way it leaves
// the residual's gradient, which is dz, and, where mean and variance do not depend on x, dx.
#include "word_grad.cuh"

#ifndef INFERENCE
#define INFERENCE 0
#endif

struct Params {
    Arriving arriving;
    Acc* dz;  // the sums of each part
    Acc* product;
    Element* dresidual;  // null: none
    Element* dx;
};

struct WordSums {
    Acc dz[VEC], product[VEC];
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) word_sums(Params params) {
    const Arriving& from = params.arriving;
    WordShare share = share_of(from.matrix);
    Channels of;
    of.load(from.gradient.mean, from.var, from.affine, share.channel);
    WordSums sums{};
    visit_arrived<2>(from, share, of, [&](long long element, ArrivedWord& word) {
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
    });
    merge_of_word(from.matrix, share, sums, [](WordSums& mine, const WordSums& other) {
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            mine.dz[j] = add_rn(mine.dz[j], other.dz[j]);
            mine.product[j] = add_rn(mine.product[j], other.product[j]);
        }
    });
    if (!share.writes()) return;
#pragma unroll
    for (int j = 0; j < VEC; j++) {
        long long place = (long long)share.part * from.matrix.channels + share.channel + j;
        params.dz[place] = sums.dz[j];
        params.product[place] = sums.product[j];
    }
}
