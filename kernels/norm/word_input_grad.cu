// dx = gamma (dz - mean of dz - z mean of dz z) / sqrt(var + eps) of a matrix of pixels by channels, z the normalised
// input; the sums that the means are of are dbeta and dgamma.
#include "word_grad.cuh"

struct Params {
    Arriving arriving;
    const Acc* dgamma;
    const Acc* dbeta;
    Element* dx;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) word_input_grad(Params params) {
    const Arriving& from = params.arriving;
    WordShare share = share_of(from.matrix);
    Channels of;
    of.load(from.gradient.mean, from.var, from.affine, share.channel);
    Acc of_dz[VEC], of_product[VEC];
#pragma unroll
    for (int j = 0; j < VEC; j++) {
        of_dz[j] = div_rn(params.dbeta[share.channel + j], (Acc)from.matrix.pixels);
        of_product[j] = div_rn(params.dgamma[share.channel + j], (Acc)from.matrix.pixels);
    }
    visit_arrived<1>(from, share, of, [&](long long element, ArrivedWord& word) {
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            Acc dx = add_rn(add_rn(word.dz[j], -of_dz[j]), -mul_rn(word.normalised[j], of_product[j]));
            word.dz[j] = mul_rn(dx, mul_rn(of.gamma[j], of.inverse[j]));
        }
        store_vector(params.dx + element, word.dz);
    });
}
