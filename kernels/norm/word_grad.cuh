// The gradient that reaches a word of channels at a pixel, dz, beside the normalised input.
#ifndef BACKSTRIDE_WORD_GRAD
#define BACKSTRIDE_WORD_GRAD

#include "channel_words.cuh"
#include "norm_grad.cuh"

struct Arriving {
    Gradient gradient;
    const Acc* var;
    Affine affine;
    Matrix matrix;
};

struct ArrivedWord {
    Acc dz[VEC], normalised[VEC];

    DEVICE void load(const Gradient& from, long long element, const Channels& of) {
        Acc y[VEC];
        load_vector(dz, from.dy + element);
        load_vector(normalised, from.x + element);
        if constexpr (MASK == READ) load_vector(y, from.y + element);
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            Acc centred = add_rn(normalised[j], -of.mean[j]);
            if constexpr (MASK == AGAIN) y[j] = affine_of(centred, of.inverse[j], of.gamma[j], of.beta[j]);
            if constexpr (MASK != NOTHING) dz[j] = passes(y[j]) ? dz[j] : 0;
            normalised[j] = mul_rn(centred, of.inverse[j]);
        }
    }
};

// Calls visit(element, word) at every pixel of a thread's share, UNROLL of them at once.
template <int UNROLL, class Visit>
DEVICE void visit_arrived(const Arriving& from, const WordShare& share, const Channels& of, Visit visit) {
#pragma unroll UNROLL
    for (int pixel = share.first; pixel < share.last; pixel += from.matrix.sharers) {
        long long element = element_of(from.matrix, share, pixel);
        ArrivedWord word;
        word.load(from.gradient, element, of);
        visit(element, word);
    }
}

#endif  // BACKSTRIDE_WORD_GRAD
