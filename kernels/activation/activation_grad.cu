// dx = the gradient of an activation, of dy and of what forward kept, element by element, in vectors of VEC.
#include "activations.cuh"
#include "elements.cuh"

#ifndef FUNCTION
#define FUNCTION Relu()
#define VEC 4
#define THREADS 256
#endif

struct Params {
    const Element* dy;
    const Element* kept;
    Element* dx;
    long long size;
};

extern "C" __global__ void __launch_bounds__(THREADS) activation_grad(Params params) {
    long long first = ((long long)blockIdx.x * THREADS + threadIdx.x) * VEC;
    auto dy = load_elements<VEC>(params.dy, first, params.size);
    auto kept = load_elements<VEC>(params.kept, first, params.size);
    Vec<Element, VEC> dx;
    const auto function = FUNCTION;
#pragma unroll
    for (int j = 0; j < VEC; j++) {
        Acc gradient = function.gradient(Storage<Element>::load(dy.at[j]), Storage<Element>::load(kept.at[j]));
        dx.at[j] = Storage<Element>::store(gradient);
    }
    store_elements(dx, params.dx, first, params.size);
}
