// Depthwise convolution of images whose channels come last: a thread has a word of VEC neighbouring filters and goes down
// TILE_H rows of TILE_W neighbouring pixels, whose windows share most of their rows. A filter k sees channel
// k / multiplier; VEC is 1 where that is not k. Weights are [tap][filter].
#ifndef BACKSTRIDE_DEPTHWISE_WORDS
#define BACKSTRIDE_DEPTHWISE_WORDS

#include "pixels.cuh"
#include "windows.cuh"

DEVICE void add_products(Acc (&sum)[VEC], const Acc (&a)[VEC], const Acc (&b)[VEC]) {
#pragma unroll
    for (int i = 0; i < VEC; i++) sum[i] = fma_rn(a[i], b[i], sum[i]);
}

DEVICE void add_products(Acc (&sum)[VEC], const Acc (&values)[VEC], const Element* weights) {
    Acc w[VEC];
    load_word(w, weights);
    add_products(sum, values, w);
}

DEVICE void add_words(Acc (&sum)[VEC], const Acc (&other)[VEC]) {
#pragma unroll
    for (int i = 0; i < VEC; i++) sum[i] = add_rn(sum[i], other[i]);
}

DEVICE bool has_nan(const Acc (&values)[VEC]) {
    bool nan = false;
#pragma unroll
    for (int i = 0; i < VEC; i++) nan |= values[i] != values[i];
    return nan;
}

// The word in this column of a row of `width` pixels, or zeros where there is none.
DEVICE void load_pixel(Acc (&values)[VEC], const Element* row, int channels, int column, int width) {
#pragma unroll
    for (int i = 0; i < VEC; i++) values[i] = 0;
    if ((unsigned)column < (unsigned)width) load_word(values, row + column * channels);
}

// Calls visit(s, values) for the words of a row of x under window q, rising.
template <class Visit>
DEVICE void visit_taps(const Windows& windows, const Element* row, int channels, int q, Visit visit) {
    constexpr int AT_ONCE = UNROLLED ? 1 : 4;
    int left = q * STRIDE_W - PAD_LEFT;
#pragma unroll AT_ONCE
    for (int s = 0; s < KERNEL_W; s++) {
        int w = left + s * DILATION_W;
        if ((unsigned)w >= (unsigned)windows.W) continue;
        Acc values[VEC];
        load_word(values, row + w * channels);
        visit(s, values);
    }
}

// Calls visit(j, s, values) for the words of a row of x that are tap s of window q + j, rising in s for each j. UNROLLED,
// those on padding are zeros.
template <class Visit>
DEVICE void visit_row(const Windows& windows, const Element* row, int channels, int q, Visit visit) {
#if UNROLLED
    constexpr int COLUMNS = (TILE_W - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 1;
#pragma unroll
    for (int k = 0; k < COLUMNS; k++) {
        Acc values[VEC];
        load_pixel(values, row, channels, q * STRIDE_W - PAD_LEFT + k, windows.W);
#pragma unroll
        for (int j = 0; j < TILE_W; j++) {
            int s = tap_at(k - j * STRIDE_W, DILATION_W, KERNEL_W);
            if (s >= 0) visit(j, s, values);
        }
    }
#else
    visit_taps(windows, row, channels, q, [&](int s, const Acc(&values)[VEC]) { visit(0, s, values); });
#endif
}

// Stores a thread's tile of an image of rows and columns, `to` its word at the first pixel: add_row(sums, row) adds the
// products of TILE_W pixels from column `first` on, add_pixel(sum, row, column) of one pixel, but only those that exist.
template <class AddRow, class AddPixel>
DEVICE void store_tile(Word word, int rows, int columns, Element* to, int channels, const Element* b, AddRow add_row,
                       AddPixel add_pixel) {
    Acc bias[VEC] = {};
    if (b) load_word(bias, b + word.channel);
    int first = word.w * TILE_W;
#pragma unroll 1
    for (int row = word.h * TILE_H; row < min((word.h + 1) * TILE_H, rows); row++) {
        auto store = [&](Acc(&sum)[VEC], int column) {
            add_words(sum, bias);
            if (column < columns) store_word(sum, to + (row * columns + column) * channels);
        };
        Acc sums[TILE_W][VEC] = {};
        add_row(sums, row);
        bool nan = false;
#pragma unroll
        for (int j = 0; j < TILE_W; j++) {
            nan |= has_nan(sums[j]);
            store(sums[j], first + j);
        }
#if UNROLLED
        // What lies outside was multiplied as zero, and 0 * inf is NaN: the row is added again without it.
#pragma unroll 1
        for (int column = first; nan && column < min(first + TILE_W, columns); column++) {
            Acc again[VEC] = {};
            add_pixel(again, row, column);
            store(again, column);
        }
#endif
    }
}

#endif  // BACKSTRIDE_DEPTHWISE_WORDS
