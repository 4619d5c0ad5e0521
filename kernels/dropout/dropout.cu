// y = x times `scale`, or 0 where a random number is below the threshold: four elements a thread, a counter's words.
#include "elements.cuh"
#include "philox.cuh"

#ifndef VEC
#define VEC 4
#define THREADS 256
#endif

struct Params {
    const Element* x;
    const unsigned* position;
    Element* y;
    long long size, threshold;
    unsigned key0, key1;
    double scale;
};

extern "C" __global__ void __launch_bounds__(THREADS) dropout(Params params) {
    long long four = (long long)blockIdx.x * THREADS + threadIdx.x;
    const unsigned* position = params.position;
    Words words = philox({{(unsigned)four, position[0], position[1], position[2]}}, params.key0, params.key1);
#pragma unroll
    for (int i = 0; i < 4; i += VEC) {
        auto v = load_elements<VEC>(params.x, 4 * four + i, params.size);
#pragma unroll
        for (int j = 0; j < VEC; j++) {
            Acc kept = mul_rn(Storage<Element>::load(v.at[j]), (Acc)params.scale);
            v.at[j] = Storage<Element>::store((long long)words.at[i + j] < params.threshold ? Acc(0) : kept);
        }
        store_elements(v, params.y, 4 * four + i, params.size);
    }
}
