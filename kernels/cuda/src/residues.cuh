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
    ClassAxis h, w;
    int filter, kernel_w;

    DEVICE long long operator()(int i) const {
        int s = split_off(i, S), r = split_off(i, R);
        return (long long)i * filter + (h.first_tap + r * h.tap_step) * kernel_w + w.first_tap + s * w.tap_step;
    }
};

// Where the class's pixels lie in dx.
struct ClassPixels {
    FastDiv rows, columns;
    ClassAxis h, w;
    int stride_h, stride_w, H, W;
    long long image;

    DEVICE long long operator()(int i) const {
        int column = w.first + split_off(i, columns) * stride_w, row = h.first + split_off(i, rows) * stride_h;
        return row < H && column < W ? i * image + row * W + column : -1;
    }
};

#endif  // BACKSTRIDE_RESIDUES
