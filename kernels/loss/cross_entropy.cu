// The cross entropy of each row with its label, summed over the rows of a block, and its gradient, in one pass.
#include "rows_of_classes.cuh"

struct Params {
    const Element* x;
    const long long* labels;
    const Element* weight;  // null: 1 for each class
    const Acc* divisor;     // null: the number of rows
    Element* dx;
    Acc* partial;
    Rows rows;
    double smoothing;
    int ignoring;
    long long ignored;
};

extern "C" __global__ void __launch_bounds__(THREADS, 2) cross_entropy(Params params) {
    const Element* x = params.x;
    Row row = row_of(params.rows);
    int classes = params.rows.length;
    long long label = row.inside ? params.labels[row.index] : 0;
    bool ignored = params.ignoring && label == params.ignored, valid = 0 <= label && label < classes;
    auto weight_of = [&](long long k) { return params.weight ? Storage<Element>::load(params.weight[k]) : Acc(1); };

    Acc largest = largest_of(row, x), total = exponentials_of(row, x, largest), log_total = logarithm(total);
    auto z_at = [&](long long at) { return add_rn(Storage<Element>::load(x[at]), -largest); };
    Acc share = (Acc)(params.smoothing / classes), weights = 0, spread = 0;
    if (params.smoothing > 0) {
        each_of(row, [&](long long at, int k) {
            weights = add_rn(weights, weight_of(k));
            spread = fma_rn(weight_of(k), add_rn(log_total, -z_at(at)), spread);
        });
        weights = over<LANES>(weights, Sum());
        spread = over<LANES>(spread, Sum());
    }
    Acc nan = __uint_as_float(0x7fc00000u);
    Acc chosen = valid ? mul_rn(weight_of(label), (Acc)(1 - params.smoothing)) : nan;

    Acc loss = 0;
    if (row.leads() && !ignored) {
        Acc z = valid ? z_at(row.first + label * params.rows.inner.divisor) : nan;
        loss = mul_rn(chosen, add_rn(log_total, -z));
        if (params.smoothing > 0) loss = fma_rn(share, spread, loss);
    }
    loss = over<THREADS>(loss, Sum());
    if (threadIdx.x == 0) params.partial[blockIdx.x] = loss;

    Acc scale = div_rn(Acc(1), params.divisor ? *params.divisor : (Acc)params.rows.number);
    Acc factor = div_rn(fma_rn(share, weights, chosen), total);
    each_of(row, [&](long long at, int k) {
        Acc gradient = mul_rn(exponential(z_at(at)), factor);
        if (params.smoothing > 0) gradient = fma_rn(-share, weight_of(k), gradient);
        if (k == label) gradient = add_rn(gradient, -chosen);
        params.dx[at] = Storage<Element>::store(ignored ? Acc(0) : mul_rn(gradient, scale));
    });
}
