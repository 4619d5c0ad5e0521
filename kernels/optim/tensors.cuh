// The parameters of an optimizer that have one dtype, cut into pieces, so that one launch serves all of them.
#ifndef BACKSTRIDE_TENSORS
#define BACKSTRIDE_TENSORS

#include "element.cuh"

#ifndef THREADS
#define THREADS 256
#define PIECE 4096
#endif
#ifndef GRAD_TYPE
#define GRAD_TYPE float
#endif

using Gradient = GRAD_TYPE;

// A parameter, number `number` of its optimizer, and its gradient. What it does not have is null.
struct Tensor {
    Element* data;
    Acc* master;
    Acc* state0;
    Acc* state1;
    const Gradient* grad;
    long long size;
    int number;
};

// PIECE elements of a tensor from PIECE * place on, or up to its end: the share of a block.
struct Piece {
    int tensor, place;
};

DEVICE int length(Piece piece, const Tensor& tensor) {
    return (int)min(tensor.size - (long long)piece.place * PIECE, (long long)PIECE);
}

// Whether 16-bit values are the same; others are never compared, having no master.
template <class T>
DEVICE bool unchanged(T a, T b) {
    if constexpr (sizeof(T) == 2) return a.bits == b.bits;
    else return true;
}

#endif  // BACKSTRIDE_TENSORS
