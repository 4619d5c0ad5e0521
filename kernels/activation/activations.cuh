// The activations: each a value of x, and a gradient of dy and of what forward kept, y or x.
//
// What only chooses compares by greater(), which sees subnormal values, and lets NaN through.
#ifndef BACKSTRIDE_ACTIVATIONS
#define BACKSTRIDE_ACTIVATIONS

#include "element.cuh"
#include "functions.cuh"

DEVICE bool is_nan(Acc x) { return x != x; }

struct Relu {
    DEVICE Acc value(Acc x) const { return greater(Acc(0), x) ? Acc(0) : x; }
    DEVICE Acc gradient(Acc dy, Acc y) const { return greater(y, Acc(0)) || is_nan(y) ? dy : Acc(0); }
};

struct Relu6 {
    DEVICE Acc value(Acc x) const { return greater(Acc(0), x) ? Acc(0) : greater(x, Acc(6)) ? Acc(6) : x; }
    DEVICE Acc gradient(Acc dy, Acc y) const {
        return (greater(y, Acc(0)) && greater(Acc(6), y)) || is_nan(y) ? dy : Acc(0);
    }
};

struct LeakyRelu {
    Acc slope;
    DEVICE Acc value(Acc x) const { return greater(x, Acc(0)) ? x : mul_rn(x, slope); }
    DEVICE Acc gradient(Acc dy, Acc y) const { return greater(y, Acc(0)) ? dy : mul_rn(dy, slope); }
};

struct Sigmoid {
    DEVICE Acc value(Acc x) const { return Sigmoids(x).value; }
    DEVICE Acc gradient(Acc dy, Acc y) const { return dy * (y * (1 - y)); }
};

struct Tanh {
    DEVICE Acc value(Acc x) const { return hyperbolic_tangent(x); }
    DEVICE Acc gradient(Acc dy, Acc y) const { return dy * ((1 - y) * (1 + y)); }
};

struct Silu {
    DEVICE Acc value(Acc x) const { return x * Sigmoids(x).value; }
    DEVICE Acc gradient(Acc dy, Acc x) const {
        Sigmoids s(x);
        return dy * (s.value * (1 + x * s.rest));
    }
};

// The normal distribution function and its density; by erfc, since 1 + erf cancels where x < 0.
struct Gelu {
    static DEVICE Acc normal(Acc x) { return complementary_error(x * Acc(-0.70710678118654752)) / 2; }
    static DEVICE Acc density(Acc x) { return Acc(0.39894228040143268) * exponential(x * x * Acc(-0.5)); }
    DEVICE Acc value(Acc x) const { return x * normal(x); }
    DEVICE Acc gradient(Acc dy, Acc x) const { return dy * (normal(x) + x * density(x)); }
};

// (1 + tanh(u))/2 = sigmoid(2u). Where x * x is cut off the sigmoid has long been 0 or 1, and an infinite slope would
// make it NaN.
struct GeluTanh {
    static constexpr Acc SCALE = 1.5957691216057308, CUBIC = 0.044715;  // 2 sqrt(2/pi)
    static DEVICE Acc square(Acc x) { return x * x > Acc(1e4) ? Acc(1e4) : x * x; }
    static DEVICE Acc inner(Acc x) { return SCALE * x * (1 + CUBIC * square(x)); }
    DEVICE Acc value(Acc x) const { return x * Sigmoids(inner(x)).value; }
    DEVICE Acc gradient(Acc dy, Acc x) const {
        Sigmoids s(inner(x));
        return dy * (s.value + x * s.value * s.rest * (SCALE * (1 + 3 * CUBIC * square(x))));
    }
};

struct Hardswish {
    DEVICE Acc value(Acc x) const {
        Acc shifted = x + 3, clamped = shifted < 0 ? Acc(0) : shifted > 6 ? Acc(6) : shifted;
        return x * div_rn(clamped, Acc(6));
    }
    DEVICE Acc gradient(Acc dy, Acc x) const {
        return x <= -3 ? Acc(0) : x < 3 ? dy * (div_rn(x, Acc(3)) + Acc(0.5)) : dy;
    }
};

#endif  // BACKSTRIDE_ACTIVATIONS
