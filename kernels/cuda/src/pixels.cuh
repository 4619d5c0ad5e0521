// Images whose channels come last: a thread has a word of VEC neighbouring channels at one pixel, or at a tile of them,
// and neighbouring threads have neighbouring words.
#ifndef BACKSTRIDE_PIXELS
#define BACKSTRIDE_PIXELS

#include "element.cuh"
#include "fast_div.cuh"

#ifndef VEC
#define AXES 2
#define VEC 1
#endif

// The words of all images, and of one: slices of rows of columns of a pixel's words. With fewer than three axes an
// image is one slice.
struct Pixels {
    int number;
    FastDiv words, columns, rows, slices;
};

struct Word {
    int image, d, h, w, channel;
};

DEVICE Word word_at(int index, const Pixels& pixels) {
    int channel = split_off(index, pixels.words) * VEC, column = split_off(index, pixels.columns);
    int row = split_off(index, pixels.rows), slice = AXES == 3 ? split_off(index, pixels.slices) : 0;
    return {index, slice, row, column, channel};
}

template <class Value, class T>
DEVICE void load_word(Value (&values)[VEC], const T* at) {
    auto word = *(const Vec<T, VEC>*)at;
#pragma unroll
    for (int i = 0; i < VEC; i++) values[i] = Storage<T>::load(word.at[i]);
}

template <class Value, class T>
DEVICE void store_word(const Value (&values)[VEC], T* at) {
    Vec<T, VEC> word;
#pragma unroll
    for (int i = 0; i < VEC; i++) word.at[i] = Storage<T>::store(values[i]);
    *(Vec<T, VEC>*)at = word;
}

#endif  // BACKSTRIDE_PIXELS
