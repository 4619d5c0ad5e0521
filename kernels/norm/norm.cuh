// Normalisation: how elements that share a mean and a variance are shared among threads, and what follows from the two.
//
// They are a group: runs of neighbouring elements, a channel of all images (batch normalisation, run by run) or
// neighbouring channels of one image (group and layer normalisation, a single run). LANES threads take each part of a
// group, VEC elements at a time: a block, or few enough for a warp to read several neighbouring groups.
#ifndef BACKSTRIDE_NORM
#define BACKSTRIDE_NORM

#include "element.cuh"
#include "fast_div.cuh"

// CHANNELS, how gamma and beta lie: one for each group (0), for each vector (1), for each element (2).
#ifndef THREADS
#define THREADS 256
#define BLOCKS_PER_SM 4
#define LANES 32
#define VEC 1
#define CHANNELS 0
#endif

static_assert(LANES <= 32 || LANES == THREADS, "lanes of one warp, or a block with one group");

struct Groups {
    int number;                 // of groups
    int vectors, part_vectors;  // of a group, and of each part of it
    FastDiv blocks;             // for a part of all groups
    FastDiv run;                // vectors that lie next to each other
    long long stride;           // vectors from a run to the next
};

struct Affine {
    const Acc* gamma;  // null: 1
    const Acc* beta;   // null: 0
    double eps;
    FastDiv groups;    // of an image
    FastDiv channels;  // of a group
    FastDiv plane;     // vectors of a channel
};

// A thread's share: every LANES-th vector of [first, last) of a group.
struct Share {
    int group, part, first, last;
    bool inside;  // not past the last group
    DEVICE bool writes() const { return inside && threadIdx.x % LANES == 0; }
};

DEVICE Share share_of(const Groups& groups) {
    int part = blockIdx.x, group = split_off(part, groups.blocks) * (THREADS / LANES) + threadIdx.x / LANES;
    if (group >= groups.number) return {0, part, 0, 0, false};
    int first = part * groups.part_vectors, last = min(first + groups.part_vectors, groups.vectors);
    return {group, part, first + (int)(threadIdx.x % LANES), last, true};
}

// Where vector i of a group is: its run, its vector in the run, and its first element's place in the array.
struct Place {
    int run, at;
    long long element;
};

// The compiler must see that it is a multiple of VEC: else it stores element by element.
DEVICE Place place_of(const Groups& groups, int group, int i) {
    int run = i, at = split_off(run, groups.run);
    return {run, at, (run * groups.stride + (long long)group * groups.run.divisor + at) * VEC};
}

DEVICE void load_vector(Acc (&to)[VEC], const Element* from) {
    auto vector = *(const Vec<Element, VEC>*)from;
#pragma unroll
    for (int j = 0; j < VEC; j++) to[j] = Storage<Element>::load(vector.at[j]);
}

DEVICE void store_vector(Element* to, const Acc (&from)[VEC]) {
    Vec<Element, VEC> vector;
#pragma unroll
    for (int j = 0; j < VEC; j++) vector.at[j] = Storage<Element>::store(from[j]);
    *(Vec<Element, VEC>*)to = vector;
}

// gamma or beta of a vector's elements.
DEVICE void load_parameters(Acc (&to)[VEC], const Acc* from, Acc otherwise, const Affine& affine, int group, int at) {
#pragma unroll
    for (int j = 0; j < VEC; j++) to[j] = otherwise;
    if (!from) return;
    if constexpr (CHANNELS == 2) {
        constexpr int WORD = VEC * sizeof(Acc) <= 16 ? VEC : 16 / sizeof(Acc);
        int image = group, channel = split_off(image, affine.groups) * (int)affine.channels.divisor + at * VEC;
#pragma unroll
        for (int i = 0; i < VEC; i += WORD) {
            auto word = *(const Vec<Acc, WORD>*)(from + channel + i);
#pragma unroll
            for (int j = 0; j < WORD; j++) to[i + j] = word.at[j];
        }
    } else {
        int image = group, channel = group;
        if constexpr (CHANNELS == 1)
            channel = split_off(image, affine.groups) * (int)affine.channels.divisor + quotient(at, affine.plane);
        Acc value = from[channel];
#pragma unroll
        for (int j = 0; j < VEC; j++) to[j] = value;
    }
}

// gamma and beta of a group, or of the vector that was loaded last.
struct Parameters {
    Acc gamma[VEC], beta[VEC];
    DEVICE void load(const Affine& affine, int group, int at) {
        load_parameters(gamma, affine.gamma, 1, affine, group, at);
        load_parameters(beta, affine.beta, 0, affine, group, at);
    }
    DEVICE void of_group(const Affine& affine, int group) {
        if constexpr (CHANNELS == 0) load(affine, group, 0);
    }
    DEVICE void of_vector(const Affine& affine, int group, int at) {
        if constexpr (CHANNELS != 0) load(affine, group, at);
    }
};

// The roundings are those of the NumPy path: equal statistics give equal bits.
DEVICE Acc inverse_deviation(Acc var, const Affine& affine) {
    return div_rn((Acc)1, sqrt_rn(add_rn(var, (Acc)affine.eps)));
}

// gamma (x - mean) / deviation + beta, as it is stored.
DEVICE Acc affine_of(Acc centred, Acc inverse, Acc gamma, Acc beta) {
    Acc value = add_rn(mul_rn(centred, mul_rn(gamma, inverse)), beta);
    return Storage<Element>::load(Storage<Element>::store(value));
}

// ReLU, and whether the gradient passes where it gave y. NaN does.
DEVICE Acc relu(Acc x) { return greater((Acc)0, x) ? (Acc)0 : x; }
DEVICE bool passes(Acc y) { return greater(y, (Acc)0) || y != y; }

#endif  // BACKSTRIDE_NORM
