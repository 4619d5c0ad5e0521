// The sum of the squares of all gradients, in double: square_sum adds those of each piece, fold the pieces' sums. LANES
// is fixed, and so are the order of the additions and the bits, which are those of cpu.py.
#include "tensors.cuh"

struct Params {
    const Tensor* tensors;
    const Piece* pieces;
    double* sums;  // of the pieces
    int count;     // of sums
    double* total;
};

// The sum over a block: the second half is added to the first until one thread has it all.
DEVICE double halved(double sum) {
    __shared__ double sums[THREADS];
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] = add_rn(sums[threadIdx.x], sums[threadIdx.x + half]);
        __syncthreads();
    }
    return sums[0];
}

extern "C" __global__ void __launch_bounds__(THREADS) square_sum(Params params) {
    Piece piece = params.pieces[blockIdx.x];
    Tensor tensor = params.tensors[piece.tensor];
    const Gradient* grad = tensor.grad + (long long)piece.place * PIECE;
    int size = length(piece, tensor);
    double sum = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < size; i += THREADS) {
        double g = Storage<Gradient>::load(grad[i]);
        sum = add_rn(sum, mul_rn(g, g));
    }
    sum = halved(sum);
    if (threadIdx.x == 0) params.sums[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) fold(Params params) {
    double sum = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < params.count; i += THREADS) sum = add_rn(sum, params.sums[i]);
    sum = halved(sum);
    if (threadIdx.x == 0) *params.total = sum;
}
