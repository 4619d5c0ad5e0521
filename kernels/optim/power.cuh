// base^exponent by squaring: the bits of rules.py.
#ifndef BACKSTRIDE_POWER
#define BACKSTRIDE_POWER

#include "primitives.cuh"

DEVICE double power(double base, long long exponent) {
    double result = 1;
    for (; exponent > 0; exponent /= 2) {
        if (exponent % 2) result = mul_rn(result, base);
        base = mul_rn(base, base);
    }
    return result;
}

#endif  // BACKSTRIDE_POWER
