// The input gradient by residue classes: input rows with the same (h + top) mod stride are reached by the same taps,
// and seen from one class the gradient is a stride-1 window over dy. No inserted zeros are ever multiplied.
#ifndef BACKSTRIDE_RESIDUES
#define BACKSTRIDE_RESIDUES

#include "sources.cuh"

// One axis of a class: input rows first, first + stride, ...; the i-th of its taps is first_tap + i * tap_step, and
// for the j-th of its rows reads dy's row origin + j - i * step.
struct ClassAxis {
    int first, taps, first_tap, tap_step, origin, step;

    // r reaches the class where r * dilation = first + padding (mod stride): with g = gcd(dilation, stride) nowhere
    // unless g divides the right side, otherwise at one residue mod stride/g, by the inverse of dilation/g.
    DEVICE ClassAxis(int first, int stride, int padding, int dilation, int kernel, int gcd, int inverse) : first(first) {
        int residue = (first + padding) % stride;
        tap_step = stride / gcd;
        first_tap = residue % gcd ? kernel : (int)((long long)(residue / gcd) * inverse % tap_step);
        taps = first_tap < kernel ? (kernel - 1 - first_tap) / tap_step + 1 : 0;
        origin = (first + padding - (taps ? first_tap : 0) * dilation) / stride;
        step = dilation / gcd;
    }
};

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
    Window window;
    ClassTaps taps;
    ClassPixels pixels;
};

#endif  // BACKSTRIDE_RESIDUES
