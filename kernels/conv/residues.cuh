// The input gradient by residue classes (class_axis.cuh), as the operands and the place of a matrix product.
#ifndef BACKSTRIDE_RESIDUES
#define BACKSTRIDE_RESIDUES

#include "class_axis.cuh"
#include "sources.cuh"

// The weights that a class multiplies, as the k axis: filter, then the class's taps.
struct ClassTaps {
    FastDiv R, S;
    int filter, kernel_w, first_h, step_h, first_w, step_w;

    DEVICE long long operator()(int i) const {
        int s = split_off(i, S), r = split_off(i, R);
        return (long long)i * filter + (first_h + r * step_h) * kernel_w + first_w + s * step_w;
    }
};

// Where the class's pixels lie in dx.
struct ClassPixels {
    FastDiv rows, columns;
    int first_h, stride_h, first_w, stride_w, H, W;
    long long image;

    DEVICE long long operator()(int i) const {
        int column = first_w + split_off(i, columns) * stride_w, row = first_h + split_off(i, rows) * stride_h;
        return row < H && column < W ? i * image + row * W + column : -1;
    }
};

// What the threads of a block share about its class; they read it too rarely to keep it in their registers.
struct ResidueClass {
    WindowedImage image;
    ClassTaps taps;
    ClassPixels pixels;
};

#endif  // BACKSTRIDE_RESIDUES
