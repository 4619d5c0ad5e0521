// Adaptive pooling: which positions a window covers, and which windows cover a position.
#ifndef BACKSTRIDE_ADAPTIVE
#define BACKSTRIDE_ADAPTIVE

#include "element.cuh"
#include "fast_div.cuh"

struct Adaptive {
    FastDiv H, W, P, Q;
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

#endif  // BACKSTRIDE_ADAPTIVE
