// Elements that padding spoiled: kernels with a constant window multiply what lies outside a plane as zero, and 0 * inf
// is NaN. Where they stored NaN, the products are added again, one by one, but only those that exist.
#ifndef BACKSTRIDE_MEND
#define BACKSTRIDE_MEND

#include "element.cuh"

#ifndef KERNEL_H
#define KERNEL_H 3
#define KERNEL_W 3
#define STRIDE_H 1
#define STRIDE_W 1
#define DILATION_H 1
#define DILATION_W 1
#define PAD_TOP 1
#define PAD_LEFT 1
#endif

DEVICE Acc add_product(Acc sum, Element a, Element b) {
    return fma_rn(Storage<Element>::load(a), Storage<Element>::load(b), sum);
}

// Adds a plane of x under window (p, q) times the window's weights.
DEVICE Acc add_window(Acc sum, const Element* x, const Element* w, int p, int q, int H, int W) {
#pragma unroll 1
    for (int tap = 0; tap < KERNEL_H * KERNEL_W; tap++) {
        int row = p * STRIDE_H - PAD_TOP + tap / KERNEL_W * DILATION_H;
        int column = q * STRIDE_W - PAD_LEFT + tap % KERNEL_W * DILATION_W;
        if ((unsigned)row < (unsigned)H && (unsigned)column < (unsigned)W)
            sum = add_product(sum, x[row * W + column], w[tap]);
    }
    return sum;
}

// Adds a plane of dy over the windows that hold input (h, w), times the weights that they have there.
DEVICE Acc add_covering(Acc sum, const Element* dy, const Element* weights, int h, int w, int P, int Q) {
#pragma unroll 1
    for (int tap = 0; tap < KERNEL_H * KERNEL_W; tap++) {
        int row = h + PAD_TOP - tap / KERNEL_W * DILATION_H, column = w + PAD_LEFT - tap % KERNEL_W * DILATION_W;
        int p = row / STRIDE_H, q = column / STRIDE_W;
        if (row == p * STRIDE_H && column == q * STRIDE_W && (unsigned)p < (unsigned)P && (unsigned)q < (unsigned)Q)
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
