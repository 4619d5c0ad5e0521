// A loss of every element, summed over each block, and its gradient, in one pass, in vectors of VEC.
#include "elements.cuh"
#include "rows_of_classes.cuh"

#ifndef FUNCTION
#define FUNCTION Squared
#define VEC 4
#endif

struct Params {
    const Element* x;
    const Element* target;
    Element* dx;
    Acc* partial;
    long long size;
};

struct Squared {
    static DEVICE Acc value(Acc x, Acc target) { return mul_rn(add_rn(x, -target), add_rn(x, -target)); }
    static DEVICE Acc gradient(Acc x, Acc target) { return 2 * add_rn(x, -target); }
};

// x is the logit of a probability.
struct BinaryCrossEntropy {
    static DEVICE Acc value(Acc x, Acc target) {
        Acc e = exponential(x < 0 ? x : -x);
        return (x < 0 ? Acc(0) : x) - x * target + logarithm_of_1_plus(e);
    }
    static DEVICE Acc gradient(Acc x, Acc target) { return Sigmoids(x).value - target; }
};

extern "C" __global__ void __launch_bounds__(THREADS) element_loss(Params params) {
    long long first = ((long long)blockIdx.x * THREADS + threadIdx.x) * VEC;
    auto x = load_elements<VEC>(params.x, first, params.size);
    auto target = load_elements<VEC>(params.target, first, params.size);
    Vec<Element, VEC> dx;
    Acc sum = 0;
#pragma unroll
    for (int j = 0; j < VEC; j++) {
        Acc value = Storage<Element>::load(x.at[j]), wanted = Storage<Element>::load(target.at[j]);
        if (first + j < params.size) sum = add_rn(sum, FUNCTION::value(value, wanted));
        dx.at[j] = Storage<Element>::store(div_rn(FUNCTION::gradient(value, wanted), (Acc)params.size));
    }
    store_elements(dx, params.dx, first, params.size);
    sum = over<THREADS>(sum, Sum());
    if (threadIdx.x == 0) params.partial[blockIdx.x] = sum;
}
