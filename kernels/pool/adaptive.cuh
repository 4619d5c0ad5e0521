// Adaptive pooling: which positions a window covers, and which windows cover a position. With fewer than three AXES the
// depth is 1.
#ifndef BACKSTRIDE_ADAPTIVE
#define BACKSTRIDE_ADAPTIVE

#include "element.cuh"
#include "fast_div.cuh"

#ifndef AXES
#define AXES 2
#endif

struct Adaptive {
    FastDiv H, W, P, Q, D, Z;
};

struct Span {
    int first, last;
    DEVICE int length() const { return last - first; }
};

// The part of `extent` that number i of `count` covers, rounded outwards: window i of P covers covered(i, P, H), and
// the windows that cover position i are covered(i, H, P).
DEVICE Span covered(int i, FastDiv count, FastDiv extent) {
    int each = extent.divisor;
    return {quotient(i * each, count), quotient((i + 1) * each - 1, count) + 1};
}

// Elements of a volume, or of a plane where the depth is 1.
DEVICE int volume(FastDiv depth, FastDiv rows, FastDiv columns) {
    int plane = (int)rows.divisor * (int)columns.divisor;
    return AXES == 3 ? (int)depth.divisor * plane : plane;
}

// The same along the depth.
DEVICE Span covered_slices(int i, FastDiv count, FastDiv extent) {
    return AXES == 3 ? covered(i, count, extent) : Span{0, 1};
}

#endif  // BACKSTRIDE_ADAPTIVE
