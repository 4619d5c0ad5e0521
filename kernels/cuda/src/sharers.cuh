// Threads of a block that share what one of them could compute.
#ifndef BACKSTRIDE_SHARERS
#define BACKSTRIDE_SHARERS

#include "primitives.cuh"

// Makes of the values of `sharers` threads, `apart` from each other, the first one's: half of those that are left hand
// theirs to the other half, in an order that is fixed; each hands its own over once. All of a block call, once.
template <int THREADS_OF_BLOCK, class Value, class Merge>
DEVICE void merge_sharers(int sharers, int apart, int sharer, Value& mine, Merge merge) {
    __shared__ Value of_threads[THREADS_OF_BLOCK];
#pragma unroll 1
    while (sharers > 1) {
        int half = (sharers + 1) / 2;
        if (sharer >= half && sharer < sharers) of_threads[threadIdx.x] = mine;
        __syncthreads();
        if (sharer + half < sharers) merge(mine, of_threads[threadIdx.x + half * apart]);
        sharers = half;
    }
}

#endif  // BACKSTRIDE_SHARERS
