// Elements that padding spoiled: kernels with a constant window multiply what lies outside a plane as zero, and 0 * inf
// is NaN. Where they stored NaN, the products are added again, one by one, but only those that exist.
#ifndef BACKSTRIDE_MEND
#define BACKSTRIDE_MEND

#include "element.cuh"

// How windows lie on a plane, in constants.
struct Steps {
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left;
};

DEVICE Acc add_product(Acc sum, Element a, Element b) {
    return fma_rn(Storage<Element>::load(a), Storage<Element>::load(b), sum);
}

// Adds a plane of x under window (p, q) times the window's weights.
DEVICE Acc add_window(Steps g, Acc sum, const Element* x, const Element* w, int p, int q, int H, int W) {
#pragma unroll 1
    for (int tap = 0; tap < g.kernel_h * g.kernel_w; tap++) {
        int row = p * g.stride_h - g.top + tap / g.kernel_w * g.dilation_h;
        int column = q * g.stride_w - g.left + tap % g.kernel_w * g.dilation_w;
        if ((unsigned)row < (unsigned)H && (unsigned)column < (unsigned)W)
            sum = add_product(sum, x[row * W + column], w[tap]);
    }
    return sum;
}

// Adds a plane of dy over the windows that hold input (h, w), times the weights that they have there.
DEVICE Acc add_covering(Steps g, Acc sum, const Element* dy, const Element* weights, int h, int w, int P, int Q) {
#pragma unroll 1
    for (int tap = 0; tap < g.kernel_h * g.kernel_w; tap++) {
        int row = h + g.top - tap / g.kernel_w * g.dilation_h, column = w + g.left - tap % g.kernel_w * g.dilation_w;
        int p = row / g.stride_h, q = column / g.stride_w;
        if (row == p * g.stride_h && column == q * g.stride_w && (unsigned)p < (unsigned)P && (unsigned)q < (unsigned)Q)
            sum = add_product(sum, dy[p * Q + q], weights[tap]);
    }
    return sum;
}

// Mends elements (h + i * DISTANCE, w + j) of a height x width plane, i < TALL, j < WIDE: sum(row, column) adds again.
template <int TALL, int WIDE, int DISTANCE, class Sum>
DEVICE void mend(Element* plane, int h, int w, int height, int width, Acc bias, Sum sum) {
#pragma unroll 1
    for (int i = 0; i < TALL * WIDE; i++) {
        int row = h + i / WIDE * DISTANCE, column = w + i % WIDE;
        if (row >= height || column >= width) continue;
        Element& element = plane[row * width + column];
        Acc value = Storage<Element>::load(element);
        if (value != value) element = Storage<Element>::store(add_rn(sum(row, column), bias));
    }
}

#endif  // BACKSTRIDE_MEND
