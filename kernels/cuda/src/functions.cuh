// Functions of CUDA's library under one name for both types, whose errors are a unit or two.
#ifndef BACKSTRIDE_FUNCTIONS
#define BACKSTRIDE_FUNCTIONS

#include "primitives.cuh"

DEVICE float exponential(float x) { return expf(x); }
DEVICE double exponential(double x) { return exp(x); }
DEVICE float logarithm(float x) { return logf(x); }
DEVICE double logarithm(double x) { return log(x); }
DEVICE float logarithm_of_1_plus(float x) { return log1pf(x); }
DEVICE double logarithm_of_1_plus(double x) { return log1p(x); }
DEVICE float hyperbolic_tangent(float x) { return tanhf(x); }
DEVICE double hyperbolic_tangent(double x) { return tanh(x); }
DEVICE float complementary_error(float x) { return erfcf(x); }
DEVICE double complementary_error(double x) { return erfc(x); }

// sigmoid(x) and sigmoid(-x), neither of which overflows or cancels.
template <class T>
struct Sigmoids {
    T value, rest;
    DEVICE Sigmoids(T x) {
        T e = exponential(x < 0 ? x : -x), larger = div_rn(T(1), T(1) + e), smaller = e * larger;
        value = x < 0 ? smaller : larger;
        rest = x < 0 ? larger : smaller;
    }
};

#endif  // BACKSTRIDE_FUNCTIONS
