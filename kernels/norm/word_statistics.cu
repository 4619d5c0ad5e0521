// The moments of each channel over each part of a matrix of pixels by channels.
#include "channel_words.cuh"
#include "moments.cuh"

struct Params {
    const Element* x;
    Moments* partial;
    Matrix matrix;
};

// Of a word's channels, which have as many elements each. Sums are above the channels' first elements.
struct WordMoments {
    Acc count, sum[VEC], squares[VEC];

    DEVICE void merge(const WordMoments& other) {
        if (other.count == 0) return;
        if (count == 0) {
            *this = other;
            return;
        }
        Acc all = count + other.count, mine = div_rn((Acc)1, count), theirs = div_rn((Acc)1, other.count);
        Acc share = div_rn(count * other.count, all);
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            Acc between = add_rn(mul_rn(other.sum[j], theirs), -mul_rn(sum[j], mine));
            squares[j] = fma_rn(mul_rn(between, between), share, add_rn(squares[j], other.squares[j]));
            sum[j] = add_rn(sum[j], other.sum[j]);
        }
        count = all;
    }
};

DEVICE void shift_of(Acc (&shift)[VEC], const Element* x, int channel) {
    load_vector(shift, x + channel);
#pragma unroll
    for (int j = 0; j < VEC; j++) shift[j] = shift[j] - shift[j] == 0 ? shift[j] : 0;
}

// Of so many pixels, `sharers` apart: first their mean and then the deviations from it.
template <int PIXELS>
DEVICE WordMoments moments_of_pixels(const Params& params, const WordShare& share, int pixel, const Acc (&shift)[VEC]) {
    Acc values[PIXELS][VEC];
    WordMoments of{PIXELS, {}, {}};
#pragma unroll
    for (int i = 0; i < PIXELS; i++)
        load_vector(values[i], params.x + element_of(params.matrix, share, pixel + i * params.matrix.sharers));
#pragma unroll
    for (int j = 0; j < VEC; j++) {
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            values[i][j] = add_rn(values[i][j], -shift[j]);
            of.sum[j] = add_rn(of.sum[j], values[i][j]);
        }
        Acc mean = mul_rn(of.sum[j], (Acc)1 / PIXELS);
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            Acc deviation = add_rn(values[i][j], -mean);
            of.squares[j] = fma_rn(deviation, deviation, of.squares[j]);
        }
    }
    return of;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM) word_statistics(Params params) {
    constexpr int PIXELS = 4;
    WordShare share = share_of(params.matrix);
    int sharers = params.matrix.sharers, pixel = share.first;
    Acc shift[VEC];
    shift_of(shift, params.x, share.channel);
    WordMoments all{0, {}, {}};
#pragma unroll 1
    for (; pixel + (PIXELS - 1) * sharers < share.last; pixel += PIXELS * sharers)
        all.merge(moments_of_pixels<PIXELS>(params, share, pixel, shift));
#pragma unroll 1
    for (; pixel < share.last; pixel += sharers) all.merge(moments_of_pixels<1>(params, share, pixel, shift));
    merge_of_word(params.matrix, share, all, [](WordMoments& mine, const WordMoments& other) { mine.merge(other); });
    if (!share.writes()) return;
#pragma unroll
    for (int j = 0; j < VEC; j++)
        params.partial[(long long)share.part * params.matrix.channels + share.channel + j] =
            Moments{all.count, all.sum[j], all.squares[j]};
}
