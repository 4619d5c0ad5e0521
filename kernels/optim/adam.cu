// Adam, and AdamW by decoupled_decay: rules.py has the formulas.
#include "power.cuh"
#include "step.cuh"

struct Options {
    double beta1, beta2, eps, weight_decay, decoupled_decay;
};
struct Place {
    Options options;
    int number, group;
};
struct Factors {
    double scale, beta1, beta2, eps, weight_decay, rate, unbias, decay;
    int taken;
};

DEVICE void compute(Factors& factors, const Options& options, double lr, long long count) {
    factors.beta1 = options.beta1;
    factors.beta2 = options.beta2;
    factors.eps = options.eps;
    factors.weight_decay = options.weight_decay;
    factors.rate = div_rn(lr, 1 - power(options.beta1, count));
    factors.unbias = div_rn(1.0, sqrt_rn(1 - power(options.beta2, count)));
    factors.decay = mul_rn(lr, options.decoupled_decay);
}

struct Rule {
    Acc beta1, beta2, fresh1, fresh2, eps, weight_decay, rate, unbias, decay;

    DEVICE Rule(const Factors& f)
        : beta1((Acc)f.beta1), beta2((Acc)f.beta2), fresh1((Acc)(1 - f.beta1)), fresh2((Acc)(1 - f.beta2)),
          eps((Acc)f.eps), weight_decay((Acc)f.weight_decay), rate((Acc)f.rate), unbias((Acc)f.unbias),
          decay((Acc)f.decay) {}

    DEVICE void update(Acc& w, Acc g, Acc& mean, Acc& square) const {
        if (weight_decay != 0) g = add_rn(g, mul_rn(weight_decay, w));
        mean = add_rn(mul_rn(mean, beta1), mul_rn(fresh1, g));
        square = add_rn(mul_rn(square, beta2), mul_rn(mul_rn(fresh2, g), g));
        Acc root = add_rn(mul_rn(sqrt_rn(square), unbias), eps);
        Acc change = div_rn(mul_rn(rate, mean), root);
        if (decay != 0) change = add_rn(change, mul_rn(decay, w));
        w = add_rn(w, -change);
    }
};

struct Params {
    const Place* places;
    Factors* factors;
    Step step;
};

extern "C" __global__ void __launch_bounds__(THREADS) begin_step(Params params) {
    begin(params.step, params.places, params.factors);
}

extern "C" __global__ void __launch_bounds__(THREADS) step(Params params) { update<Rule>(params.step, params.factors); }
