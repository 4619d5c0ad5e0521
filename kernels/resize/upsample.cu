// Resizing of images: an element of the result a thread, of at most four of the image.
#include "resampling.cuh"

#ifndef THREADS
#define THREADS 128
#endif

struct Params {
    const Element* x;
    Element* y;
    int size;
    Resampling rows, columns;
};

// What has no share is not multiplied by 0 either.
DEVICE Acc mixed(Acc before, Acc after, const Source& source) {
    return source.share == 0 ? before : add_rn(mul_rn(before, source.rest), mul_rn(after, source.share));
}

extern "C" __global__ void __launch_bounds__(THREADS) upsample(Params params) {
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.size) return;
    int plane = index, q = split_off(plane, params.columns.size), p = split_off(plane, params.rows.size);
    Source row = source_of(p, params.rows), column = source_of(q, params.columns);
    int W = params.columns.extent.divisor;
    const Element* x = params.x + plane * (int)params.rows.extent.divisor * W;
    auto at = [&](int h, int w) { return Storage<Element>::load(x[h * W + w]); };
    auto of_column = [&](int w) { return mixed(at(row.before, w), at(row.after, w), row); };
    params.y[index] = Storage<Element>::store(mixed(of_column(column.before), of_column(column.after), column));
}
