// The residue classes of a stride: input rows with the same (h + top) mod stride are reached by the same taps, and seen
// from one class the input gradient is a stride-1 window over dy. No inserted zeros are ever multiplied.
#ifndef BACKSTRIDE_CLASS_AXIS
#define BACKSTRIDE_CLASS_AXIS

#include "primitives.cuh"

// One axis of a class: input rows first, first + stride, ...; the i-th of its taps is first_tap + i * tap_step, and
// for the j-th of its rows reads dy's row origin + j - i * step.
struct ClassAxis {
    int first, taps, first_tap, tap_step, origin, step;

    // r reaches the class where r * dilation = first + padding (mod stride): with g = gcd(dilation, stride) nowhere
    // unless g divides the right side, otherwise at one residue mod stride/g, by the inverse of dilation/g.
    DEVICE ClassAxis(int first, int stride, int padding, int dilation, int kernel, int gcd, int inverse)
        : first(first) {
        int residue = (first + padding) % stride;
        tap_step = stride / gcd;
        first_tap = residue % gcd ? kernel : (int)((long long)(residue / gcd) * inverse % tap_step);
        taps = first_tap < kernel ? (kernel - 1 - first_tap) / tap_step + 1 : 0;
        origin = (first + padding - (taps ? first_tap : 0) * dilation) / stride;
        step = dilation / gcd;
    }
};

#endif  // BACKSTRIDE_CLASS_AXIS
