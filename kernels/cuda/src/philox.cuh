// Philox4x32-10: four random words of 32 bits from a counter and a key.
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
#ifndef BACKSTRIDE_PHILOX
#define BACKSTRIDE_PHILOX

#include "primitives.cuh"

struct Words {
    unsigned at[4];
};

DEVICE Words philox(Words counter, unsigned key0, unsigned key1) {
    unsigned a = counter.at[0], b = counter.at[1], c = counter.at[2], d = counter.at[3];
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned a_high = __umulhi(0xd2511f53u, a), a_low = 0xd2511f53u * a;
        unsigned c_high = __umulhi(0xcd9e8d57u, c), c_low = 0xcd9e8d57u * c;
        a = c_high ^ b ^ key0;
        c = a_high ^ d ^ key1;
        b = c_low;
        d = a_low;
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
    return {{a, b, c, d}};
}

#endif  // BACKSTRIDE_PHILOX
