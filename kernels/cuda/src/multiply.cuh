// The multiply policy that MULTIPLY names.
#ifndef BACKSTRIDE_MULTIPLY
#define BACKSTRIDE_MULTIPLY

#include "ffma.cuh"
#include "mma.cuh"
#include "wgmma.cuh"

#ifndef MULTIPLY
#define MULTIPLY Ffma
#endif

template <class ImageA, class ImageB>
using Multiply = MULTIPLY<ImageA, ImageB>;

#endif  // BACKSTRIDE_MULTIPLY
