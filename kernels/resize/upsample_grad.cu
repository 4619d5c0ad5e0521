// The gradient of resizing, as a gather: an element of the image a thread, over those of the result that it has a part
// in, in their order.
#include "resampling.cuh"

#ifndef THREADS
#define THREADS 128
#endif

struct Params {
    const Element* dy;
    Element* dx;
    int size;
    Resampling rows, columns;
};

extern "C" __global__ void __launch_bounds__(THREADS, 4) upsample_grad(Params params) {
    int index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= params.size) return;
    int plane = index, w = split_off(plane, params.columns.extent), h = split_off(plane, params.rows.extent);
    int Q = params.columns.size.divisor;
    const Element* dy = params.dy + plane * (int)params.rows.size.divisor * Q;
    int p_first = first_at(h - LINEAR, params.rows), p_last = first_at(h + 1, params.rows);
    int q_first = first_at(w - LINEAR, params.columns), q_last = first_at(w + 1, params.columns);
    Acc sum = 0;
    for (int p = p_first; p < p_last; p++) {
        Acc of_row = part_of(h, p, params.rows);
        if (of_row == 0) continue;
        for (int q = q_first; q < q_last; q++) {
            Acc of_column = part_of(w, q, params.columns);
            if (of_column == 0) continue;
            sum = fma_rn(mul_rn(of_row, of_column), Storage<Element>::load(dy[p * Q + q]), sum);
        }
    }
    params.dx[index] = Storage<Element>::store(sum);
}
