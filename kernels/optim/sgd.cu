// Gradient descent with momentum: rules.py has the formulas.
#include "step.cuh"

struct Options {
    double momentum, dampening, weight_decay, nesterov;
};
struct Place {
    Options options;
    int number, group;
};
struct Factors {
    double scale, momentum, weight_decay, nesterov, lr, fresh;
    int taken;
};

DEVICE void compute(Factors& factors, const Options& options, double lr, long long count) {
    factors.momentum = options.momentum;
    factors.weight_decay = options.weight_decay;
    factors.nesterov = options.nesterov;
    factors.lr = lr;
    factors.fresh = count > 1 ? 1 - options.dampening : 1;
}

struct Rule {
    Acc momentum, weight_decay, lr, fresh;
    bool nesterov;

    DEVICE Rule(const Factors& f)
        : momentum((Acc)f.momentum), weight_decay((Acc)f.weight_decay), lr((Acc)f.lr), fresh((Acc)f.fresh),
          nesterov(f.nesterov != 0) {}

    DEVICE void update(Acc& w, Acc g, Acc& velocity, Acc&) const {
        if (weight_decay != 0) g = add_rn(g, mul_rn(weight_decay, w));
        Acc change = g;
        if (momentum != 0) {
            velocity = add_rn(mul_rn(velocity, momentum), mul_rn(fresh, g));
            change = nesterov ? add_rn(g, mul_rn(momentum, velocity)) : velocity;
        }
        w = add_rn(w, -mul_rn(lr, change));
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
