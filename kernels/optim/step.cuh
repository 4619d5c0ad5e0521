// One step of an optimizer, for any rule. Its Place is a parameter's options, number and group; its Factors are what
// compute() makes of the options for a step, in double; its Rule is made of Factors and updates in the parameters' type.
#ifndef BACKSTRIDE_STEP
#define BACKSTRIDE_STEP

#include "tensors.cuh"

struct Step {
    int parameters;
    long long* steps;
    long long* counts;
    const double* rates;
    const double* schedule;
    int schedule_length;
    double* scale;
    bool* skip;
    const Tensor* tensors;
    const Piece* pieces;
};

// One block: counts the step, unless it is to be left out, and computes the factors of every parameter.
template <class Place, class Factors>
DEVICE void begin(const Step& step, const Place* places, Factors* all_factors) {
    bool taken = !*step.skip;
    long long steps = *step.steps;
    double scale = *step.scale, scheduled = step.schedule[min(steps, step.schedule_length - 1LL)];
    for (int i = threadIdx.x; i < step.parameters; i += THREADS) {
        Place place = places[i];
        Factors& factors = all_factors[place.number];
        factors.taken = taken;
        if (!taken) continue;
        long long count = ++step.counts[place.number];
        factors.scale = scale;
        compute(factors, place.options, mul_rn(step.rates[place.group], scheduled), count);
    }
    __syncthreads();
    if (threadIdx.x > 0) return;
    if (taken) *step.steps = steps + 1;
    *step.scale = 1;
    *step.skip = false;
}

constexpr int AT_ONCE = 4;

// A piece to each block; loads of AT_ONCE elements are under way at a time.
template <class Rule, class Factors>
DEVICE void update(const Step& step, const Factors* all_factors) {
    Piece piece = step.pieces[blockIdx.x];
    Tensor tensor = step.tensors[piece.tensor];
    const Factors& factors = all_factors[tensor.number];
    if (!factors.taken) return;
    Rule rule(factors);
    Acc scale = factors.scale;
    int size = length(piece, tensor);
    long long first = (long long)piece.place * PIECE;

#pragma unroll 1
    for (int start = threadIdx.x; start < size; start += THREADS * AT_ONCE) {
        Element data[AT_ONCE];
        Acc master[AT_ONCE], state0[AT_ONCE], state1[AT_ONCE], g[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            long long at = first + start + j * THREADS;
            if (start + j * THREADS >= size) continue;
            data[j] = tensor.data[at];
            if (tensor.master) master[j] = tensor.master[at];
            if (tensor.state0) state0[j] = tensor.state0[at];
            if (tensor.state1) state1[j] = tensor.state1[at];
            g[j] = (Acc)Storage<Gradient>::load(tensor.grad[at]);
        }
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            long long at = first + start + j * THREADS;
            if (start + j * THREADS >= size) continue;
            Acc w = Storage<Element>::load(data[j]);
            if (tensor.master && unchanged(Storage<Element>::store(master[j]), data[j])) w = master[j];
            rule.update(w, mul_rn(g[j], scale), state0[j], state1[j]);
            if (tensor.master) tensor.master[at] = w;
            if (tensor.state0) tensor.state0[at] = state0[j];
            if (tensor.state1) tensor.state1[at] = state1[j];
            tensor.data[at] = Storage<Element>::store(w);
        }
    }
}

#endif  // BACKSTRIDE_STEP
