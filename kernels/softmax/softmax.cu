// Softmax, or where LOG its logarithm, of each row.
#include "rows_of_classes.cuh"

#ifndef LOG
#define LOG 0
#endif

struct Params {
    const Element* x;
    Element* y;
    Rows rows;
};

extern "C" __global__ void __launch_bounds__(THREADS, 2) softmax(Params params) {
    Row row = row_of(params.rows);
    Acc largest = largest_of(row, params.x), sum = exponentials_of(row, params.x, largest);
    Acc factor = LOG ? -logarithm(sum) : div_rn(Acc(1), sum);
    each_of(row, [&](long long at, int) {
        Acc z = add_rn(Storage<Element>::load(params.x[at]), -largest);
        params.y[at] = Storage<Element>::store(LOG ? add_rn(z, factor) : mul_rn(exponential(z), factor));
    });
}
