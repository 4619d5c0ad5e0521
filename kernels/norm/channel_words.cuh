// Batch normalisation of a matrix of pixels by channels: a thread has a word of VEC neighbouring channels at every so
// many pixels of its block's part, and neighbouring threads have neighbouring words.
#ifndef BACKSTRIDE_CHANNEL_WORDS
#define BACKSTRIDE_CHANNEL_WORDS

#include "norm.cuh"
#include "sharers.cuh"

struct Matrix {
    int pixels, channels, part_pixels;
    FastDiv word_blocks;  // for a part of the pixels
    FastDiv words;        // of a block
    int sharers;          // threads to a word of a block's part
};

// A thread's share: every `sharers`-th pixel of [first, last), none where it has no channels.
struct WordShare {
    int channel, part, sharer, first, last;
    DEVICE bool writes() const { return sharer == 0; }
};

DEVICE WordShare share_of(const Matrix& matrix) {
    int part = blockIdx.x, block = split_off(part, matrix.word_blocks);
    int sharer = threadIdx.x, word = split_off(sharer, matrix.words);
    int channel = (block * (int)matrix.words.divisor + word) * VEC;
    if (channel >= matrix.channels || sharer >= matrix.sharers) return {0, part, matrix.sharers, 0, 0};
    int first = part * matrix.part_pixels;
    return {channel, part, sharer, first + sharer, min(first + matrix.part_pixels, matrix.pixels)};
}

DEVICE long long element_of(const Matrix& matrix, const WordShare& share, int pixel) {
    return (long long)pixel * matrix.channels + share.channel;
}

// The numbers that belong to a word's channels.
DEVICE void load_channels(Acc (&to)[VEC], const Acc* from, int channel, Acc otherwise) {
#pragma unroll
    for (int j = 0; j < VEC; j++) to[j] = from ? from[channel + j] : otherwise;
}

// What does not change from pixel to pixel.
struct Channels {
    Acc mean[VEC], inverse[VEC], gamma[VEC], beta[VEC];

    DEVICE void load(const Acc* means, const Acc* var, const Affine& affine, int channel) {
        load_channels(mean, means, channel, 0);
        load_channels(inverse, var, channel, 0);
        load_channels(gamma, affine.gamma, channel, 1);
        load_channels(beta, affine.beta, channel, 0);
#pragma unroll
        for (int j = 0; j < VEC; j++) inverse[j] = inverse_deviation(inverse[j], affine);
    }
};

// Makes of the sharers' values the first one's. All of a block call.
template <class Value, class Merge>
DEVICE void merge_of_word(const Matrix& matrix, const WordShare& share, Value& mine, Merge merge) {
    merge_sharers<THREADS>(matrix.sharers, matrix.words.divisor, share.sharer, mine, merge);
}

#endif  // BACKSTRIDE_CHANNEL_WORDS
