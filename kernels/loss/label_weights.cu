// What the labels weigh that are not ignored, summed over each block: what a weighted mean is divided by.
#include "rows_of_classes.cuh"

struct Params {
    const long long* labels;
    const Element* weight;  // null: 1 for each class
    Acc* partial;
    int number, classes, ignoring;
    long long ignored;
};

extern "C" __global__ void __launch_bounds__(THREADS) label_weights(Params params) {
    int index = blockIdx.x * THREADS + threadIdx.x;
    Acc weight = 0;
    if (index < params.number) {
        long long label = params.labels[index];
        bool valid = 0 <= label && label < params.classes;
        weight = params.weight && valid ? Storage<Element>::load(params.weight[label]) : Acc(1);
        if (params.ignoring && label == params.ignored) weight = 0;
    }
    weight = over<THREADS>(weight, Sum());
    if (threadIdx.x == 0) params.partial[blockIdx.x] = weight;
}
