// Division by an invariant divisor as a multiply-high and a shift, for 0 <= n < 2^31.
// Granlund and Montgomery, "Division by invariant integers using multiplication" (1994), section 4.
#ifndef BACKSTRIDE_FAST_DIV
#define BACKSTRIDE_FAST_DIV

#include "primitives.cuh"

struct FastDiv {
    unsigned divisor, multiplier, shift;
};

// The constants of a divisor >= 1; those the host knows come from fast_div in loader.py.
DEVICE FastDiv fast_div(unsigned divisor) {
    unsigned shift = 0;
    while ((1u << shift) < divisor) ++shift;
    unsigned long long excess = (1ull << shift) - divisor;
    return {divisor, (unsigned)((excess << 32) / divisor + 1), shift};
}

DEVICE int quotient(int n, FastDiv d) { return (int)((__umulhi((unsigned)n, d.multiplier) + (unsigned)n) >> d.shift); }

// Returns n % d and leaves n / d in n; of an n below 0, which nobody may use, something.
DEVICE int split_off(int& n, FastDiv d) {
    int whole = quotient(n, d), rest = (int)((unsigned)n - (unsigned)whole * d.divisor);
    n = whole;
    return rest;
}

#endif  // BACKSTRIDE_FAST_DIV
