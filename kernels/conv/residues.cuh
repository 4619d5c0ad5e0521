// The input gradient by residue classes (class_axis.cuh), as the operands and the place of a matrix product.
#ifndef BACKSTRIDE_RESIDUES
#define BACKSTRIDE_RESIDUES

#include "class_axis.cuh"
#include "windowed_image.cuh"

// The weights that a class multiplies, as the k axis: filter, then the class's taps.
struct ClassTaps {
    FastDiv R, S;
    int filter, kernel_w, first_h, step_h, first_w, step_w;
#if AXES == 3
    FastDiv T;
    int kernel_h, first_d, step_d;
#endif

    DEVICE long long operator()(int i) const {
        int s = split_off(i, S), r = split_off(i, R), row = first_h + r * step_h;
#if AXES == 3
        row += (first_d + split_off(i, T) * step_d) * kernel_h;
#endif
        return (long long)i * filter + row * kernel_w + first_w + s * step_w;
    }
};

// Where the class's pixels lie in dx.
struct ClassPixels {
    FastDiv rows, columns;
    int first_h, stride_h, first_w, stride_w, H, W;
    long long image;
#if AXES == 3
    FastDiv slices;
    int first_d, stride_d, D;
#endif

    DEVICE long long operator()(int i) const {
        int column = first_w + split_off(i, columns) * stride_w, row = first_h + split_off(i, rows) * stride_h;
        bool inside = row < H && column < W;
#if AXES == 3
        int slice = first_d + split_off(i, slices) * stride_d;
        inside = inside && slice < D;
        row += slice * H;
#endif
        return inside ? i * image + row * W + column : -1;
    }
};

// What the threads of a block share about its class; they read it too rarely to keep it in their registers.
struct ResidueClass {
    WindowedImage image;
    ClassTaps taps;
    ClassPixels pixels;
};

#endif  // BACKSTRIDE_RESIDUES
