// The gradient of softmax, y (dy - sum(dy y)), or where LOG of its logarithm, dy - exp(y) sum(dy), of each row.
#include "rows_of_classes.cuh"

#ifndef LOG
#define LOG 0
#endif

struct Params {
    const Element* dy;
    const Element* y;
    Element* dx;
    Rows rows;
};

extern "C" __global__ void __launch_bounds__(THREADS, 2) softmax_grad(Params params) {
    Row row = row_of(params.rows);
    Acc sum = 0;
    each_of(row, [&](long long at, int) {
        Acc dy = Storage<Element>::load(params.dy[at]);
        sum = add_rn(sum, LOG ? dy : mul_rn(dy, Storage<Element>::load(params.y[at])));
    });
    sum = over<LANES>(sum, Sum());
    each_of(row, [&](long long at, int) {
        Acc dy = Storage<Element>::load(params.dy[at]), y = Storage<Element>::load(params.y[at]);
        params.dx[at] = Storage<Element>::store(LOG ? dy - exponential(y) * sum : y * (dy - sum));
    });
}
