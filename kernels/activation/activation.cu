// y = an activation of x, element by element, in vectors of VEC.
#include "activations.cuh"
#include "elements.cuh"

#ifndef FUNCTION
#define FUNCTION Relu()
#define VEC 4
#define THREADS 256
#endif

struct Params {
    const Element* x;
    Element* y;
    long long size;
};

extern "C" __global__ void __launch_bounds__(THREADS) activation(Params params) {
    long long first = ((long long)blockIdx.x * THREADS + threadIdx.x) * VEC;
    auto x = load_elements<VEC>(params.x, first, params.size);
    Vec<Element, VEC> y;
    const auto function = FUNCTION;
#pragma unroll
    for (int j = 0; j < VEC; j++) y.at[j] = Storage<Element>::store(function.value(Storage<Element>::load(x.at[j])));
    store_elements(y, params.y, first, params.size);
}
