// Rows of a softmax: LANES threads take one, and what they find is put together in a fixed order.
#ifndef BACKSTRIDE_SOFTMAX_ROWS
#define BACKSTRIDE_SOFTMAX_ROWS

#include "element.cuh"
#include "fast_div.cuh"
#include "functions.cuh"

#ifndef THREADS
#define THREADS 256
#define LANES 32
#endif

// Of an array (outer, length, inner): the outer * inner rows of `length` elements.
struct Rows {
    int number, length;
    FastDiv inner;
};

// One row as one of its lanes sees it: elements first, first + step, ... of the array, `count` of them.
struct Row {
    int index, lane;
    bool inside;
    long long first, step;
    int count;
    DEVICE bool leads() const { return inside && lane == 0; }
};

DEVICE Row row_of(const Rows& rows) {
    int index = blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES, lane = threadIdx.x % LANES;
    bool inside = index < rows.number;
    int outer = inside ? index : 0, inner = split_off(outer, rows.inner), pitch = rows.inner.divisor;
    long long start = (long long)outer * rows.length * pitch + inner;
    int count = inside && lane < rows.length ? (rows.length - lane + LANES - 1) / LANES : 0;
    return {index, lane, inside, start + (long long)lane * pitch, (long long)LANES * pitch, count};
}

// f(where in the array, which of the row) for each of this lane's elements.
template <class F>
DEVICE void each_of(const Row& row, F f) {
    long long at = row.first;
    for (int i = 0; i < row.count; i++, at += row.step) f(at, row.lane + i * LANES);
}

struct Sum {
    DEVICE Acc operator()(Acc a, Acc b) const { return add_rn(a, b); }
};

// NaN is the largest of all.
struct Largest {
    DEVICE Acc operator()(Acc a, Acc b) const { return greater(b, a) || b != b ? b : a; }
};

// What `lanes` neighbouring threads hold, put together; each gets it. All threads of a block call.
template <int lanes, class Combine>
DEVICE Acc over(Acc mine, Combine combine) {
#pragma unroll
    for (int mask = (lanes < 32 ? lanes : 32) / 2; mask > 0; mask /= 2) mine = combine(mine, shuffle_xor(mine, mask));
    if constexpr (lanes > 32) {
        constexpr int WARPS = lanes / 32;
        __shared__ Acc of_warps[THREADS / 32];
        __syncthreads();  // what was here before has been read
        if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
        __syncthreads();
        int first = threadIdx.x / lanes * WARPS;
        mine = of_warps[first];
        for (int warp = 1; warp < WARPS; warp++) mine = combine(mine, of_warps[first + warp]);
    }
    return mine;
}

DEVICE Acc largest_of(const Row& row, const Element* x) {
    Acc largest = __uint_as_float(0xff800000u);  // -inf
    each_of(row, [&](long long at, int) { largest = Largest()(largest, Storage<Element>::load(x[at])); });
    return over<LANES>(largest, Largest());
}

// The sum of exp(x - largest).
DEVICE Acc exponentials_of(const Row& row, const Element* x, Acc largest) {
    Acc sum = 0;
    each_of(row, [&](long long at, int) {
        sum = add_rn(sum, exponential(add_rn(Storage<Element>::load(x[at]), -largest)));
    });
    return over<LANES>(sum, Sum());
}

#endif  // BACKSTRIDE_SOFTMAX_ROWS
