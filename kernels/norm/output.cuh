// y, made of x by an affine map, then perhaps the residual and the activation.
#ifndef BACKSTRIDE_NORM_OUTPUT
#define BACKSTRIDE_NORM_OUTPUT

#include "norm.cuh"

#ifndef RESIDUAL
#define RESIDUAL 0
#define RELU 0
#endif

struct Output {
    const Element* x;
    const Element* residual;
    Element* y;
};

// Stores a vector of y: affine(j, x) is its element j before the residual.
template <class Map>
DEVICE void store_output(const Output& output, long long element, Map affine) {
    Acc y[VEC], residual[VEC];
    load_vector(y, output.x + element);
    if constexpr (RESIDUAL) load_vector(residual, output.residual + element);
#pragma unroll
    for (int j = 0; j < VEC; j++) {
        y[j] = affine(j, y[j]);
        if constexpr (RESIDUAL) y[j] = add_rn(y[j], residual[j]);
        if constexpr (RELU) y[j] = relu(y[j]);
    }
    store_vector(output.y + element, y);
}

#endif  // BACKSTRIDE_NORM_OUTPUT
